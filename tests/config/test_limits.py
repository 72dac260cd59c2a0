"""How much clients may ask for, and how long Moxy waits."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from moxy.config.limits import Limits, Timeouts


def test_the_defaults_are_those_of_the_contract() -> None:
    assert Limits().model_dump() == {
        "message_size": 50 * 2**20,
        "recipients": 1000,
        "transactions": 0,
        "domains": 0,
        "hops": 50,
        "bad_commands": 10,
        "sessions": 10_000,
        "command_line": 4096,
    }
    assert Timeouts().model_dump() == {
        "hello": 30,
        "command": 300,
        "block": 180,
        "content": 1800,
        "minimum_rate": 500,
        "connect": 5,
        "connect_total": 20,
        "reply": 60,
        "data": 60,
        "final": 480,
        "idle": 60,
        "prove": 5,
        "drain": 30,
    }


@pytest.mark.parametrize(
    "limits",
    [
        {"message_size": 65535},
        {"recipients": 99},
        {"transactions": -1},
        {"domains": 1_000_000},
        {"hops": 0},
        {"command_line": 511},
    ],
)
def test_a_bound_has_bounds(limits: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Limits(**limits)


def test_one_connection_fits_into_the_time_for_all() -> None:
    assert Timeouts(connect=20.0).connect == 20.0
    with pytest.raises(ValidationError) as caught:
        Timeouts(connect=21.0)
    (error,) = caught.value.errors()
    assert error["type"] == "contradiction"
    assert error["ctx"]["path"] == ("connect",)
