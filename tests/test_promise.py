"""The promise (contract §1): what clients saw 250 for is what destinations hold, wherever connections break.

A recorded session is cut at every octet, in every direction, by a close and by a reset. After each cut two witnesses
are asked that share no code with Moxy: the client, what it was told; the destinations, what they hold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from moxy.accounting.record import Outcome
from moxy.outbound.settings import Settings
from support import witness
from support.bench import every_cut, run_all
from support.destination import Act, Answer, Destination, Phase, running_destination
from support.faults import Kind
from support.relay import Relay, route, running_relay
from support.scenario import scenario, until
from support.smtpclient import Client, connected


@pytest.mark.parametrize("kind", [Kind.CLOSE, Kind.RESET])
@pytest.mark.parametrize("destinations", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
@scenario
async def test_a_cut_at_any_octet_loses_nothing_and_invents_nothing(destinations: int, kind: Kind) -> None:
    await run_all(await every_cut(destinations, kind), destinations)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Kind.CLOSE, Kind.RESET])
@scenario
async def test_the_same_holds_where_a_client_keeps_its_connections_to_itself(kind: Kind) -> None:
    settings = Settings(lease="session")
    await run_all(await every_cut(2, kind, settings=settings), 2, settings=settings)


@pytest.mark.parametrize("kind", [Kind.CLOSE, Kind.RESET])
@pytest.mark.parametrize("destinations", [1, 2])
@scenario
async def test_the_same_holds_for_chunks_to_a_destination_with_and_one_without_them(
    destinations: int, kind: Kind
) -> None:
    await run_all(await every_cut(destinations, kind, chunks=True), destinations, chunks=True)


ONE, TWO = "one", "two"
LATER = "450 4.7.1 {} says later"
NEVER = "550 5.7.1 {} says never"
GOING = "421 4.3.2 {} goes away"
VERDICTS: dict[str, Answer | None] = {
    "yes": None,
    "4xx": LATER,
    "5xx": NEVER,
    "421": GOING,
    "close": Act.CLOSE,
    "silence": Act.SILENCE,
}
"""What a destination may do in a phase; None is what it does by default."""

UNREACHED = "451 4.4."
"""How the answer begins where it is ours to give: the destination was not reached, or lost (T20, T23)."""

BEFORE_RCPT = (Phase.GREETING, Phase.EHLO)
"""Phases in which a refusal is the destination's word on us, not on a recipient."""


def words(verdict: str, name: str, phase: Phase) -> str:
    """How the client's answer begins where this destination alone decides (P5, T23)."""
    if verdict == "yes":
        return "250"
    passed_on = VERDICTS[verdict] if phase not in BEFORE_RCPT and verdict in ("4xx", "5xx") else UNREACHED
    assert isinstance(passed_on, str)
    return passed_on.format(name)


def at_data(first: str, second: str) -> str:
    """The answer to DATA: 354 if all say so, else 4xx, for recipients were told 250 already (D3)."""
    return "354" if first == second == "yes" else "4"


def at_dot(first: str, second: str) -> tuple[str, set[str]]:
    """The answer to the dot, and who holds the message, where `first` is asked before `second` (D5, D7)."""
    if first == "5xx":
        return "451 4.3.0", set()  # true for its own recipients only: the retry is split
    if first != "yes":
        return words(first, ONE, Phase.FINAL), set()
    if second != "yes":
        return "451 4.3.0", {ONE}
    return "250", {ONE, TWO}


PAIRS = [(first, second) for first in VERDICTS for second in VERDICTS]


@dataclass
class Pair:
    """A client, and a relay with two destinations."""

    relay: Relay
    client: Client
    one: Destination
    two: Destination

    def script(self, phase: Phase, first: str, second: str) -> None:
        """Have each destination do this in `phase`."""
        for destination, name, verdict in ((self.one, ONE, first), (self.two, TWO, second)):
            act = VERDICTS[verdict]
            if act is not None:
                destination.answers[phase] = act.format(name) if isinstance(act, str) else act

    async def ask(self, line: str) -> str:
        """A command, and its reply; time passes whenever a destination is silent."""
        self.client.send(line)
        await until(lambda: self._answered() or self._silence_passes(), f"an answer to {line}")
        return await self.client.reply()

    def _answered(self) -> bool:
        return not self.client.replies.empty()

    def _silence_passes(self) -> bool:
        """If a destination has fallen silent, let time pass, once; is there an answer now?"""
        if self.one.silences or self.two.silences:
            self.one.silences = self.two.silences = 0
            self.relay.pass_time(self.relay.service.final + 1)
        return self._answered()

    def holders(self) -> set[str]:
        """Who holds a message. It must be whole, and nobody may have it twice."""
        for destination in (self.one, self.two):
            assert [message.below_trace for message in destination.messages] in ([], [witness.content(0)])
        return {name for name, destination in ((ONE, self.one), (TWO, self.two)) if destination.messages}

    async def dot(self) -> str:
        """Content and dot, and the reply."""
        return await self.ask(witness.on_the_wire(0).decode().removesuffix("\r\n"))


@asynccontextmanager
async def pair(**options: Any) -> AsyncIterator[Pair]:
    async with (
        running_destination() as one,
        running_destination() as two,
        running_relay({"one.test": route(one.port), "two.test": route(two.port)}, **options) as relay,
        connected(relay.port) as client,
    ):
        yield Pair(relay, client, one, two)


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO, Phase.MAIL, Phase.RCPT])
@pytest.mark.parametrize(("first", "second"), PAIRS)
@scenario
async def test_each_recipient_gets_its_own_destinations_answer(phase: Phase, first: str, second: str) -> None:
    async with pair() as talk:
        talk.script(phase, first, second)
        assert (await talk.ask("MAIL FROM:<s@client.test>")).startswith("250")
        assert (await talk.ask("RCPT TO:<a@one.test>")).startswith(words(first, ONE, phase))
        assert (await talk.ask("RCPT TO:<c@two.test>")).startswith(words(second, TWO, phase))
        accepted = {name for name, verdict in ((ONE, first), (TWO, second)) if verdict == "yes"}
        reply = await talk.ask("DATA")
        assert reply[:3] == ("354" if accepted else "554")
        if accepted:
            assert (await talk.dot()).startswith("250")
        assert talk.holders() == accepted


@pytest.mark.parametrize(("first", "second"), PAIRS)
@scenario
async def test_content_is_asked_for_only_when_every_destination_is_ready(first: str, second: str) -> None:
    async with pair() as talk:
        talk.script(Phase.DATA, first, second)
        await talk.client.begin(["a@one.test", "c@two.test"])
        reply = await talk.ask("DATA")
        assert reply.startswith(at_data(first, second))
        if reply.startswith("354"):
            assert (await talk.dot()).startswith("250")
        assert talk.holders() == ({ONE, TWO} if first == second == "yes" else set())
        assert talk.one.ends_of_data == talk.two.ends_of_data == len(talk.one.messages)


@pytest.mark.parametrize(("first", "second"), PAIRS)
@scenario
async def test_the_first_refusal_of_the_dot_keeps_the_message_from_all(first: str, second: str) -> None:
    async with pair() as talk:
        refuse_one(talk.one)
        await talk.client.begin(["a@one.test", "refused@one.test", "c@two.test"])
        talk.script(Phase.FINAL, first, second)
        assert (await talk.ask("DATA")).startswith("354")
        verdict, holders = at_dot(first, second)
        assert (await talk.dot()).startswith(verdict)
        assert talk.holders() == holders
        assert talk.two.ends_of_data == (first == "yes"), "the second was asked although the first had refused"


def refuse_one(destination: Destination) -> None:
    """Have the destination refuse a recipient, so that it is the one likeliest to refuse, and asked first (D5)."""
    destination.answers[Phase.RCPT] = lambda line: NEVER.format("") if "refused" in line else "250 2.1.5 fine"


LEASES = [Settings(lease="transaction"), Settings(lease="session")]
DEATHS = ["close", "reset"]


async def die(talk: Pair, death: str) -> None:
    """End the client's connection. Only a reset is noticed at once: a close may mean that it still reads."""
    if death == "reset":
        talk.client.reset()
        await until(lambda: not talk.relay.service.connections, "Moxy to notice")
    await talk.client.leave()


@pytest.mark.parametrize("settings", LEASES, ids=lambda settings: settings.lease)
@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("said", ["", "MAIL", "RCPT", "DATA", "content"])
@scenario
async def test_a_client_that_dies_before_its_dot_leaves_no_message(said: str, death: str, settings: Settings) -> None:
    async with pair(settings=settings) as talk:
        if said:
            await talk.ask("MAIL FROM:<s@client.test>")
        if said in ("RCPT", "DATA", "content"):
            await talk.ask("RCPT TO:<a@one.test>")
            await talk.ask("RCPT TO:<c@two.test>")
        if said in ("DATA", "content"):
            await talk.ask("DATA")
        if said == "content":
            talk.client.write(witness.on_the_wire(0).removesuffix(b".\r\n"))
            await until(lambda: all(any(t.octets for t in d.talks) for d in (talk.one, talk.two)), "content")
        await die(talk, death)
        await talk.relay.rest()
        assert talk.one.ends_of_data == talk.two.ends_of_data == 0


@pytest.mark.parametrize("settings", LEASES, ids=lambda settings: settings.lease)
@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO, Phase.MAIL, Phase.RCPT, Phase.DATA])
@scenario
async def test_a_client_that_dies_while_a_destination_thinks_leaves_no_message_and_no_connection(
    phase: Phase, death: str, settings: Settings
) -> None:
    async with pair(settings=settings) as talk:
        good = talk.one.answers[phase]
        talk.one.answers[phase] = Act.SILENCE
        talk.client.send("MAIL FROM:<s@client.test>", "RCPT TO:<a@one.test>", "DATA")
        await until(lambda: talk.one.silences, "the destination's silence")
        await die(talk, death)
        talk.one.answers[phase] = good
        assert isinstance(good, str)
        talk.one.release(good)
        await talk.relay.rest()
        assert not talk.one.ends_of_data
        assert not any(t.octets for t in talk.one.talks), "a command was sent as content"


@pytest.mark.parametrize("settings", LEASES, ids=lambda settings: settings.lease)
@pytest.mark.parametrize("death", DEATHS)
@scenario
async def test_a_client_that_dies_after_its_dot_does_not_stop_the_delivery(death: str, settings: Settings) -> None:
    async with pair(settings=settings) as talk:
        refuse_one(talk.one)
        talk.one.answers[Phase.FINAL] = talk.two.answers[Phase.FINAL] = Act.SILENCE
        await talk.client.begin(["refused@one.test", "a@one.test", "c@two.test"])
        await talk.ask("DATA")
        talk.client.write(witness.on_the_wire(0))
        await until(lambda: talk.one.silences, "the dot at the first destination")
        await die(talk, death)
        talk.one.release("250 2.0.0 taken")
        await until(lambda: talk.two.silences, "the dot at the second destination")
        talk.two.release("250 2.0.0 taken")
        await until(lambda: len(talk.relay.records) == 2, "the records")
        assert talk.holders() == {ONE, TWO}
        assert [record.outcome for record in talk.relay.records] == [Outcome.DELIVERED] * 2


@pytest.mark.parametrize("ending", [Act.CLOSE, Act.SILENCE, "350 what?"])
@scenario
async def test_an_outcome_that_nobody_knows_is_told_and_recorded_as_such(ending: Answer) -> None:
    async with pair() as talk:
        talk.one.answers[Phase.FINAL] = ending
        await talk.client.begin(["a@one.test"])
        await talk.ask("DATA")
        assert (await talk.dot()).startswith("451")
        assert [record.outcome for record in talk.relay.records] == [Outcome.UNKNOWN]


TO_BOTH = "both.test"


@asynccontextmanager
async def both(**options: Any) -> AsyncIterator[Pair]:
    """A domain whose mail goes to two hosts at once."""
    async with (
        running_destination() as one,
        running_destination() as two,
        running_relay({TO_BOTH: route(one.port, two.port)}, **options) as relay,
        connected(relay.port) as client,
    ):
        yield Pair(relay, client, one, two)


@pytest.mark.parametrize(("first", "second"), PAIRS)
@scenario
async def test_a_recipient_with_two_hosts_is_accepted_only_by_both(first: str, second: str) -> None:
    async with both() as talk:
        talk.script(Phase.RCPT, first, second)
        await talk.ask("MAIL FROM:<s@client.test>")
        reply = await talk.ask(f"RCPT TO:<a@{TO_BOTH}>")
        refusals = [words(verdict, name, Phase.RCPT) for name, verdict in ((ONE, first), (TWO, second))]
        refusals = [refusal for refusal in refusals if refusal != "250"]
        later = [refusal for refusal in refusals if refusal[0] == "4"]
        assert reply.startswith(tuple(later or refusals or ["250"])), "a 4xx comes before a 5xx (D2)"
        if not refusals:
            assert (await talk.ask("DATA")).startswith("354")
            assert (await talk.dot()).startswith("250")
        else:
            assert (await talk.ask("DATA")).startswith("554")
        assert talk.holders() == (set() if refusals else {ONE, TWO})


@pytest.mark.parametrize("refuses", [ONE, TWO])
@pytest.mark.parametrize("first", ["refused", "accepted"])
@scenario
async def test_a_recipient_refused_by_one_of_its_hosts_gets_nothing_from_the_other(refuses: str, first: str) -> None:
    async with both() as talk:
        refuse_one(talk.one if refuses == ONE else talk.two)
        names = [first, "accepted" if first == "refused" else "refused"]
        replies = dict(zip(names, await talk.client.begin([f"{name}@{TO_BOTH}" for name in names]), strict=True))
        assert replies["accepted"].startswith("250")
        assert replies["refused"].startswith("550")
        assert (await talk.ask("DATA")).startswith("354")
        assert (await talk.dot()).startswith("250")
        for destination in (talk.one, talk.two):
            assert [message.recipients for message in destination.messages] == [(f"accepted@{TO_BOTH}",)]


@scenario
async def test_a_host_that_changes_its_mind_when_asked_again_gets_nothing() -> None:
    async with both() as talk:
        refuse_one(talk.one)
        await talk.client.begin([f"accepted@{TO_BOTH}", f"refused@{TO_BOTH}"])
        talk.two.answers[Phase.RCPT] = "550 5.1.1 on second thoughts, no"
        assert (await talk.ask("DATA"))[0] == "4", "the recipient was told 250 already (D3)"
        assert talk.one.ends_of_data == talk.two.ends_of_data == 0


@scenario
async def test_recipients_of_one_destination_share_a_connection_and_a_copy() -> None:
    async with pair() as talk:
        await talk.client.deliver(["a@one.test", "b@one.test", "a@one.test"], witness.content(0))
        assert [message.recipients for message in talk.one.messages] == [("a@one.test", "b@one.test", "a@one.test")]
        assert len(talk.one.talks) == 1
