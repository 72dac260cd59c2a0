"""Moxy beside the host's own Postfix, as docs/beside-postfix.md sets it up: who can send where, and who cannot.

Postfix has two ports: one for mail from everybody, where nobody is trusted, one for mail of the clients that Moxy lets
send to anywhere. Clients are told apart by addresses of loopback.
"""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.moxy_commands import moxy
from support.moxy_process import Moxy, running_moxy
from support.ports import LOOPBACK, free_port
from support.postfix import PostfixDestination
from support.smtpsink import SmtpSink

pytestmark = pytest.mark.interop

GUIDE = Path(__file__).parents[2] / "docs" / "beside-postfix.md"

COLLEAGUE = "127.0.0.2"
STRANGER = "127.0.0.3"
SENDER = "sender@sender.test"
CONTENT = b"From: sender@sender.test\r\nSubject: beside Postfix\r\n\r\nHello.\r\n"

TWO_PORTS = """\
127.0.0.1:{port} inet n - n - - smtpd
  -o mynetworks=
  -o smtpd_relay_restrictions=reject_unauth_destination
  -o smtpd_client_event_limit_exceptions=127.0.0.1
127.0.0.1:{outgoing_port} inet n - n - - smtpd
  -o mynetworks=127.0.0.1
  -o smtpd_relay_restrictions=permit_mynetworks,reject
"""

ONE_PORT = """\
127.0.0.1:{port} inet n - n - - smtpd
"""

HIDDEN_ADDRESSES = (
    "victim%elsewhere.test@one.test",
    "elsewhere.test!victim@one.test",
    '"victim@elsewhere.test"@one.test',
)
"""Addresses of the host's own domain that Postfix unfolds to another, for those whom it trusts."""


class OwnPostfix(PostfixDestination):
    """The mail server of this host: it has the user ann of one.test, and sends mail for elsewhere to `world`.

    one.test is a local domain, the kind for which Postfix unfolds addresses; a virtual alias leads to the mailbox.
    """

    def __init__(self, directory: Path, world: SmtpSink, *, ports: str = TWO_PORTS) -> None:
        self.outgoing_port = free_port()
        self._world = world
        self._ports = ports
        super().__init__(directory, "mailboxes.test", ["ann"])

    def _prepare(self, settings: Mapping[str, str]) -> None:
        local = {
            "mydestination": "one.test",
            "local_recipient_maps": "inline:{ann=here}",
            "virtual_alias_maps": "inline:{ann@one.test=ann@mailboxes.test}",
            "relayhost": f"[{LOOPBACK}]:{self._world.port}",
        }
        super()._prepare({**settings, **local})
        main = self._configuration / "main.cf"
        main.write_text(re.sub(r"^(mydestination|local_recipient_maps) =\n", "", main.read_text(), flags=re.MULTILINE))
        master = self._configuration / "master.cf"
        _, others = master.read_text().split("\n", 1)
        master.write_text(self._ports.format(port=self.port, outgoing_port=self.outgoing_port) + others)


@dataclass(frozen=True)
class Host:
    """All that takes part: Moxy and Postfix on this host, another domain's server, and the rest of the world."""

    moxy: Moxy
    postfix: OwnPostfix
    other: SmtpSink
    world: SmtpSink


@contextmanager
def host(directory: Path) -> Iterator[Host]:
    with (
        SmtpSink(directory, keep=True) as other,
        SmtpSink(directory, keep=True) as world,
        OwnPostfix(directory, world) as postfix,
        running_moxy(
            directory,
            f"one.test localhost:{postfix.port}\ntwo.test {other.address}\n",
            f"allowRelayFrom {COLLEAGUE}\nsendRelayTo localhost:{postfix.outgoing_port}\n",
        ) as moxy,
    ):
        yield Host(moxy, postfix, other, world)


@contextmanager
def client(moxy: Moxy, address: str) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(LOOPBACK, moxy.port, "client.test", source_address=(address, 0)) as connection:
        yield connection


def refusal(client: smtplib.SMTP, recipient: str) -> tuple[int, bytes]:
    """The reply to RCPT in a transaction of its own, as (code, text)."""
    client.ehlo_or_helo_if_needed()
    client.rset()
    client.mail(SENDER)
    return client.rcpt(recipient)


def test_the_hosts_own_domain_is_postfixs_and_another_is_elsewhere(directory: Path) -> None:
    with host(directory) as there:
        with client(there.moxy, STRANGER) as stranger:
            assert stranger.sendmail(SENDER, ["ann@one.test", "bob@two.test"], CONTENT) == {}
            assert refusal(stranger, "nobody-here@one.test")[0] == 550
        assert b"Subject: beside Postfix" in there.postfix.wait_for_mail("ann")
        assert [message.forward_paths for message in there.other.messages()] == [["bob@two.test"]]


def test_a_stranger_can_relay_through_neither(directory: Path) -> None:
    with host(directory) as there:
        with client(there.moxy, STRANGER) as stranger:
            assert refusal(stranger, "victim@elsewhere.test") == (550, b"5.7.1 Relaying denied")
            for recipient in HIDDEN_ADDRESSES:
                code, text = refusal(stranger, recipient)
                assert code == 554, recipient
                assert text.endswith(b"Relay access denied")
        there.postfix.wait_for_empty_queue()
        assert there.world.count() == 0


def test_a_client_that_may_relay_reaches_everybody(directory: Path) -> None:
    with host(directory) as there:
        with client(there.moxy, COLLEAGUE) as colleague:
            assert colleague.sendmail(SENDER, ["friend@elsewhere.test", "ann@one.test"], CONTENT) == {}
        assert there.postfix.wait_for_mail("ann")
        there.postfix.wait_for_empty_queue()
        assert [message.forward_paths for message in there.world.messages()] == [["friend@elsewhere.test"]]


def test_a_postfix_that_trusts_loopback_on_its_only_port_relays_for_strangers(directory: Path) -> None:
    """Why there are two ports: what the guide warns of is so."""
    with (
        SmtpSink(directory, keep=True) as world,
        OwnPostfix(directory, world, ports=ONE_PORT) as postfix,
        running_moxy(directory, f"one.test localhost:{postfix.port}\n") as moxy,
    ):
        with client(moxy, STRANGER) as stranger:
            assert stranger.sendmail(SENDER, HIDDEN_ADDRESSES, CONTENT) == {}
        postfix.wait_for_empty_queue()
        (message,) = world.messages()
        assert set(message.forward_paths) == {"victim@elsewhere.test"}


def shown(start: str) -> str:
    """What the guide shows, indented, from the line that starts so to the next one that is not."""
    block = re.search(rf"^    {re.escape(start)}.*\n(?:    .*\n)*", GUIDE.read_text(), re.MULTILINE)
    assert block, start
    return re.sub("^    ", "", block[0], flags=re.MULTILINE)


def test_moxy_says_of_the_files_of_the_guide_what_stands_there(directory: Path) -> None:
    (directory / "moxy.conf").write_text(shown("port 25\n"))
    (directory / "moxy.db").write_text(shown("example.org  "))
    said = ""
    for line in shown("# moxy check").splitlines():
        if line.startswith("# moxy "):
            command, *words = line.removeprefix("# moxy ").split()
            done = moxy(command, "-c", str(directory / "moxy.conf"), *words)
            said += f"{line}\n{done.stdout.decode()}".replace(str(directory), "/etc/moxy")
    assert said == shown("# moxy check")
