"""A change that one process tells, and all others see."""

from __future__ import annotations

import os

from moxy.ledger.stamp import NONE, Stamp


def test_no_value_comes_twice():
    stamp = Stamp()
    values = {stamp.value}
    for _ in range(1000):
        stamp.change()
        values.add(stamp.value)
    assert len(values) == 1001
    assert NONE not in values


def test_nothing_changes_by_itself():
    stamp = Stamp()
    stamp.change()
    assert stamp.value == stamp.value == stamp.memory[0]


def test_a_change_is_seen_in_all_processes_forked_after_it_was_made():
    stamp = Stamp()
    before = stamp.value
    child = os.fork()
    if child == 0:
        stamp.change()
        os._exit(0)
    os.waitpid(child, 0)
    assert stamp.value != before


def test_two_stamps_have_nothing_in_common():
    one, other = Stamp(), Stamp()
    before = other.value
    one.change()
    assert other.value == before
