"""MAIL and RCPT as a destination understands them, and what is due where it lacks an extension."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from moxy.mail import Envelope, Recipient
from moxy.outbound import parameters
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import Upstream
from moxy.smtp import replies
from moxy.smtp.address import ForwardPath, ReversePath
from moxy.smtp.extension import ANNOUNCED, EIGHT_BIT, Extensions
from moxy.smtp.parameter import MAIL_PARAMETERS, RCPT_PARAMETERS
from support.destination import Phase, running_destination
from support.outbound import running_outbound
from support.relay import route, running_relay
from support.scenario import scenario
from support.smtpclient import connected

SENDER = ReversePath.parse("s@client.test")
EVERYTHING = dict.fromkeys(ANNOUNCED, "")


class Connection:
    """What `parameters` look at in a connection."""

    def __init__(self, *keywords: str, authenticated: bool = False, verified: bool = False) -> None:
        self.extensions = Extensions(dict.fromkeys(keywords, ""))
        self.authenticated = authenticated
        self.verified = verified


def message(body: str = "", size: int = 0, **wanted: str) -> Envelope:
    return Envelope("id", SENDER, size=size, body=body, parameters=named(wanted))


def named(wanted: Mapping[str, str]) -> dict[str, str]:
    return {keyword.replace("_", "-"): value for keyword, value in wanted.items()}


def someone(**wanted: str) -> Recipient:
    return Recipient(ForwardPath.parse("a@one.test"), named(wanted))


def unfit(envelope: Envelope, connection: Connection, *accepted: Recipient, **settings: str) -> object:
    return parameters.unfit(envelope, accepted, connection, Settings(**settings))


@pytest.mark.parametrize(
    ("envelope", "extensions", "due"),
    [
        (message("8BITMIME"), ["8BITMIME"], replies.NO_8BITMIME),
        (message("BINARYMIME"), ["BINARYMIME", "CHUNKING"], replies.NO_BINARYMIME),
        (message(SMTPUTF8=""), ["SMTPUTF8"], replies.NO_SMTPUTF8),
        (message(BY="60;R"), ["DELIVERBY"], replies.NO_DELIVERBY),
        (message(HOLDFOR="60"), ["FUTURERELEASE"], replies.NO_FUTURERELEASE),
        (message(HOLDUNTIL="2030-01-01T00:00:00Z"), ["FUTURERELEASE"], replies.NO_FUTURERELEASE),
        (message(MT_PRIORITY="3"), ["MT-PRIORITY"], replies.NO_MT_PRIORITY),
    ],
)
def test_what_must_not_get_lost_needs_its_extension(envelope, extensions, due):
    assert unfit(envelope, Connection(*extensions)) is None
    for missing in extensions:
        assert unfit(envelope, Connection(*{*EVERYTHING, "CHUNKING"} - {missing})) is due


def test_requiretls_needs_its_extension_and_a_proved_name():
    envelope = message(REQUIRETLS="")
    assert unfit(envelope, Connection("REQUIRETLS", verified=True)) is None
    assert unfit(envelope, Connection("REQUIRETLS")) is replies.NO_REQUIRETLS
    assert unfit(envelope, Connection(verified=True)) is replies.NO_REQUIRETLS


def test_8_bit_content_may_pass_by_choice_and_binary_content_may_not():
    assert unfit(message("8BITMIME"), Connection(), eight_bit="pass") is None
    assert unfit(message("BINARYMIME"), Connection("8BITMIME"), eight_bit="pass") is replies.NO_BINARYMIME


@pytest.mark.parametrize(
    "envelope", [message(), message("7BIT"), message(RET="FULL", ENVID="x"), message(AUTH="a@client.test")]
)
def test_what_says_the_same_as_its_absence_goes_anywhere(envelope):
    assert unfit(envelope, Connection(), someone(NOTIFY="FAILURE,DELAY", ORCPT="rfc822;a@x.test")) is None


@pytest.mark.parametrize("notify", ["SUCCESS", "failure,success", "NEVER", "never"])
def test_a_report_that_would_be_owed_or_unwanted_needs_dsn(notify):
    assert parameters.lacking(someone(NOTIFY=notify), Extensions({"DSN": ""})) is None
    assert parameters.lacking(someone(NOTIFY=notify), Extensions()) is replies.NO_DSN
    assert parameters.lacking(someone(NOTIFY="DELAY"), Extensions()) is None
    assert parameters.lacking(someone(), Extensions()) is None


def test_recipients_accepted_elsewhere_count():
    assert unfit(message(), Connection(), someone(), someone(NOTIFY="NEVER")) is replies.NO_DSN
    assert unfit(message(), Connection("DSN"), someone(NOTIFY="NEVER")) is None


def test_mail_has_everything_where_everything_is_known():
    wanted = {
        "SMTPUTF8": "", "RET": "HDRS", "ENVID": "a+2Bb", "AUTH": "x@y.test", "REQUIRETLS": "", "BY": "60;R",
        "HOLDFOR": "60", "MT-PRIORITY": "-1",
    }  # fmt: skip
    envelope = Envelope("id", SENDER, size=9, body="BINARYMIME", parameters=wanted)
    told = parameters.mail_command(envelope, Connection(*EVERYTHING, authenticated=True), prdr=True)
    assert told == (
        b"MAIL FROM:<s@client.test> SIZE=9 BODY=BINARYMIME PRDR SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=x@y.test REQUIRETLS"
        b" BY=60;R HOLDFOR=60 MT-PRIORITY=-1"
    )
    assert set(wanted) | {"SIZE", "BODY", "PRDR", "HOLDUNTIL"} == set(MAIL_PARAMETERS)


def test_mail_has_nothing_where_nothing_is_known():
    envelope = message("7BIT", 9, RET="HDRS", ENVID="a", AUTH="<>")
    assert parameters.mail_command(envelope, Connection(), prdr=False) == b"MAIL FROM:<s@client.test>"


def test_rcpt_has_what_is_known():
    recipient = someone(NOTIFY="SUCCESS", ORCPT="utf-8;jörg@x.test")
    told = "RCPT TO:<a@one.test> NOTIFY=SUCCESS ORCPT=utf-8;jörg@x.test".encode()
    assert parameters.rcpt_command(recipient, Extensions({"DSN": ""})) == told
    assert parameters.rcpt_command(recipient, Extensions()) == b"RCPT TO:<a@one.test>"
    assert set(recipient.parameters) == set(RCPT_PARAMETERS)


# -- over a connection


@pytest.mark.parametrize(("trusted", "passed"), [(True, "j+2Bk@client.test"), (False, "<>")])
@scenario
async def test_auth_is_passed_where_we_authenticated_and_believed_of_those_who_may_relay(
    trusted: bool, passed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lend = Upstream.lend

    def authenticated(upstream: Upstream, borrower: object) -> None:
        upstream.authenticated = True
        lend(upstream, borrower)

    monkeypatch.setattr(Upstream, "lend", authenticated)
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        if trusted:
            relay.service.relay = {"127.0.0.1": route(destination.port)}.get
        await client.ask("MAIL FROM:<s@client.test> AUTH=j+2Bk@client.test")
        assert (await client.ask("RCPT TO:<a@one.test>")).startswith("250")
        assert destination.commands("MAIL") == [f"MAIL FROM:<s@client.test> AUTH={passed}"]


@scenario
async def test_a_recipient_that_cannot_be_asked_for_leaves_the_others_alone() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
    ):
        relay.service.announce(EIGHT_BIT | {"DSN"})
        async with connected(relay.port) as client:
            client.send(
                "MAIL FROM:<s@client.test> RET=FULL",
                "RCPT TO:<a@one.test> NOTIFY=SUCCESS",
                "RCPT TO:<b@one.test> NOTIFY=DELAY",
                "RCPT TO:<c@one.test> NOTIFY=NEVER",
            )
            assert [(await client.reply())[:9] for _ in range(4)] == [
                "250 2.1.0", "451 4.3.3", "250 2.1.5", "451 4.3.3",
            ]  # fmt: skip
            assert (await client.data(b"text\r\n")).startswith("250")
            assert destination.messages[0].mail == "FROM:<s@client.test>"
            assert destination.messages[0].recipients == ("b@one.test",)


@scenario
async def test_a_transaction_told_again_elsewhere_must_find_what_it_was_promised() -> None:
    async with running_destination() as destination, running_outbound(Settings(connections=1)) as outbound:
        destination.answers[Phase.EHLO] = "250-d.test\r\n250 DSN"
        delivery = outbound.open(outbound.to(destination.port))
        assert (await delivery.rcpt(someone(NOTIFY="SUCCESS"))).positive
        assert delivery.park()
        for upstream in tuple(outbound.pools[0]._open):
            upstream.lose(replies.DESTINATION_LOST)
        destination.answers[Phase.EHLO] = "250 d.test"
        assert (await delivery.data()) is replies.NO_DSN
        delivery.abort()
