"""AUTH towards destinations: which mechanism, told to whom, and what is made of a refusal."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from moxy.net.overhearing import overheard
from moxy.outbound.settings import Login, Settings
from moxy.smtp import replies
from moxy.smtp.reply import Reply
from moxy.smtp.sasl import MECHANISMS
from support.destination import Act, Answer
from support.outbound import Outbound, recipients, running_outbound, texts
from support.scenario import scenario, until
from support.tlsdestination import REQUIRED, TlsDestination, TlsTalk, running_tls_destination, settings

USER, SECRET = "moxy", "hunter2"
ALL = tuple(MECHANISMS)
YES = "235 2.7.0 welcome"


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def decoded(line: str) -> str:
    return base64.b64decode(line.rpartition(" ")[2]).decode()


def login(*mechanisms: str, secret: str = SECRET, user: str = USER, in_clear: bool = False) -> Login:
    return Login(user, secret, mechanisms or ALL, in_clear)


def scripts() -> dict[str, list[object]]:
    """What a server that knows the secret answers, for each mechanism."""

    def plain(line: str) -> str:
        return YES if decoded(line) == f"\0{USER}\0{SECRET}" else "535 5.7.8 no"

    def cram(line: str) -> str:
        digest = hmac.new(SECRET.encode(), b"<1@destination.test>", "md5").hexdigest()
        return YES if decoded(line) == f"{USER} {digest}" else "535 5.7.8 no"

    said: list[str] = []

    def first(line: str) -> str:
        said[:] = [decoded(line).removeprefix("n,,")]
        nonce = said[0].partition(",r=")[2]
        said.append(f"r={nonce}server,s={encoded(b'salt')},i=4096")
        return f"334 {encoded(said[1])}"

    def second(line: str) -> str:
        without_proof, _, proof = decoded(line).rpartition(",p=")
        salted = hashlib.pbkdf2_hmac("sha256", SECRET.encode(), b"salt", 4096)
        spoken = ",".join([*said, without_proof]).encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), spoken, "sha256")
        if base64.b64decode(proof) != bytes(a ^ b for a, b in zip(key, signature, strict=True)):
            return f"334 {encoded('e=invalid-proof')}"
        proven = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), spoken, "sha256")
        return f"334 {encoded('v=' + encoded(proven))}"

    return {
        "PLAIN": [plain],
        "LOGIN": [
            f"334 {encoded('Username:')}",
            lambda line: f"334 {encoded('Password:')}" if decoded(line) == USER else "535 5.7.8 no",
            lambda line: YES if decoded(line) == SECRET else "535 5.7.8 no",
        ],
        "CRAM-MD5": [f"334 {encoded('<1@destination.test>')}", cram],
        "SCRAM-SHA-256": [first, second, lambda line: YES if line == "" else "501 5.5.2 what"],
    }


async def ask(outbound: Outbound, place: int | str) -> Reply:
    """What a recipient is told."""
    delivery = outbound.open(outbound.to(place))
    reply = await delivery.rcpt(recipients("a@one.test")[0])
    delivery.abort()
    return reply


def spoken(destination: TlsDestination) -> list[str]:
    """Everything said behind the last EHLO."""
    lines = destination.talks[-1].lines
    return lines[len(lines) - lines[::-1].index("EHLO mx.moxy.test") :]


def let_in(destination: TlsDestination) -> bool:
    talk = destination.talks[-1]
    assert isinstance(talk, TlsTalk)
    return talk.authenticated


async def refusal(
    script: Sequence[object], *mechanisms: str, announced: str = "", secret: str = SECRET
) -> tuple[str, list[str]]:
    """The reason in the operator's log where a destination answers so; and what it was told. The client gets a 451."""
    who = settings(REQUIRED, login=login(*mechanisms, secret=secret))
    async with running_tls_destination() as destination, running_outbound(who) as outbound:
        destination.mechanisms = announced or " ".join(mechanisms)
        destination.auth = list(script)  # type: ignore[arg-type]
        with capture_logs() as told:
            reply = await ask(outbound, destination.port)
        assert reply.code in (421, 451)
        assert not destination.commands("MAIL")
        (event,) = [event for event in told if event["event"] == "not_let_in"]
        assert event["user"] == USER
        assert SECRET not in str(told)
        return event["reason"], spoken(destination)


@pytest.mark.parametrize("mechanism", ALL)
@pytest.mark.parametrize("secret", [SECRET, "wrong"])
@scenario
async def test_a_server_that_knows_the_secret_lets_us_in(mechanism: str, secret: str) -> None:
    who = settings(REQUIRED, login=login(mechanism, secret=secret))
    async with running_tls_destination() as destination, running_outbound(who) as outbound:
        destination.mechanisms = mechanism
        destination.auth = scripts()[mechanism]  # type: ignore[assignment]
        if secret != SECRET:
            assert await ask(outbound, destination.port) == replies.NOT_LET_IN
            assert not let_in(destination)
            return
        answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test")
        assert answers == ["250 2.0.0 taken"]
        assert let_in(destination)
        ((upstream,),) = [pool._open for pool in outbound.pools]
        assert upstream.authenticated


@scenario
async def test_without_a_login_nobody_authenticates() -> None:
    async with running_tls_destination() as destination, running_outbound(settings(REQUIRED)) as outbound:
        destination.mechanisms = "PLAIN"
        await outbound.deliver(outbound.to(destination.port), "a@one.test")
        assert not destination.commands("AUTH")
        ((upstream,),) = [pool._open for pool in outbound.pools]
        assert not upstream.authenticated


@pytest.mark.parametrize(
    ("announced", "used"),
    [
        ("LOGIN PLAIN CRAM-MD5 SCRAM-SHA-256", "SCRAM-SHA-256"),
        ("GSSAPI login plain cram-md5", "CRAM-MD5"),
        ("LOGIN PLAIN", "PLAIN"),
        ("LOGIN", "LOGIN"),
    ],
)
@scenario
async def test_the_strongest_that_is_offered_is_used(announced: str, used: str) -> None:
    _, said = await refusal([], *ALL, announced=announced)
    assert said[0].split(" ")[:2] == ["AUTH", used]


@pytest.mark.parametrize(
    ("announced", "reason"),
    [
        ("GSSAPI", "of SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN none that is safe here is offered"),
        (" ", "AUTH is not offered"),
    ],
)
@scenario
async def test_where_none_is_offered_no_mail_is_sent(announced: str, reason: str) -> None:
    why, said = await refusal([], *ALL, announced=announced)
    assert why == reason
    assert said == ["QUIT"] or not said


@pytest.mark.parametrize(("in_clear", "local"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("mechanism", ALL)
@scenario
async def test_a_secret_is_told_only_where_nobody_can_listen(
    directory: Path, mechanism: str, in_clear: bool, local: bool
) -> None:
    path = str(directory / "socket") if local else ""
    who = Settings(login=login(mechanism, in_clear=in_clear))
    async with running_tls_destination(path=path) as destination, running_outbound(who) as outbound:
        destination.mechanisms = mechanism
        destination.auth = scripts()[mechanism]  # type: ignore[assignment]
        reply = await ask(outbound, path or destination.port)
        allowed = in_clear or local or mechanism not in ("PLAIN", "LOGIN")
        assert reply.positive == let_in(destination) == allowed
        assert bool(destination.commands("AUTH")) == allowed


@pytest.mark.parametrize(
    "answer", ["535 5.7.8 bad credentials", "454 4.7.0 later", "538 5.7.11 encrypt", "432 4.7.12 change it", "250 x"]
)
@scenario
async def test_a_refusal_is_never_the_clients_and_ends_the_attempt(answer: str) -> None:
    reason, said = await refusal([answer], "CRAM-MD5", "PLAIN")
    assert reason == answer
    assert len([line for line in said if line.startswith("AUTH")]) == 1


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ("535 5.7.8 bad credentials", replies.NOT_LET_IN),
        ("454 4.7.0 not now", replies.NOT_LET_IN_NOW),
        ("421 4.7.0 bye", replies.NOT_LET_IN_NOW),
        (Act.CLOSE, replies.NOT_LET_IN),
        (Act.RESET, replies.NOT_LET_IN),
    ],
)
@scenario
async def test_a_secret_that_was_refused_is_not_told_with_each_message(refused: Answer, told: Reply) -> None:
    """Accounts are locked for less. Some servers refuse without a word."""
    who = settings(REQUIRED, login=login("CRAM-MD5"))
    async with running_tls_destination() as destination, running_outbound(who) as outbound:
        destination.mechanisms = "CRAM-MD5"
        destination.auth = [refused]
        for _ in range(3):
            assert await ask(outbound, destination.port) == told
            outbound.directory.forget_unused()  # as it does every second
        assert len(destination.talks) == 1
        (pool,) = outbound.pools
        pool._locked_out_until = 0.0
        assert await ask(outbound, destination.port) == told
        assert len(destination.talks) == 2
        pool._locked_out_until = 0.0
        destination.auth = scripts()["CRAM-MD5"]  # type: ignore[assignment]
        assert (await ask(outbound, destination.port)).positive


@scenario
async def test_all_who_wait_for_a_connection_hear_at_once_that_we_are_not_let_in() -> None:
    who = settings(REQUIRED, login=login("CRAM-MD5"), connections=1)
    async with running_tls_destination() as destination, running_outbound(who) as outbound:
        destination.mechanisms = "CRAM-MD5"
        destination.auth = [Act.SILENCE]
        asking = [asyncio.create_task(ask(outbound, destination.port)) for _ in range(4)]
        await until(lambda: destination.silences and len(outbound.pools[0]._waiting) == 3, "the others to wait")
        destination.talks[0].act("535 5.7.8 bad credentials")
        async with asyncio.timeout(5):
            assert await asyncio.gather(*asking) == [replies.NOT_LET_IN] * 4
        assert len(destination.talks) == 1


@scenario
async def test_connections_that_were_let_in_are_still_waited_for() -> None:
    who = settings(REQUIRED, login=login("CRAM-MD5"), connections=2)
    async with running_tls_destination() as destination, running_outbound(who) as outbound:
        destination.mechanisms = "CRAM-MD5"
        destination.auth = scripts()["CRAM-MD5"]  # type: ignore[assignment]
        first, second = (outbound.open(outbound.to(destination.port)) for _ in range(2))
        await outbound.begin(first, recipients("a@one.test"))
        destination.auth = ["454 4.7.0 too many at once"]
        assert await second.rcpt(recipients("b@one.test")[0]) == replies.NOT_LET_IN_NOW
        second.abort()
        waiting = asyncio.create_task(ask(outbound, destination.port))
        await until(lambda: outbound.pools[0]._waiting, "the third to wait")
        assert texts(await first.finish(5)) == ["250 2.0.0 taken"]
        assert (await waiting).positive
        assert len(destination.talks) == 2


@scenario
async def test_nobody_waits_for_connections_that_others_keep_to_themselves() -> None:
    who = settings(REQUIRED, login=login("CRAM-MD5"), lease="session")
    async with running_tls_destination() as destination, running_outbound(who) as outbound:
        destination.mechanisms = "CRAM-MD5"
        destination.auth = scripts()["CRAM-MD5"]  # type: ignore[assignment]
        first = outbound.open(outbound.to(destination.port))
        await outbound.begin(first, recipients("a@one.test"))
        destination.auth = ["454 4.7.0 too many at once"]
        async with asyncio.timeout(5):
            for _ in range(2):
                assert await ask(outbound, destination.port) == replies.NOT_LET_IN_NOW
        assert texts(await first.finish(5)) == ["250 2.0.0 taken"]
        assert len(destination.talks) == 2


@pytest.mark.parametrize("answer", ["504 5.5.4 unknown", "534 5.7.9 too weak"])
@scenario
async def test_a_mechanism_that_is_too_weak_is_followed_by_the_next(answer: str) -> None:
    who = settings(REQUIRED, login=login())
    async with running_tls_destination() as destination, running_outbound(who) as outbound:
        destination.mechanisms = "PLAIN CRAM-MD5"
        plain = scripts()["PLAIN"][0]
        destination.auth = [lambda line: answer if "CRAM" in line else plain(line)]  # type: ignore[list-item, operator]
        assert (await ask(outbound, destination.port)).positive
        assert [line.split(" ")[1] for line in destination.commands("AUTH")] == ["CRAM-MD5", "PLAIN"]


@pytest.mark.parametrize(
    "repeated", [SECRET, encoded(SECRET), f"AUTH PLAIN {encoded(f'{chr(0)}{USER}{chr(0)}{SECRET}')}"]
)
@scenario
async def test_a_server_that_repeats_the_secret_is_not_quoted(repeated: str) -> None:
    reason, _ = await refusal([f"535 5.7.8 {repeated} is wrong"], "PLAIN")
    assert reason == "535 5.7.8"


@pytest.mark.parametrize(
    ("mechanism", "script", "reason"),
    [
        ("CRAM-MD5", ["334 !", "501 5.5.2 cancelled"], "not in base64"),
        ("CRAM-MD5", ["334 " + "A" * 484, "501 5.5.2 cancelled"], "too long"),
        ("CRAM-MD5", ["334 YQ==", "334 YQ==", "501 5.5.2 cancelled"], "CRAM-MD5"),
        ("PLAIN", ["334 YQ==", "501 5.5.2 cancelled"], "asks for more"),
        ("LOGIN", ["334 ", "334 ", "334 ", "501 5.5.2 cancelled"], "asks for more"),
        ("SCRAM-SHA-256", ["334 cj14", "501 5.5.2 cancelled"], "not one of SCRAM"),
    ],
)
@scenario
async def test_a_server_that_errs_is_told_that_we_give_up(mechanism: str, script: list[str], reason: str) -> None:
    why, said = await refusal(script, mechanism)
    assert reason in why
    assert "*" in said


@scenario
async def test_a_235_without_the_servers_proof_is_none() -> None:
    first = scripts()["SCRAM-SHA-256"][0]
    reason, _ = await refusal([first, YES], "SCRAM-SHA-256")
    assert "has not proved that it knows the secret" in reason
    reason, _ = await refusal([YES], "SCRAM-SHA-256")
    assert "has not proved that it knows the secret" in reason


@scenario
async def test_a_long_secret_waits_for_a_challenge() -> None:  # RFC 4954 §4: the AUTH command is a command line
    long = "s" * 1000
    who = settings(REQUIRED, login=login("PLAIN", secret=long))
    async with running_tls_destination() as destination, running_outbound(who) as outbound:
        destination.mechanisms = "PLAIN"
        destination.auth = ["334 ", lambda line: YES if decoded(line) == f"\0{USER}\0{long}" else "535 5.7.8 no"]
        assert (await ask(outbound, destination.port)).positive
        assert destination.commands("AUTH") == ["AUTH PLAIN"]


@pytest.mark.parametrize("answer", [Act.CLOSE, Act.RESET, "421 4.3.2 closing", "no reply at all"])
@pytest.mark.parametrize("at", [0, 1, 2])
@scenario
async def test_a_destination_that_goes_away_in_between_is_lost(at: int, answer: Answer) -> None:
    await refusal([*scripts()["LOGIN"][:at], answer], "LOGIN")


@scenario
async def test_a_silent_destination_is_given_up() -> None:
    who = settings(REQUIRED, login=login("PLAIN"))
    async with running_tls_destination() as destination, running_outbound(who, connect_total=0.3) as outbound:
        destination.mechanisms = "PLAIN"
        destination.auth = [Act.SILENCE]
        assert await ask(outbound, destination.port) == replies.DESTINATION_SILENT


@pytest.mark.parametrize("mechanism", ALL)
@scenario
async def test_whoever_listens_in_hears_no_secret(mechanism: str) -> None:
    who = settings(REQUIRED, login=login(mechanism))
    async with running_tls_destination() as destination, running_outbound(who) as outbound:
        outbound.ground.overhear = overheard("destination", "C")
        destination.mechanisms = mechanism
        destination.auth = scripts()[mechanism]  # type: ignore[assignment]
        with capture_logs() as told:
            assert (await ask(outbound, destination.port)).positive
        heard = [event.get("C") or event.get("S") or "" for event in told if event["event"] == "dialogue"]
        assert any(line.startswith(f"AUTH {mechanism}") for line in heard)
        said = [line.rpartition(" ")[2] for line in spoken(destination) if not line.startswith(("MAIL", "RCPT"))]
        secret_words = {word for word in said if word not in (mechanism, "", "QUIT", "RSET")}
        assert secret_words
        assert not [word for word in secret_words if word in str(told)]
        assert SECRET not in str(told)
