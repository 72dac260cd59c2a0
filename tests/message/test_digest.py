"""ContentDigest: the same for the same content, however it comes; and little is kept of it."""

from __future__ import annotations

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from moxy.message.digest import HELD, PIECES, ContentDigest, digest_of


@given(st.lists(st.binary(max_size=40) | st.integers(0, HELD * 2).map(bytes), max_size=PIECES * 3), st.data())
def test_the_digest_is_that_of_all_that_has_come(blocks: list[bytes], data: st.DataObject) -> None:
    digest = ContentDigest()
    come = b""
    for block in blocks:
        digest.feed(block)
        come += block
        if data.draw(st.booleans()):
            assert digest.value() == blake3(come).digest()
    assert digest.value() == digest.value() == digest_of(come) == blake3(come).digest()


@given(st.lists(st.integers(1, HELD), max_size=PIECES * 3))
def test_no_more_is_kept_than_a_small_message_in_a_few_blocks(sizes: list[int]) -> None:
    digest = ContentDigest()
    for size in sizes:
        digest.feed(bytes(size))
        assert sum(map(len, digest._blocks)) <= HELD
        assert len(digest._blocks) <= PIECES


def test_a_small_message_is_not_looked_at_until_somebody_asks() -> None:
    digest = ContentDigest()
    digest.feed(b"a small message")
    assert digest._hasher is None
    digest.value()
    assert digest._hasher is not None
