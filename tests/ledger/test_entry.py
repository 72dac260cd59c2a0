"""What an entry is about, and when it matters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moxy.ledger import State
from support.ledgers import entry


@pytest.mark.parametrize("field", ["destination", "reverse_path", "forward_path", "digest", "size"])
def test_an_entry_is_about_one_message_at_one_destination_for_one_recipient(field):
    before = entry()
    other = {"digest": bytes(32), "size": 1}.get(field, "other")
    assert replace(before, **{field: other}).key != before.key


@pytest.mark.parametrize("field", ["host", "state", "apart", "client", "hello", "time"])
def test_what_is_known_of_it_may_change(field):
    before = entry()
    other = {"state": State.UNKNOWN, "apart": False, "time": 0.0}.get(field, "other")
    assert replace(before, **{field: other}).key == before.key


def test_what_the_sender_knows_is_not_open():
    assert [state for state in State if not entry(state=state).open] == [State.CONFIRMED]
