"""Every client with every destination: one message, many recipients, refusals, long lines, 50 MB."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from support.exchange import Exchange, Message, running_exchange
from support.features import LARGE, MANY
from support.mailboxes import CROWD, MAILBOXES, NOBODY, domain_of
from support.senders import GIVE_UP, SENDERS
from support.submit import Letter

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"

BODY = (
    b".a line that begins with a dot\r\n"
    b"..and one with two\r\n"
    b".\r\n"
    b"\r\n"
    b"blanks at the end  \t\r\n"
    b"\xc3\xa9\xe9\x80\xff and a line of 998 octets (RFC 5321 4.5.3.1.6):\r\n" + b"x" * 998 + b"\r\n\r\n\r\n"
)

by_client = pytest.mark.parametrize("client", SENDERS)
by_destination = pytest.mark.parametrize("destination", MAILBOXES)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with running_exchange() as exchange:
        yield exchange


@by_destination
@by_client
def test_a_message_arrives_bit_for_bit(exchange: Exchange, client: str, destination: str) -> None:
    message = Message(BODY)
    path = f"ann@{domain_of(destination)}"
    told = exchange.sender(client).send(Letter(SENDER, [path], message.content))
    assert told[path][0] == "sent", told
    assert exchange.wait_for(destination, "ann", message) == message.stored


@by_destination
@by_client
def test_a_recipient_is_refused_in_the_words_of_its_destination_and_the_others_get_theirs(
    exchange: Exchange, client: str, destination: str
) -> None:
    message = Message(b"Hello.\r\n")
    ann, zed, bob = (f"{user}@{domain_of(destination)}" for user in ("ann", NOBODY, "bob"))
    told = exchange.sender(client).send(Letter(SENDER, [ann, zed, bob], message.content))
    assert told[zed][0] == "bounced", told
    assert exchange.destinations[destination].refusal.format(path=zed) in told[zed][1]
    if client in GIVE_UP:
        assert exchange.found(destination, "ann", message) == []
    else:
        assert [told[ann][0], told[bob][0]] == ["sent", "sent"]
        exchange.wait_for(destination, "ann", message)
        exchange.wait_for(destination, "bob", message)


@by_client
def test_one_message_reaches_all_four_destinations(exchange: Exchange, client: str) -> None:
    message = Message(BODY)
    paths = {name: f"bob@{domain_of(name)}" for name in MAILBOXES}
    told = exchange.sender(client).send(Letter(SENDER, list(paths.values()), message.content))
    assert [told[path][0] for path in paths.values()] == ["sent"] * len(paths), told
    for name in paths:
        assert exchange.wait_for(name, "bob", message) == message.stored


@by_client
def test_the_null_reverse_path_passes(exchange: Exchange, client: str) -> None:
    message = Message(b"Hello.\r\n")
    path = "ann@postfix.test"
    told = exchange.sender(client).send(Letter("", [path], message.content))
    assert told[path][0] == "sent", told
    exchange.wait_for("Postfix", "ann", message)
    (stored,) = exchange.found("Postfix", "ann", message)
    assert stored.startswith(b"Return-Path: <>\n")


@pytest.mark.parametrize(("client", "destination"), MANY)
def test_120_recipients_in_one_transaction(exchange: Exchange, client: str, destination: str) -> None:
    message = Message(BODY)
    paths = [f"{user}@{domain_of(destination)}" for user in CROWD]
    told = exchange.sender(client).send(Letter(SENDER, paths, message.content))
    assert {status for status, _ in told.values()} == {"sent"}, told
    assert sorted(told) == sorted(paths)
    for user in CROWD:
        assert exchange.wait_for(destination, user, message) == message.stored


@pytest.mark.slow
@pytest.mark.parametrize(("client", "destination"), LARGE)
def test_50_megabytes_arrive_bit_for_bit(exchange: Exchange, client: str, destination: str) -> None:
    line = random.Random(client).randbytes(37).hex().encode() + b"\r\n"
    message = Message(line * (50_000_000 // len(line)))
    path = f"ann@{domain_of(destination)}"
    told = exchange.sender(client).send(Letter(SENDER, [path], message.content))
    assert told[path][0] == "sent", told
    stored = exchange.wait_for(destination, "ann", message)
    assert hashlib.sha256(stored).digest() == hashlib.sha256(message.stored).digest()
