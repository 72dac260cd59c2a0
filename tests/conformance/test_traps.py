"""Every trap: Moxy does not fall into it, and a Moxy that does is found."""

from __future__ import annotations

import pytest

from conformance import report
from conformance.plays import all_traps
from conformance.trap import Trap

ALL = all_traps()

every_trap = pytest.mark.parametrize("one", ALL.values(), ids=lambda one: f"T{one.number}")


@every_trap
def test_moxy_does_not_fall_into_it(one: Trap) -> None:
    one.hold()


@every_trap
def test_who_falls_into_it_is_found(one: Trap) -> None:
    assert one.find()


def test_every_trap_of_the_contract_is_played() -> None:
    assert sorted(ALL) == list(range(1, 56)) == sorted(report.rows())


def test_the_page_is_what_the_command_makes_of_them() -> None:
    assert report.PAGE.read_text() == report.page(dict.fromkeys(ALL, (True, True)))
