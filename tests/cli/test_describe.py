"""`moxy describe`."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from moxy.cli import manual
from moxy.cli.describe import describe
from moxy.config import describe as description


def test_the_commented_configuration_is_printed() -> None:
    result = CliRunner().invoke(describe, [])
    assert result.exit_code == 0
    assert result.stdout == description.describe()


def test_the_reference_page_is_printed() -> None:
    result = CliRunner().invoke(describe, ["--reference"])
    assert result.exit_code == 0
    assert result.stdout == description.reference()


def test_a_manual_page_is_printed() -> None:
    result = CliRunner().invoke(describe, ["--man", "moxy.conf.5"])
    assert result.exit_code == 0
    assert result.stdout == manual.page("moxy.conf.5")


@pytest.mark.parametrize("words", [["--man", "moxy.9"], ["--man", "moxy.8", "--reference"]])
def test_what_cannot_be_printed_is_a_mistake(words: list[str]) -> None:
    result = CliRunner().invoke(describe, words)
    assert result.exit_code == 2
    assert result.stdout == ""
