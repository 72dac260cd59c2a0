"""Flow: the reader pauses with the first full writer and goes on with the last that is not full any more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moxy.delivery.flow import Flow


class Reader:
    """A reader that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.flow = Flow(lambda: self.told.append("pause"), lambda: self.told.append("resume"))


def test_one_writer_pauses_and_resumes():
    reader = Reader()
    assert not reader.flow.blocked
    reader.flow.block()
    assert reader.flow.blocked
    reader.flow.unblock()
    assert not reader.flow.blocked
    assert reader.told == ["pause", "resume"]


def test_the_slowest_writer_sets_the_pace():
    reader = Reader()
    for change in (reader.flow.block, reader.flow.block, reader.flow.unblock, reader.flow.block, reader.flow.unblock):
        change()
    assert reader.told == ["pause"]
    assert reader.flow.blocked
    reader.flow.unblock()
    assert reader.told == ["pause", "resume"]


def test_it_is_blocked_already_when_the_reader_is_told():
    seen: list[bool] = []
    flow = Flow(lambda: seen.append(flow.blocked), lambda: seen.append(flow.blocked))
    flow.block()
    flow.unblock()
    assert seen == [True, False]


@given(st.lists(st.integers(0, 2), max_size=40))
def test_whatever_the_writers_do_the_reader_is_paused_while_one_is_full(writers):
    reader = Reader()
    full: set[int] = set()
    for writer in writers:
        if writer in full:
            full.discard(writer)
            reader.flow.unblock()
        else:
            full.add(writer)
            reader.flow.block()
        assert reader.flow.blocked is bool(full)
        assert (len(reader.told) % 2 == 1) is bool(full)
    assert reader.told[::2] == ["pause"] * len(reader.told[::2])
    assert reader.told[1::2] == ["resume"] * len(reader.told[1::2])
