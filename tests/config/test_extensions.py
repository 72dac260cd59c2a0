"""The key `extensions`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from moxy.config.extensions import OFFERED
from moxy.config.schema import Config
from moxy.smtp.extension import FOR_ALL, FOR_ANY


def read(value: object) -> str | tuple[str, ...]:
    return Config.model_validate({"extensions": value}).extensions


def test_by_itself_it_is_what_destinations_have() -> None:
    assert Config().extensions == "auto" == read("auto")


def test_all_can_be_listed_that_a_destination_may_lack() -> None:
    assert set(OFFERED) == FOR_ALL | FOR_ANY
    assert read(list(OFFERED)) == OFFERED


def test_keywords_may_be_written_in_any_case() -> None:
    assert read(["dsn", "8bitMIME"]) == ("DSN", "8BITMIME")
    assert read([]) == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Auto", "expected `auto` or a list in brackets, not `Auto`; did you mean `auto`?"),
        (True, "expected `auto` or a list in brackets, not true"),
        (["DNS"], "not `DNS`; did you mean `DSN`?"),
        (["PIPELINING"], "expected `8BITMIME`, `BINARYMIME`, "),
        ([8], "not `8`"),
        (["DSN", "dsn"], "`DSN` is named twice"),
        (["SMTPUTF8"], "`SMTPUTF8` must not be offered without `8BITMIME`"),
    ],
)
def test_what_cannot_be_offered_is_told(value: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(value)
    assert message in str(caught.value)
