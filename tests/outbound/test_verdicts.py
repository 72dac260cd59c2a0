"""Verdicts: one dot, and an answer for each recipient, whatever becomes of the connection meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from moxy.mail import Host
from moxy.net.deadlines import Sweeper
from moxy.outbound.ground import Ground
from moxy.outbound.upstream import Upstream
from moxy.outbound.verdicts import Verdicts
from moxy.smtp import replies
from moxy.smtp.reply import IMPOSSIBLE_ANSWER, Reply
from support.cutting import octets
from support.scenario import scenario

FAREWELL = 5.0
PATIENCE = 100.0


class Wire(asyncio.Transport):
    """A transport to nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written += data

    def abort(self) -> None:
        self.aborted = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class Owner:
    def give_back(self, upstream: Upstream, *, clean: bool) -> None: ...

    def ended(self, upstream: Upstream) -> None: ...


class Dot:
    """A dot that was just sent for so many recipients."""

    def __init__(self, recipients: int, *, prdr: bool = False) -> None:
        self.sweeper = Sweeper()
        self.loop = asyncio.get_running_loop()
        ground = Ground("mx.moxy.test", self.sweeper, self.loop)
        self.upstream = Upstream(Host("destination.test"), ground, Owner())
        self.wire = Wire()
        self.upstream.connection_made(self.wire)
        self.say(b"220 hello\r\n")
        self.upstream.request((b"DATA",), 1, lambda _: None)
        self.say(b"354 go on\r\n")
        self.upstream.write(b"text\r\n")
        self.verdicts = Verdicts(self.upstream, recipients, PATIENCE, prdr=prdr, farewell=FAREWELL)
        self.answer = self.verdicts.ask()
        assert self.wire.written.endswith(b"text\r\n.\r\n")

    def say(self, *pieces: bytes) -> None:
        """The destination speaks."""
        for piece in pieces:
            self.upstream.data_received(piece)

    def pass_time(self, seconds: float) -> None:
        self.sweeper.sweep(self.loop.time() + seconds)

    @property
    def told(self) -> list[int]:
        """The codes, one for each recipient; nothing while there is no answer."""
        return [reply.code for reply in self.verdicts.replies] if self.answer._there else []


LMTP = [b"250 2.1.5 one\r\n", b"550-5.1.1 two\r\n550 5.1.1 and more\r\n", b"452 4.2.2 three\r\n"]
PRDR = [b"353 each\r\n", *LMTP, b"250 2.0.0 some\r\n"]


@scenario
async def test_each_recipient_has_the_reply_of_its_place() -> None:
    dot = Dot(3)
    dot.say(*LMTP)
    assert dot.verdicts.replies == [
        Reply(250, "1.5", "one"),
        Reply(550, "1.1", "two", "and more"),
        Reply(452, "2.2", "three"),
    ]
    assert dot.verdicts.unanswered == 0
    assert dot.upstream.lost is None


@pytest.mark.parametrize(("prdr", "said"), [(False, LMTP), (True, PRDR)])
@scenario
async def test_no_cut_of_the_stream_changes_what_is_told(prdr: bool, said: list[bytes]) -> None:
    whole = b"".join(said)
    cuts = [[whole[:place], whole[place:]] for place in range(len(whole))]
    for pieces in [*cuts, octets(whole)]:
        dot = Dot(3, prdr=prdr)
        dot.say(*pieces)
        assert dot.told == [250, 550, 452]
        assert dot.verdicts.unanswered == 0
        assert dot.upstream.lost is None


def gone(dot: Dot) -> None:
    dot.upstream.connection_lost(None)


def silent(dot: Dot) -> None:
    dot.pass_time(PATIENCE + 1)


ENDINGS: list[Callable[[Dot], None]] = [gone, silent]


@pytest.mark.parametrize("ending", ENDINGS)
@scenario
async def test_what_came_before_the_end_of_a_connection_counts_and_the_rest_is_unknown(
    ending: Callable[[Dot], None],
) -> None:
    whole = b"".join(LMTP)
    ends = [len(b"".join(LMTP[:count])) for count in range(4)]
    for place in range(len(whole)):
        dot = Dot(3)
        dot.say(whole[:place])
        assert dot.told == []
        ending(dot)
        known = sum(end <= place for end in ends[1:])
        assert dot.told == [250, 550, 452][:known] + [451] * (3 - known)
        assert dot.verdicts.unanswered == 3 - known


@pytest.mark.parametrize("ending", ENDINGS)
@scenario
async def test_without_the_final_reply_of_prdr_nothing_is_known_of_anybody(ending: Callable[[Dot], None]) -> None:
    whole = b"".join(PRDR)
    for place in range(len(whole)):
        dot = Dot(3, prdr=True)
        dot.say(whole[:place])
        assert dot.told == []
        ending(dot)
        assert dot.told == [451, 451, 451]
        assert dot.verdicts.unanswered == 3


@pytest.mark.parametrize(
    ("final", "told"),
    [
        (b"250 fine\r\n", [250, 550, 452]),
        (b"550 not at all\r\n", [550, 550, 550]),
        (b"450 not now\r\n", [450, 550, 452]),
        (b"421 not here\r\n", [421, 550, 452]),
    ],
)
@scenario
async def test_the_final_reply_has_the_last_word(final: bytes, told: list[int]) -> None:
    dot = Dot(3, prdr=True)
    dot.say(*PRDR[:-1], final)
    assert dot.told == told
    assert dot.verdicts.unanswered == 0


@pytest.mark.parametrize("reply", [b"250 all\r\n", b"550 nobody\r\n", b"450 later\r\n", b"421 bye\r\n"])
@scenario
async def test_without_353_the_one_reply_is_for_all(reply: bytes) -> None:
    dot = Dot(3, prdr=True)
    dot.say(reply)
    assert dot.told == [int(reply[:3])] * 3
    assert dot.verdicts.unanswered == 0


@pytest.mark.parametrize("impossible", [b"354 more\r\n", b"353 each\r\n", b"221 bye\r\n", b"334 what\r\n"])
@scenario
async def test_behind_an_impossible_answer_nothing_counts(impossible: bytes) -> None:
    dot = Dot(3)
    dot.say(LMTP[0], impossible + b"".join(LMTP[1:]))
    assert dot.verdicts.replies == [Reply(250, "1.5", "one"), IMPOSSIBLE_ANSWER, IMPOSSIBLE_ANSWER]
    assert dot.verdicts.unanswered == 2
    assert dot.wire.aborted


@pytest.mark.parametrize("before", [[], [b"353 each\r\n"], PRDR[:3], PRDR[:4]])
@scenario
async def test_in_prdr_it_leaves_nobody_known(before: Sequence[bytes]) -> None:
    dot = Dot(3, prdr=True)
    dot.say(*before, b"354 more\r\n")
    assert dot.verdicts.replies == [IMPOSSIBLE_ANSWER] * 3
    assert dot.verdicts.unanswered == 3
    assert dot.wire.aborted


@scenario
async def test_what_is_no_reply_leaves_the_rest_unknown() -> None:
    dot = Dot(3)
    dot.say(LMTP[0], b"what?\r\n")
    assert dot.verdicts.replies[1:] == [replies.DESTINATION_GARBLED] * 2
    assert dot.verdicts.unanswered == 2


@scenario
async def test_a_reply_too_many_ends_the_connection_and_changes_no_verdict() -> None:
    dot = Dot(2)
    dot.say(b"".join(LMTP))
    assert dot.told == [250, 550]
    assert dot.verdicts.unanswered == 0
    assert dot.wire.aborted


@scenario
async def test_a_421_is_the_verdict_on_its_own_recipient_and_others_may_follow() -> None:
    dot = Dot(3)
    dot.say(LMTP[0], b"421 4.3.2 going\r\n", LMTP[2])
    assert dot.told == [250, 421, 452]
    assert dot.verdicts.unanswered == 0


@scenario
async def test_behind_a_421_the_rest_must_come_soon() -> None:
    dot = Dot(3)
    dot.say(LMTP[0], b"421 4.3.2 going\r\n")
    dot.pass_time(FAREWELL - 1)
    assert dot.told == []
    dot.pass_time(FAREWELL + 1)
    assert dot.told == [250, 421, 451]
    assert dot.verdicts.unanswered == 1


@pytest.mark.parametrize(("prdr", "said"), [(False, LMTP), (True, PRDR)])
@scenario
async def test_all_replies_share_one_time(prdr: bool, said: list[bytes]) -> None:
    """A destination cannot make it longer by answering slowly."""
    dot = Dot(3, prdr=prdr)
    begun = dot.upstream.deadline
    for reply in said[:-1]:
        dot.say(reply)
        assert dot.upstream.deadline == pytest.approx(begun, abs=0.5)


@scenario
async def test_an_answer_older_than_the_dot_is_none() -> None:
    dot = Dot(2)
    late = Upstream(Host("destination.test"), Ground("mx.moxy.test", dot.sweeper, dot.loop), Owner())
    late.connection_made(Wire())
    late.data_received(b"220 hello\r\n")
    late.request((b"DATA",), 1, lambda _: None)
    late.data_received(b"354 go on\r\n2")
    verdicts = Verdicts(late, 2, PATIENCE, prdr=False, farewell=FAREWELL)
    verdicts.ask()
    late.data_received(b"50 taken\r\n250 taken\r\n")
    assert verdicts.unanswered == 2
    assert verdicts.replies == [replies.DESTINATION_GARBLED] * 2
