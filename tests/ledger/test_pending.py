"""What a worker knows before the file does: a model of the file says what it must come to."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from moxy.ledger import State
from moxy.ledger.entry import Entry
from moxy.ledger.pending import Pending, pair_of
from support.ledgers import RECIPIENT, SENDER, entry

PAIR = (SENDER, RECIPIENT)
STATES = [State.COMMITTED, State.UNKNOWN, State.CONFIRMED]

changes = st.lists(
    st.one_of(
        st.builds(lambda digest, state: entry(digest=digest, state=state), st.integers(0, 3), st.sampled_from(STATES)),
        st.builds(lambda digest: entry(digest=digest).key, st.integers(0, 3)),
    ),
    max_size=8,
)


def applied(file, changes):
    """The file after the changes."""
    file = dict(file)
    for change in changes:
        if isinstance(change, Entry):
            file[change.key] = change
        elif change in file:
            file[change] = replace(file[change], state=State.CONFIRMED)
    return file


@given(changes, changes, st.lists(st.integers(0, 3)), st.integers(0, 8))
def test_what_is_found_and_what_is_coming_make_what_will_be_there(before, sent, noted, arrived):
    """Whether the changes have reached the file already makes no difference."""
    pending = Pending()
    pending.sent(sent)
    notes = [entry(digest=digest, hello="noted") for digest in noted]
    for note in notes:
        pending.note(note)
    file = applied({}, before)
    expected = applied(applied(file, sent), notes)
    expected = {key: one for key, one in expected.items() if one.open}
    pending.arrived(sent[:arrived])
    for there in range(arrived, len(sent) + 1):
        reached = applied(file, sent[:there])
        found = pending.merged(PAIR, [one for one in reached.values() if one.open])
        assert {one.key: one for one in found} == expected
        assert len(found) == len(expected)


def test_others_are_not_concerned():
    pending = Pending()
    pending.note(entry("eve@one.test"))
    pending.sent([entry("eve@one.test", digest=2)])
    assert pending.merged(PAIR, [entry()]) == [entry()]
    assert pending.merged(PAIR, []) == []


def test_nothing_is_left_of_what_has_arrived_or_is_dropped():
    pending = Pending()
    sent = [entry(), entry().key, entry(digest=2), entry("eve@one.test")]
    pending.sent(sent)
    assert set(pending.coming) == {hash(PAIR), hash((SENDER, "eve@one.test"))}
    pending.arrived(sent)
    assert pending.coming == {}
    pending.note(entry())
    pending.note(entry(digest=2))
    pending.drop(entry(host="other"))
    pending.drop(entry(digest=3))
    pending.drop(entry("eve@one.test"))
    assert set(pending.noted) == {hash(PAIR)}
    pending.drop(entry(digest=2))
    assert pending.noted == {}


def test_only_the_latest_note_is_noted():
    pending = Pending()
    one, other = entry(), entry(host="other")
    pair = pending.note(one)
    assert pending.is_noted(pair, one)
    pending.note(other)
    assert not pending.is_noted(pair, one)
    assert pending.is_noted(pair, other)
    pending.drop(one)
    assert not pending.is_noted(pair, other)


def test_an_entry_and_its_key_are_about_the_same():
    assert pair_of(entry()) == pair_of(entry().key) == hash(PAIR)


def test_nothing_is_pending_when_it_is_cleared():
    pending = Pending()
    pending.note(entry())
    pending.sent([entry()])
    noted, coming = pending.noted, pending.coming
    pending.clear()
    assert noted is pending.noted
    assert coming is pending.coming
    assert not noted
    assert not coming
