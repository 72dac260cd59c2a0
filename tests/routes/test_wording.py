"""Complaints quote harmlessly, and guess what was meant."""

from __future__ import annotations

import pytest

from moxy.routes.wording import harmless, nearest, shown


def test_what_an_error_shows_is_short_and_harmless() -> None:
    assert shown("a\x1b[31m") == "`a\N{REPLACEMENT CHARACTER}[31m`"
    assert harmless("x" * 60) == "x" * 60
    assert harmless("x" * 61) == "x" * 57 + "..."


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [("lisen", "; did you mean `listen`?"), ("LISTEN", "; did you mean `listen`?"), ("zebra", ""), ("", "")],
)
def test_the_nearest_legal_word_is_suggested(word: str, suggestion: str) -> None:
    assert nearest(word, ["listen", "kind"]) == suggestion
