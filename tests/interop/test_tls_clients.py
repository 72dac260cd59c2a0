"""TLS on our listeners with real clients, which verify our certificate: STARTTLS and from the first octet."""

from __future__ import annotations

import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.certificates import AUTHORITY, authority, issue
from support.destination import Destination
from support.directories import make_writable
from support.exchange import Message
from support.exim import BESIDE, EximClient
from support.features import TLS_CLIENTS, VERIFYING
from support.moxy_commands import written
from support.moxy_process import HOST_NAME, Moxy, running
from support.msmtp import run_msmtp
from support.opensmtpd import OpenSmtpdClient, require_opensmtpd
from support.ports import LOOPBACK, free_port
from support.postfix import PostfixClient
from support.processes import PATIENCE, require_program
from support.scripted import scripted_destinations
from support.senders import SENDER_DOMAIN, stuffed
from support.swaks import run_swaks

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
ANN = "ann@one.test"
CONTENT = Message(b"Hello.\r\n.\r\n").content
OTHERS = "Another Authority"


@dataclass(frozen=True)
class Stage:
    """A Moxy with TLS, and who may be believed to sign for it."""

    directory: Path
    port: int
    implicit: bool
    trusted: Path
    moxy: Moxy
    destination: Destination

    def sent(self) -> str:
        """The trace field of the one message that came through; "" where there is none."""
        kept = self.destination.messages
        return kept[0].content.partition(b";")[0].decode() if kept else ""


@contextmanager
def stage(directory: Path, *, implicit: bool, trusted: str = AUTHORITY) -> Iterator[Stage]:
    home = directory / "certificates"
    home.mkdir()
    chain, key = issue(HOST_NAME, "localhost").write(home, "mx")
    make_writable(key)
    root = home / "root.pem"
    root.write_bytes(authority(trusted).pem)
    port = free_port()
    sections = f'[certificate.mx]\nchain = "{chain}"\nkey = "{key}"\n'
    sections += f'[listener.tls]\nlisten = ["{LOOPBACK}:{port}"]\ntls = "{"implicit" if implicit else "starttls"}"\n'
    with (
        scripted_destinations(1) as (one,),
        running(*written(directory, f"one.test {one.address}\n", sections)) as moxy,
    ):
        yield Stage(directory, port, implicit, root, moxy, one)


def by_postfix(there: Stage) -> bool:
    settings = {
        "smtp_tls_security_level": "secure",
        "smtp_tls_secure_cert_match": HOST_NAME,
        "smtp_tls_servername": HOST_NAME,
        "smtp_tls_CAfile": str(there.trusted),
        "smtp_tls_loglevel": "1",
        "smtp_tls_wrappermode": "yes" if there.implicit else "no",
    }
    with PostfixClient(there.directory, there.port, SENDER_DOMAIN, settings) as postfix:
        (status, line) = postfix.wait_for_verdicts(postfix.take(SENDER, [ANN], CONTENT), 1)[ANN]
        assert (status == "sent") is ("Verified TLS connection established" in postfix.log()), line
        return status == "sent"


def by_exim(there: Stage) -> bool:
    transport = {
        "hosts_require_tls": "*",
        "tls_verify_hosts": "*",
        "tls_verify_cert_hostnames": "",  # the name is the address that it connects to
        "tls_verify_certificates": str(there.trusted),
        "tls_sni": HOST_NAME,
        "protocol": "smtps" if there.implicit else "smtp",
    }
    exim = EximClient(there.directory, there.port, SENDER_DOMAIN, transport=transport)
    message = exim.take(SENDER, [ANN], stuffed(CONTENT))
    exim.attempt(message)
    (status, line) = exim.verdicts()[message][ANN]
    assert (status == "sent") is ("CV=yes" in line), line
    return status == "sent"


def by_opensmtpd(there: Stage) -> bool:
    url = f"{'smtps' if there.implicit else 'smtp+tls'}://{LOOPBACK}:{there.port}"
    with OpenSmtpdClient(there.directory, url, SENDER_DOMAIN, relay_options="tls no-verify") as opensmtpd:
        (status, line) = opensmtpd.wait_for_verdicts(opensmtpd.take(SENDER, [ANN], CONTENT), 1)[ANN]
        assert "mta tls ciphers=TLSv1." in opensmtpd.log(), line
        return status == "sent"


def by_smtp(there: Stage) -> bool:
    require_opensmtpd()
    program = str(BESIDE / "opensmtpd" / "usr" / "bin" / "smtp")
    url = f"{'smtps' if there.implicit else 'smtp+tls'}://localhost:{there.port}"
    done = subprocess.run(
        [program, "-C", "-v", "-s", url, "-F", SENDER, "-H", "client.test", ANN],
        input=CONTENT.replace(b"\r\n", b"\n"),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode == 0


def by_smtplib(there: Stage) -> bool:
    context = ssl.create_default_context(cafile=str(there.trusted))
    try:
        if there.implicit:
            client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", there.port, "client.test", context=context)
        else:
            client = smtplib.SMTP("localhost", there.port, "client.test")
        with client:
            if not there.implicit:
                client.starttls(context=context)
            client.sendmail(SENDER, [ANN], CONTENT)
    except ssl.SSLCertVerificationError:
        return False
    return True


def by_swaks(there: Stage) -> bool:
    options = ["--tls-on-connect" if there.implicit else "--tls", "--tls-verify", "--tls-ca-path", str(there.trusted)]
    options += ["--tls-sni", HOST_NAME, "--from", SENDER, "--to", ANN]
    try:
        dialogue = run_swaks(there.port, *options)
    except AssertionError:  # its exit status
        return False
    assert "TLS started with cipher TLSv1." in dialogue
    return True


def by_msmtp(there: Stage) -> bool:
    options = ["--tls=on", f"--tls-starttls={'off' if there.implicit else 'on'}", f"--tls-trust-file={there.trusted}"]
    return run_msmtp(there.port, SENDER, [ANN], CONTENT, *options, f"--tls-host-override={HOST_NAME}").status == 0


def by_openssl(there: Stage) -> bool:
    options = ["-connect", f"{LOOPBACK}:{there.port}", "-servername", HOST_NAME, "-verify_hostname", HOST_NAME]
    options += ["-CAfile", str(there.trusted), "-verify_return_error", "-quiet", "-crlf"]
    options += [] if there.implicit else ["-starttls", "smtp", "-name", "client.test"]
    # Not RCPT: at a line that begins with R s_client asks for a renegotiation.
    commands = ["EHLO client.test", f"MAIL FROM:<{SENDER}>", f"rcpt TO:<{ANN}>", "DATA"]
    commands += ["Subject: x", "", "x", ".", "QUIT"]
    done = subprocess.run(
        [require_program("openssl"), "s_client", *options],
        input="".join(f"{line}\n" for line in commands).encode(),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode == 0


CLIENTS: dict[str, Callable[[Stage], bool]] = {
    "Postfix": by_postfix,
    "Exim": by_exim,
    "OpenSMTPD": by_opensmtpd,
    "OpenSMTPD's smtp": by_smtp,
    "smtplib": by_smtplib,
    "swaks": by_swaks,
    "msmtp": by_msmtp,
    "openssl": by_openssl,
}
"""Each sends one message, verifying our certificate if it can, and tells whether it believes to have done so."""

how = pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit"])


@how
@pytest.mark.parametrize("client", [*TLS_CLIENTS, "openssl"])
def test_a_client_sends_over_tls(directory: Path, client: str, implicit: bool) -> None:
    with stage(directory, implicit=implicit) as there:
        assert CLIENTS[client](there)
        assert "with ESMTPS (TLSv1." in there.sent()


@how
@pytest.mark.parametrize("client", [*VERIFYING, "openssl"])
def test_a_client_that_trusts_others_sends_nothing(directory: Path, client: str, implicit: bool) -> None:
    with stage(directory, implicit=implicit, trusted=OTHERS) as there:
        assert not CLIENTS[client](there)
        assert there.sent() == ""
