"""Listeners with TLS in a Moxy of two workers: verdicts, tickets, new certificates, reloads, seen by real clients."""

from __future__ import annotations

import os
import signal
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from moxy.ledger import State
from support.certificates import authority, client_context, issue
from support.directories import UNPRIVILEGED, is_root, make_writable
from support.exim import EximClient
from support.moxy_process import Moxy, running
from support.place import in_file
from support.ports import LOOPBACK, free_port
from support.postfix import PostfixClient
from support.processes import require_program
from support.smtpsink import SmtpSink
from support.swaks import run_swaks

pytestmark = pytest.mark.interop

NAME = "mx.moxy.test"
SENDER = "sender@sender.test"
CONTENT = b"From: sender@sender.test\r\nSubject: encrypted\r\n\r\nHello.\r\n"
VERSIONS = ["tls1_2", "tls1_3"]

TEXT = """\
hostname = "mx.moxy.test"
{runas}workers = 2
[listener.mx]
listen = ["{loopback}:{port}"]
tls = "starttls"
client_ca = "authority.pem"
[listener.submissions]
listen = ["{loopback}:{implicit}"]
tls = "implicit"
[certificate.mx]
chain = "mx.pem"
key = "mx.key"
[certificate.other]
chain = "other.pem"
key = "other.key"
[routes.table]
kind = "file"
path = "moxy.db"
[ledger]
path = "ledger.db"
"""


@dataclass(frozen=True)
class Stage:
    """Moxy with TLS on two ports, before a sink for one.test."""

    moxy: Moxy
    sink: SmtpSink
    home: Path
    implicit: int

    def unproven(self) -> list[Any]:
        """Entries of messages whose sender may come again (D8)."""
        file = self.home / "ledger.db"
        return [entry for entry in in_file(file) if entry.state is not State.CONFIRMED] if file.exists() else []

    def only_encrypted(self) -> None:
        """Every message that came is one that came by TLS."""
        for message in self.sink.messages():
            assert b"with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)" in message.content


@contextmanager
def staged(directory: Path) -> Iterator[Stage]:
    home = directory / "moxy"
    home.mkdir()
    make_writable(home)
    for name, issued in {"mx": issue(NAME), "other": issue("other.test", rsa_bits=2048)}.items():
        for path in issued.write(home, name):
            make_writable(path)
    (home / "authority.pem").write_bytes(authority().pem)
    port, implicit = free_port(), free_port()
    runas = f'runas = "{UNPRIVILEGED}"\n' if is_root() else ""
    with SmtpSink(directory, keep=True) as sink:
        (home / "moxy.db").write_text(f"one.test {sink.address}\n")
        configuration = home / "moxy.toml"
        configuration.write_text(TEXT.format(runas=runas, loopback=LOOPBACK, port=port, implicit=implicit))
        with running(configuration, port) as moxy:
            yield Stage(moxy, sink, home, implicit)


@pytest.fixture
def stage(directory: Path) -> Iterator[Stage]:
    with staged(directory) as stage:
        yield stage


def test_postfix_encrypts_and_has_its_verdicts(stage: Stage, directory: Path) -> None:
    settings = {
        "smtp_tls_security_level": "verify",
        "smtp_tls_CAfile": str(stage.home / "authority.pem"),
        "smtp_tls_verify_cert_match": NAME,
        "smtp_tls_loglevel": "1",
    }
    with PostfixClient(directory, stage.moxy.port, "sender.test", settings) as postfix:
        for _ in range(5):
            message = postfix.take(SENDER, ["ann@one.test"], CONTENT)
            assert postfix.wait_for_verdicts(message, 1)["ann@one.test"][0] == "sent"
        assert "Verified TLS connection established to 127.0.0.1" in postfix.log()
    stage.only_encrypted()
    assert stage.sink.count() == 5
    stage.moxy.stop()
    assert stage.unproven() == [], "QUIT came with the dot, and no close_notify of ours was in the way of its close"


def test_exim_encrypts_and_has_its_verdicts(stage: Stage, directory: Path) -> None:
    transport = {"hosts_require_tls": "*", "tls_verify_hosts": "", "tls_try_verify_hosts": ""}
    exim = EximClient(directory, stage.moxy.port, "sender.test", transport=transport)
    for _ in range(3):
        message = exim.take(SENDER, ["ann@one.test"], CONTENT)
        exim.attempt(message)
        assert exim.verdicts()[message]["ann@one.test"][0] == "sent", exim.log()
    assert "X=TLS1.3" in exim.log()
    stage.only_encrypted()
    assert stage.sink.count() == 3
    stage.moxy.stop()
    assert stage.unproven() == []


def s_client(port: int, *options: str, said: bytes = b"QUIT\r\n") -> str:
    """What OpenSSL tells of a connection on which this is said."""
    done = subprocess.run(
        [require_program("openssl"), "s_client", "-connect", f"{LOOPBACK}:{port}", *options],
        input=said,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    return done.stdout.decode(errors="replace")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_worker_takes_the_tickets_of_the_others(stage: Stage, version: str) -> None:
    session = stage.home / f"session-{version}"
    options = ["-starttls", "smtp", f"-{version}", "-servername", NAME, "-ign_eof"]
    said = s_client(stage.moxy.port, *options, "-sess_out", str(session))
    assert "New, TLSv1." in said
    for _ in range(8):
        assert "Reused, TLSv1." in s_client(stage.moxy.port, *options, "-sess_in", str(session))


@pytest.mark.parametrize(
    ("name", "key"), [(NAME, "id-ecPublicKey"), ("other.test", "rsaEncryption"), ("x.test", "id-ec")]
)
def test_openssl_gets_the_certificate_that_it_asks_for(stage: Stage, name: str, key: str) -> None:
    said = s_client(stage.implicit, "-servername", name)
    assert f"a:PKEY: {key}" in said


def test_openssl_is_not_let_renegotiate(stage: Stage) -> None:
    said = s_client(stage.implicit, "-tls1_2", "-legacy_renegotiation", said=b"R\nNOOP\n")
    assert "no renegotiation" in said


def serial(port: int) -> int:
    """That of the certificate which a new client gets."""
    with smtplib.SMTP_SSL(LOOPBACK, port, context=unjudging()) as client:
        der = client.sock.getpeercert(binary_form=True)
    from cryptography import x509

    return x509.load_der_x509_certificate(der).serial_number


def unjudging() -> ssl.SSLContext:
    context = client_context()
    context.check_hostname = False
    return context


def replaced(home: Path, name: str) -> int:
    """Another certificate in the place of this one, as certbot does it; its serial number."""
    new = issue(NAME)
    for path in new.write(home, "new"):
        make_writable(path)
        path.replace(home / f"{name}{path.suffix}")
    return new.certificate.serial_number


def test_a_certificate_is_replaced_under_a_session_that_goes_on(stage: Stage) -> None:
    with smtplib.SMTP(LOOPBACK, stage.moxy.port, "client.test") as client:
        client.starttls(context=unjudging())
        new = replaced(stage.home, "mx")
        stage.moxy.wait_until(lambda: {serial(stage.implicit) for _ in range(6)} == {new}, "every worker to have it")
        assert client.sendmail(SENDER, ["ann@one.test"], CONTENT) == {}
    stage.only_encrypted()


def test_a_certificate_that_cannot_be_used_leaves_the_old_one_and_is_told_once(stage: Stage) -> None:
    before = serial(stage.implicit)
    (stage.home / "mx.key").write_bytes(issue(NAME).key_pem)
    stage.moxy.wait_until(lambda: stage.moxy.text().count("certificate_kept") == 2, "both workers to tell")
    assert {serial(stage.implicit) for _ in range(4)} == {before}
    (stage.home / "moxy.db").write_text(f"one.test {stage.sink.address}\n# changed\n")
    stage.moxy.wait_until(lambda: stage.moxy.text().count("table_loaded") >= 2, "both to have looked again")
    assert stage.moxy.text().count("certificate_kept") == 2


def test_a_reload_takes_other_certificates_and_one_with_mistakes_changes_nothing(stage: Stage) -> None:
    before = serial(stage.implicit)
    text = stage.moxy.configuration.read_text()
    stage.moxy.configuration.write_text(text.replace("mx.key", "nothing.key"))
    os.kill(stage.moxy.pid, signal.SIGHUP)
    stage.moxy.wait_until(lambda: "nothing.key: cannot be read" in stage.moxy.text(), "the reload to be refused")
    assert serial(stage.implicit) == before
    new = issue(NAME)
    for path in new.write(stage.home, "third"):
        make_writable(path)
    stage.moxy.configuration.write_text(text.replace("mx.key", "third.key").replace("mx.pem", "third.pem"))
    os.kill(stage.moxy.pid, signal.SIGHUP)
    stage.moxy.wait_until(lambda: serial(stage.implicit) == new.certificate.serial_number, "the new certificate")


@pytest.mark.parametrize("version", ["tlsv1_2", "tlsv1_3"])
@pytest.mark.parametrize("way", ["--tls", "--tls-on-connect"])
def test_swaks_encrypts(stage: Stage, way: str, version: str) -> None:
    port = stage.implicit if way == "--tls-on-connect" else stage.moxy.port
    verify = ["--tls-verify", "--tls-ca-path", str(stage.home / "authority.pem"), "--tls-sni", NAME]
    dialogue = run_swaks(port, "--to", "ann@one.test", "--from", SENDER, way, "--tls-protocol", version, *verify)
    assert f"TLS started with cipher {version.replace('tlsv1_', 'TLSv1.')}" in dialogue
    assert stage.sink.count() == 1


def test_swaks_with_a_certificate_of_its_own(stage: Stage) -> None:
    chain, key = issue("client.test").write(stage.home, "client")
    mine = ["--tls", "--tls-cert", str(chain), "--tls-key", str(key)]
    assert "TLS local DN" in run_swaks(stage.moxy.port, "--to", "ann@one.test", "--from", SENDER, *mine)
