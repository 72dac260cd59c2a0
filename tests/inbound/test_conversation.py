"""Conversation: one reply to each verb, and the checks before a destination is asked."""

from __future__ import annotations

import pytest

from moxy.accounting.linereader import LineReader
from moxy.accounting.textformat import LineFormat
from moxy.errors import TemporaryFailure
from moxy.inbound.service import Bounds
from moxy.mail import Route
from moxy.smtp.address import ForwardPath
from moxy.smtp.extension import EIGHT_BIT
from support.destination import Phase, running_destination
from support.ports import LOOPBACK
from support.relay import Domains, route, running_relay
from support.scenario import scenario
from support.smtpclient import connected


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("NOOP", "250 2.0.0"),
        ("noop with words", "250 2.0.0"),
        ("VRFY joe", "252 2.5.0"),
        ("EXPN list", "502 5.5.1"),
        ("HELP", "214 2.0.0"),
        ("RSET", "250 2.0.0"),
        ("HELO again", "250 mx.moxy.test"),
        ("QUIT", "221 2.0.0 mx.moxy.test"),
        ("RCPT TO:<a@one.test>", "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        ("BDAT 0 LAST", "503 5.5.1"),
        ("BDAT all", "421 4.5.4 mx.moxy.test"),
        ("NONSENSE", "500 5.5.1"),
        ("MAIL FROM:<s@client.test> SIZE=999999999", "552 5.3.4"),
    ],
)
@scenario
async def test_each_verb_has_its_answer(line: str, reply: str) -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        assert (await client.ask(line)).startswith(reply)


@scenario
async def test_too_many_bad_commands_end_the_session() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        for _ in range(10):
            assert (await client.ask("NONSENSE")).startswith("500")
        assert (await client.ask("NONSENSE")).startswith("421 4.7.0 mx.moxy.test")
        assert await client.reply() == ""


@scenario
async def test_refused_recipients_with_data_pipelined_behind_them_are_no_bad_commands() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        for _ in range(20):
            client.send("MAIL FROM:<s@client.test>", "RCPT TO:<a@unknown.test>", "DATA", "RSET")
            assert [(await client.reply())[:3] for _ in range(4)] == ["250", "550", "554", "250"]


@scenario
async def test_a_web_browser_is_sent_away_at_once() -> None:
    async with running_relay({}) as relay, connected(relay.port, hello=False) as client:
        assert (await client.ask("POST / HTTP/1.1")).startswith("421 ")
        assert await client.reply() == ""


@scenario
async def test_an_unknown_domain_is_refused() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        assert (await client.begin(["a@unknown.test"]))[0].startswith("550 5.7.1")


@scenario
async def test_who_may_relay_is_served_by_the_relays_route() -> None:
    async with running_destination() as destination, running_relay({}) as relay, connected(relay.port) as client:
        relay.service.relay = {"127.0.0.1": route(destination.port)}.get
        assert (await client.deliver(["a@unknown.test"])).startswith("250")
        assert destination.messages[0].recipients == ("a@unknown.test",)


class Troubled(Domains):
    """A table that cannot be asked."""

    async def lookup(self, path: ForwardPath) -> Route | None:
        raise TemporaryFailure(f"{path}: the database is away")


@scenario
async def test_a_lookup_that_fails_is_a_reason_to_try_again_never_a_refusal() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        relay.service.routes = Troubled({})
        assert (await client.begin(["a@one.test"]))[0].startswith("451 4.4.3")


class Broken(Domains):
    """A table with a bug."""

    async def lookup(self, path: ForwardPath) -> Route | None:
        raise RuntimeError(str(path))


def test_a_bug_of_ours_is_answered_and_the_session_goes_on() -> None:
    @scenario
    async def session() -> None:
        async with running_relay({}) as relay, connected(relay.port) as client:
            relay.service.routes = Broken({})
            assert (await client.begin(["a@one.test"]))[0].startswith("451 4.3.0")
            assert (await client.ask("RSET")).startswith("250")

    with pytest.raises(AssertionError, match="'event': 'bug'"):
        session()


@scenario
async def test_one_recipient_too_many_is_asked_to_come_later() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), bounds=Bounds(recipients=100)) as relay,
        connected(relay.port) as client,
    ):
        replies = await client.begin([f"u{number}@one.test" for number in range(101)])
        assert all(reply.startswith("250") for reply in replies[:100])
        assert replies[100].startswith("452 4.5.3")
        assert (await client.data(b"text\r\n")).startswith("250")
        assert len(destination.messages[0].recipients) == 100
        assert (await client.begin(["again@one.test"]))[0].startswith("250")


@pytest.mark.parametrize(("postmaster", "domain"), [("", "mx.moxy.test"), ("admin@one.test", "one.test")])
@scenario
async def test_the_bare_postmaster_has_a_route(postmaster: str, domain: str) -> None:
    async with (
        running_destination() as destination,
        running_relay({domain: route(destination.port)}) as relay,
        connected(relay.port) as client,
    ):
        relay.service.postmaster = postmaster
        assert (await client.deliver(["postmaster"])).startswith("250")
        assert destination.messages[0].recipients == ("postmaster",)


@pytest.mark.parametrize("ending", ["RSET", "EHLO again", "HELO again"])
@scenario
async def test_a_transaction_given_up_is_given_up_at_the_destination_too(ending: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.begin(["given-up@one.test"])
        assert (await client.ask(ending)).startswith("250")
        await destination.reached("RSET")
        assert (await client.deliver(["a@one.test"])).startswith("250")
        assert [message.recipients for message in destination.messages] == [("a@one.test",)]


@scenario
async def test_the_null_reverse_path_passes() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.begin(["a@one.test"], sender="")
        assert (await client.data(b"text\r\n")).startswith("250")
        assert destination.messages[0].mail == "FROM:<>"


@scenario
async def test_limits_of_a_session_are_those_of_rfc_9422() -> None:
    async with running_relay({}, bounds=Bounds(transactions=3, domains=1)) as relay, connected(relay.port) as client:
        for _ in range(2):
            replies = await client.begin(["a@one.test", "b@ONE.test", "c@two.test"])
            assert [reply[:9] for reply in replies] == ["550 5.7.1", "550 5.7.1", "451 4.5.3"]
            await client.ask("EHLO again")  # the same session
        assert (await client.ask("MAIL FROM:<s@client.test> SIZE=999999999")).startswith("552")
        assert (await client.ask("MAIL FROM:<s@client.test>")).startswith("421 4.3.2 mx.moxy.test")
        assert await client.reply() == ""


@scenario
async def test_mail_that_is_no_command_is_no_transaction() -> None:
    async with running_relay({}, bounds=Bounds(transactions=1)) as relay, connected(relay.port) as client:
        assert (await client.ask("MAIL FROM:nobody")).startswith("501")
        assert (await client.ask("MAIL FROM:<s@client.test>")).startswith("250")
        assert (await client.ask("MAIL FROM:<s@client.test>")).startswith("503")


@pytest.mark.parametrize(
    ("hello", "mail", "each"),
    [
        ("EHLO client.test", "MAIL FROM:<s@client.test>", False),
        ("EHLO client.test", "MAIL FROM:<s@client.test> PRDR", True),
        ("LHLO client.test", "MAIL FROM:<s@client.test>", True),
    ],
)
@scenario
async def test_an_envelope_says_whether_its_client_takes_a_verdict_for_each(hello: str, mail: str, each: bool) -> None:
    async with running_relay({}, lmtp=hello.startswith("L")) as relay, connected(relay.port, hello=False) as client:
        assert (await client.ask(hello)).startswith("250-")
        assert (await client.ask(mail)).startswith("250 ")
        (connection,) = relay.service.connections
        envelope = connection._conversation.transaction.envelope
        assert envelope.each is each


# -- XCLIENT

TRUSTED = [LOOPBACK]


@scenario
async def test_a_listed_peer_may_say_who_its_client_is() -> None:
    async with running_destination() as destination, running_relay({}, xclient_from=TRUSTED) as relay:
        relay.service.relay = lambda client: route(destination.port) if client == "192.0.2.1" else None
        async with connected(relay.port, hello=False) as client:
            offer = (await client.ask("EHLO proxy.test")).splitlines()
            assert offer[-1] == "250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
            assert (await client.begin(["a@any.test"]))[0].startswith("550")
            assert (await client.ask("RSET")).startswith("250")
            assert (
                await client.ask("XCLIENT NAME=c.test ADDR=192.0.2.1 PORT=7 LOGIN=ann") == "220 mx.moxy.test ESMTP Moxy"
            )
            assert (await client.ask("MAIL FROM:<s@client.test>")).startswith("503 5.5.1")
            assert "XCLIENT" not in await client.ask("EHLO client.test")
            assert (await client.deliver(["a@any.test"])).startswith("250")
        assert destination.messages[0].content.startswith(b"Received: from client.test ([192.0.2.1])\r\n")
        assert (relay.records[0].client, relay.records[0].client_port) == ("192.0.2.1", 7)


@scenario
async def test_once_its_address_is_known_a_client_cannot_say_who_it_is() -> None:
    """A proxy passes on what its client says: even where that client is in a listed network, it is not believed."""
    async with running_relay({}, xclient_from=["0.0.0.0/0"]) as relay, connected(relay.port) as client:
        assert (await client.ask("XCLIENT HELO=c.test PORT=7")).startswith("220")
        assert (await client.ask("XCLIENT ADDR=192.0.2.1")).startswith("220")
        for line in ("XCLIENT ADDR=192.0.2.2", "XCLIENT", "XCLIENT ADDR=x"):
            assert await client.ask(line) == "500 5.5.1 Command not recognized"
        await client.ask("EHLO client.test")
        assert await client.ask("XCLIENT ADDR=192.0.2.2") == "500 5.5.1 Command not recognized"
        (connection,) = relay.service.connections
        assert connection._conversation.session.client == "192.0.2.1"
        assert connection._conversation.session.client_port == 7


@pytest.mark.parametrize("recipient", ["a@one.test", "a@nowhere.test"])
@scenario
async def test_who_is_greeted_anew_behind_a_command_that_waited_is_not_waited_for_for_ever(recipient: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), xclient_from=TRUSTED) as relay,
        connected(relay.port) as client,
    ):
        client.send("EHLO x", "MAIL FROM:<s@x.test>", f"RCPT TO:<{recipient}>", "RSET", "XCLIENT ADDR=192.0.2.1")
        answers = [await client.reply() for _ in range(5)]
        assert answers[-1].startswith("220")
        relay.pass_time(299)
        assert (await client.ask("NOOP")).startswith("250")
        relay.pass_time(301)
        assert (await client.reply()).startswith("421 4.4.2")


@scenario
async def test_xclient_is_refused_inside_a_transaction_and_where_it_is_malformed() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), xclient_from=TRUSTED) as relay,
        connected(relay.port) as client,
    ):
        for line in ("XCLIENT", "XCLIENT ADDR", "XCLIENT ADDR=1.2", "XCLIENT NOSUCH=1"):
            assert (await client.ask(line)).startswith("501 5.5.4")
        await client.begin(["a@one.test"])
        assert (await client.ask("XCLIENT ADDR=192.0.2.1")).startswith("503 5.5.1")
        assert (await client.data(b"text\r\n")).startswith("250")
        assert relay.records[0].client == LOOPBACK


@scenario
async def test_nobody_else_hears_of_xclient() -> None:
    async with running_relay({}, xclient_from=["192.0.2.7"]) as relay, connected(relay.port) as client:
        assert "XCLIENT" not in await client.ask("EHLO client.test")
        for line in ("XCLIENT ADDR=192.0.2.1", "XCLIENT", "xclient ADDR=x", "XFORWARD ADDR=192.0.2.1"):
            assert await client.ask(line) == await client.ask("NONSENSE")


@scenario
async def test_lmtp_greets_again_too() -> None:
    async with (
        running_relay({}, lmtp=True, xclient_from=TRUSTED) as relay,
        connected(relay.port, hello=False) as client,
    ):
        assert "XCLIENT NAME" in await client.ask("LHLO proxy.test")
        assert await client.ask("XCLIENT ADDR=IPV6:2001:db8::1") == "220 mx.moxy.test LMTP Moxy"
        assert "XCLIENT" not in await client.ask("LHLO client.test")


@scenario
async def test_an_address_beyond_ascii_is_recorded_as_it_was_written() -> None:
    async with running_destination() as destination, running_relay({}) as relay:
        relay.service.announce(EIGHT_BIT | {"SMTPUTF8"})
        relay.service.relay = {"127.0.0.1": route(destination.port)}.get
        destination.answers[Phase.EHLO] = "250-d.test\r\n250-8BITMIME\r\n250 SMTPUTF8"
        async with connected(relay.port) as client:
            assert (await client.ask("MAIL FROM:<jörg@bücher.test> SMTPUTF8")).startswith("250")
            assert (await client.ask("RCPT TO:<用户@例子.测试>")).startswith("250")
            assert (await client.data("Subject: ö\r\n\r\n".encode())).startswith("250")
        (record,) = relay.records
        assert (record.reverse_path, record.recipients) == ("jörg@bücher.test", ["用户@例子.测试"])
        line = LineFormat("%sender %rcpts %msize", "%s").render(record)
        assert line == "jörg@bücher.test 用户@例子.测试 15"
        assert LineReader("%sender %rcpts %msize", "%s").match(line.encode()) is not None


@scenario
async def test_a_session_keeps_the_offer_of_its_last_ehlo() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        relay.service.announce(frozenset({"DSN"}))
        assert (await client.ask("MAIL FROM:<s@client.test> RET=FULL")).startswith("555")
        assert "DSN" in await client.ask("EHLO client.test")
        relay.service.announce(EIGHT_BIT)
        assert (await client.ask("MAIL FROM:<s@client.test> RET=FULL")).startswith("250")
        assert "DSN" not in await client.ask("EHLO client.test")
        assert (await client.ask("MAIL FROM:<s@client.test> RET=FULL")).startswith("555")


@scenario
async def test_other_spellings_of_a_domain_are_not_another_domain() -> None:
    async with running_relay({}, bounds=Bounds(domains=1)) as relay:
        relay.service.announce(EIGHT_BIT | {"SMTPUTF8"})
        async with connected(relay.port) as client:
            await client.ask("MAIL FROM:<> SMTPUTF8")
            assert (await client.ask("RCPT TO:<a@bücher.test>")).startswith("550")
            assert (await client.ask("RCPT TO:<b@XN--BCHER-KVA.test>")).startswith("550")
            assert (await client.ask("RCPT TO:<b@other.test>")).startswith("451 4.5.3")


@scenario
async def test_who_is_asked_about_beyond_ascii_tells_as_little_as_ever() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        assert (await client.ask("VRFY jörg SMTPUTF8")).startswith("252")
        assert (await client.ask("EXPN jörg SMTPUTF8")).startswith("502")
