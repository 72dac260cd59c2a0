"""The sink as a destination: what it answers, what it tells."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.delivery import Flow
from moxy.delivery.sink import SinkDestination, SinkDirectory, SinkMessage
from moxy.mail import Envelope, Host, Recipient, Route, Session
from moxy.smtp import replies
from moxy.smtp.address import ForwardPath, ReversePath
from moxy.smtp.reply import Phase, Reply

REFUSAL = Reply(550, "1.1", "No such user")


def recipient(path):
    return Recipient(ForwardPath.parse(path))


def opened(destination):
    envelope = Envelope("T1", ReversePath.parse("ann@client.test"))
    return destination.open(Session("S1", "192.0.2.1"), envelope, Flow(lambda: None, lambda: None))


def delivered(destination, *blocks, recipients=("bob@one.test",)):
    """The replies to one message: of all recipients, to DATA, to the dot."""
    delivery = opened(destination)
    people = [recipient(path) for path in recipients]

    async def transaction():
        answers = [await delivery.rcpt(person) for person in people]
        data = await delivery.data()
        for block in blocks:
            delivery.write(block)
        delivery.flush()
        return answers, data, await delivery.finish(1)

    return asyncio.run(transaction())


def test_everything_is_accepted_and_shown():
    shown = []
    answers = delivered(
        SinkDestination(shown.append), b"Subject: hi\r\n\r\n..a\r\n", recipients=["bob@one.test", "eve@one.test"]
    )
    assert answers == (
        [replies.RECIPIENT_OK, replies.RECIPIENT_OK],
        replies.START_MAIL_INPUT,
        [replies.MESSAGE_ACCEPTED, replies.MESSAGE_ACCEPTED],
    )
    content = b"Subject: hi\r\n\r\n.a\r\n"
    assert shown == [
        SinkMessage("T1", "192.0.2.1", "ann@client.test", ("bob@one.test", "eve@one.test"), len(content), content)
    ]


def test_a_recipient_withdrawn_is_not_shown():
    shown = []
    delivery = opened(SinkDestination(shown.append))
    people = [recipient("bob@one.test"), recipient("bob@one.test")]

    async def transaction():
        for person in people:
            await delivery.rcpt(person)
        delivery.withdraw(people[0])
        return await delivery.finish(1)

    assert len(asyncio.run(transaction())) == 1
    assert shown[0].recipients == ("bob@one.test",)


def test_it_can_play_a_server_that_refuses():
    shown = []
    at_rcpt, _, _ = delivered(SinkDestination(shown.append, {Phase.RCPT: REFUSAL}))
    assert at_rcpt == [REFUSAL]
    _, at_data, _ = delivered(SinkDestination(shown.append, {Phase.DATA: REFUSAL}))
    assert at_data == REFUSAL
    shown.clear()
    _, _, at_the_dot = delivered(SinkDestination(shown.append, {Phase.FINAL: REFUSAL}))
    assert at_the_dot == [REFUSAL]
    assert shown == []


def test_refused_recipients_are_counted_and_get_nothing():
    delivery = opened(SinkDestination(lambda _: None, {Phase.RCPT: REFUSAL}))
    asyncio.run(delivery.rcpt(recipient("bob@one.test")))
    assert (delivery.recipients, delivery.refusals) == ([], 1)


def test_no_more_is_kept_than_was_asked_for():
    shown = []
    delivered(SinkDestination(shown.append, keep=10), b"0123456", b"789\r\n", b"more\r\n")
    assert (shown[0].content, shown[0].octets) == (b"0123456789", 18)


def test_every_route_leads_to_the_sink():
    destination = SinkDestination(lambda _: None)
    assert SinkDirectory(destination).destinations(Route((Host("a.test"),))) == (destination,)


def subject(content):
    return SinkMessage("T1", "", "", (), 0, content).subject


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"Subject: plain\r\n\r\n", "plain"),
        (b"From: a@b.c\r\nSUBJECT:any case\r\n\r\n", "any case"),
        (b"Subject: folded\r\n\tin two\r\nTo: x\r\n\r\n", "folded\tin two"),
        (b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?= =?utf-8?b?IQ==?=\r\n\r\n", "grüße!"),
        ("Subject: grüße\r\n\r\n".encode(), "grüße"),
        (b"Subject: =?nonsense?q?a?=\r\n\r\n", "=?nonsense?q?a?="),
        (b"Subject: =?utf-8?b?x?=\r\n\r\n", "=?utf-8?b?x?="),
        (b"Subject: cut at the end", "cut at the end"),
        (b"Subject:\r\n\r\n", ""),
        (b"To: x\r\n\r\nSubject: in the body\r\n", ""),
        (b"X-Subject: no\r\n\r\n", ""),
        (b"", ""),
    ],
)
def test_the_subject_is_the_decoded_field_of_the_header(content, expected):
    assert subject(content) == expected


@given(st.binary(max_size=200))
def test_any_octets_have_a_subject(octets):
    subject(b"Subject: " + octets)
    subject(b"Subject: =?" + octets + b"?=\r\n")
