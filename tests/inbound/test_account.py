"""Account: a record for each verdict of each delivery."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from moxy.accounting.record import Outcome, Record
from moxy.inbound.account import Account
from moxy.mail import Envelope, Session
from moxy.smtp.address import ReversePath
from moxy.smtp.reply import Reply
from support.legs import LATER, LOST, NEVER, YES, leg
from support.relay import Relay, running_relay
from support.scenario import scenario

STARTED, NOW = 1_700_000_000.0, 1_700_000_002.5


@asynccontextmanager
async def account() -> AsyncIterator[tuple[Relay, Account]]:
    """That of a transaction that began 2.5 seconds ago, and whose content has 321 octets."""
    async with running_relay({}) as relay:
        session = Session("S1", "192.0.2.1", 4711)
        session.hello = "mail.a.test"
        relay.service.clock = lambda: STARTED
        made = Account(relay.service, session, Envelope("T1", ReversePath.parse("ann@A.test")))
        made.octets = 321
        relay.service.clock = lambda: NOW
        yield relay, made


@scenario
async def test_a_record_says_everything() -> None:
    async with account() as (relay, made):
        delivered = leg("a@One.test", "b@one.test")
        delivered.conclude([YES, YES])
        made.concluded(delivered)
        assert relay.records == [
            Record(
                time=NOW,
                session="S1",
                transaction="T1",
                client="192.0.2.1",
                client_port=4711,
                hello="mail.a.test",
                reverse_path="ann@A.test",
                destination="one:25",
                recipients=["a@One.test", "b@one.test"],
                size=321,
                outcome=Outcome.DELIVERED,
                reply=YES,
                duration=2.5,
            )
        ]


@pytest.mark.parametrize(
    ("answers", "unanswered", "records"),
    [
        ([YES, YES], 0, [(Outcome.DELIVERED, YES, "ab")]),
        ([NEVER, NEVER], 0, [(Outcome.REFUSED, NEVER, "ab")]),
        ([LOST, LOST], 2, [(Outcome.UNKNOWN, LOST, "ab")]),
        ([YES, NEVER, YES, LATER], 0, [
            (Outcome.DELIVERED, YES, "ac"), (Outcome.REFUSED, NEVER, "b"), (Outcome.REFUSED, LATER, "d"),
        ]),
        ([YES, LOST, LOST], 2, [(Outcome.DELIVERED, YES, "a"), (Outcome.UNKNOWN, LOST, "bc")]),
        ([LOST, LOST], 1, [(Outcome.REFUSED, LOST, "a"), (Outcome.UNKNOWN, LOST, "b")]),
    ],
)  # fmt: skip
@scenario
async def test_those_who_fared_alike_share_a_record(
    answers: Sequence[Reply], unanswered: int, records: list[tuple[Outcome, Reply, str]]
) -> None:
    async with account() as (relay, made):
        concluded = leg(*[f"{name}@one.test" for name in "abcd"[: len(answers)]])
        concluded.conclude(list(answers), unanswered)
        made.concluded(concluded)
        assert [
            (record.outcome, record.reply, "".join(address[0] for address in record.recipients))
            for record in relay.records
        ] == records


@scenario
async def test_a_delivery_that_came_to_no_verdict_is_recorded_with_the_reason() -> None:
    async with account() as (relay, made):
        given_up = leg("a@one.test")
        made.record(given_up.delivery, Outcome.ABORTED, LATER, given_up.delivery.recipients)
        (record,) = relay.records
        assert (record.outcome, record.reply, record.recipients) == (Outcome.ABORTED, LATER, ["a@one.test"])


@scenario
async def test_who_refuses_before_the_dot_gets_none() -> None:
    async with account() as (relay, made):
        refusing = leg("a@one.test", "b@one.test")
        made.refused(refusing, NEVER)
        assert refusing.answers == [NEVER, NEVER]
        (record,) = relay.records
        assert (record.outcome, record.reply) == (Outcome.REFUSED, NEVER)
        assert record.recipients == ["a@one.test", "b@one.test"]


@pytest.mark.parametrize(
    ("failure", "outcome", "reply"), [(None, Outcome.ABORTED, LATER), (NEVER, Outcome.REFUSED, NEVER)]
)
@scenario
async def test_a_delivery_is_given_up_for_its_own_reason_if_it_has_one(
    failure: Reply | None, outcome: Outcome, reply: Reply
) -> None:
    async with account() as (relay, made):
        given_up = leg("a@one.test")
        given_up.delivery.failure = failure  # type: ignore[misc]
        made.given_up(given_up, LATER)
        (record,) = relay.records
        assert (record.outcome, record.reply) == (outcome, reply)
        assert not given_up.concluded
