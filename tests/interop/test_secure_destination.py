"""Real servers as destinations that want TLS, and to know who we are: Postfix, Dovecot, Exim."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.certificates import authority, issue
from support.dovecot import PASSWORD, Dovecot
from support.exim import EximDestination
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.ports import LOOPBACK
from support.postfix import PostfixDestination

pytestmark = pytest.mark.interop

SENDER, ANN, LOGIN = "sender@sender.test", "ann@one.test", "moxy@login.test"
CONTENT = b"From: sender@sender.test\r\nSubject: secure\r\n\r\nHello.\r\n"
NAME = "destination.test"
VERIFIED = f'tls = "verified"\ntls_ca = "authority.pem"\ntls_name = "{NAME}"\n'


def certificates(directory: Path) -> dict[str, str]:
    """Postfix's settings with a certificate for NAME; the authority and a certificate of ours lie beside."""
    (directory / "authority.pem").write_bytes(authority("Test Authority").pem)
    (directory / "stranger.pem").write_bytes(authority("Another Authority").pem)
    chain, key = issue(NAME, by="Test Authority").write(directory, "server")
    _, own_key = issue("mx.moxy.test", by="Test Authority").write(directory, "own")
    own_key.chmod(0o644)  # for who Moxy becomes
    return {"smtpd_tls_cert_file": str(chain), "smtpd_tls_key_file": str(key), "smtpd_tls_received_header": "yes"}


@contextmanager
def moxy_before(
    directory: Path, host: str, keys: str, rest: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Moxy]:
    section = f'[destination.secure]\nhosts = ["{host}"]\n{keys}{rest}'
    with running(*written(directory, "one.test secure\n", section), environment) as moxy:
        yield moxy


def send(moxy: Moxy) -> None:
    with smtplib.SMTP(LOOPBACK, moxy.port, "client.test") as client:
        assert client.sendmail(SENDER, [ANN], CONTENT) == {}


def refusal(moxy: Moxy) -> str:
    with smtplib.SMTP(LOOPBACK, moxy.port, "client.test") as client, pytest.raises(smtplib.SMTPRecipientsRefused) as no:
        client.sendmail(SENDER, [ANN], CONTENT)
    code, text = no.value.recipients[ANN]
    return f"{code} {text.decode()}"


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit"])
def test_a_postfix_that_requires_tls_is_verified(directory: Path, implicit: bool) -> None:
    settings = {**certificates(directory), "smtpd_tls_security_level": "encrypt"}
    keys = VERIFIED
    if implicit:
        settings["smtpd_tls_wrappermode"] = "yes"
        keys += "tls_implicit = true\n"
    with PostfixDestination(directory, "one.test", ["ann"], settings, greets=not implicit) as postfix:
        host = f"{LOOPBACK}:{postfix.port}"
        with moxy_before(directory, host, keys) as moxy:
            send(moxy)
            assert b"(using TLSv1.3 with cipher " in postfix.wait_for_mail("ann")
        with moxy_before(directory, host, keys.replace("authority.pem", "stranger.pem")) as moxy:
            assert refusal(moxy).startswith("451 4.7.5 ")
            assert "certificate verify failed" in moxy.text()
        with moxy_before(directory, host, keys.replace(NAME, "another.test")) as moxy:
            assert refusal(moxy).startswith("451 4.7.5 ")
            assert "Hostname mismatch" in moxy.text()
        assert len(postfix.delivered("ann")) == 1


def test_a_postfix_without_tls_gets_nothing_where_it_is_required(directory: Path) -> None:
    certificates(directory)
    with (
        PostfixDestination(directory, "one.test", ["ann"]) as postfix,
        moxy_before(directory, f"{LOOPBACK}:{postfix.port}", 'tls = "required"\n') as moxy,
    ):
        assert refusal(moxy).startswith("451 4.7.4 ")
        assert "tls_not_offered" in moxy.text()
        assert not postfix.delivered("ann")


def test_a_postfix_that_wants_our_certificate_gets_it(directory: Path) -> None:
    settings = {
        **certificates(directory),
        "smtpd_tls_security_level": "encrypt",
        "smtpd_tls_CAfile": str(directory / "authority.pem"),
        "smtpd_tls_ask_ccert": "yes",
        "smtpd_tls_req_ccert": "yes",
    }
    ours = '[certificate.own]\nchain = "own.pem"\nkey = "own.key"\n'
    with PostfixDestination(directory, "one.test", ["ann"], settings) as postfix:
        host = f"{LOOPBACK}:{postfix.port}"
        with moxy_before(directory, host, VERIFIED + 'tls_certificate = "own"\n', ours) as moxy:
            send(moxy)
            assert b'(Client CN "mx.moxy.test"' in postfix.wait_for_mail("ann")
        with moxy_before(directory, host, VERIFIED) as moxy:
            assert refusal(moxy).startswith("451 ")
            assert "No client certificate presented" in moxy.text()


def test_dovecot_speaks_lmtp_with_starttls(directory: Path) -> None:
    certificates(directory)
    sections = f"ssl_cert = <{directory}/server.pem\nssl_key = <{directory}/server.key\n"
    with (
        Dovecot(directory, {ANN: True}, ssl="yes", sections=sections) as dovecot,
        moxy_before(directory, dovecot.address, f'{VERIFIED}protocol = "lmtp"\n') as moxy,
    ):
        send(moxy)
        (stored,) = dovecot.delivered(ANN)
        assert b"with LMTPS" in stored


MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_postfix_with_dovecots_passwords_lets_us_in_by_each_mechanism(directory: Path, mechanism: str) -> None:
    with Dovecot(directory, {LOGIN: True}) as dovecot:
        settings = {
            **certificates(directory),
            "smtpd_tls_security_level": "encrypt",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": str(dovecot.auth_socket),
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_authenticated_header": "yes",
            "smtpd_sasl_mechanism_filter": mechanism.lower(),
            "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
        }
        secret = directory / "secret"
        secret.write_text(PASSWORD + "\n")
        keys = f'{VERIFIED}auth_user = "{LOGIN}"\nauth_secret = "file:{secret}"\n'
        with PostfixDestination(directory, "one.test", ["ann"], settings) as postfix:
            host = f"{LOOPBACK}:{postfix.port}"
            with moxy_before(directory, host, keys, '[operator_log]\nlevel = "debug"\n') as moxy:
                send(moxy)
                assert f"(Authenticated sender: {LOGIN})".encode() in postfix.wait_for_mail("ann")
                assert f"AUTH {mechanism}" in moxy.text()
                assert PASSWORD not in moxy.text()
            secret.write_text("wrong\n")
            with moxy_before(directory, host, keys) as moxy:
                assert refusal(moxy).startswith("451 4.7.0 ")
                assert "not_let_in" in moxy.text()
                assert "535" in moxy.text() or "proof" in moxy.text()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_exim_lets_us_in_by_each_mechanism_that_debians_has(directory: Path, mechanism: str) -> None:
    certificates(directory)
    settings = {
        "tls_advertise_hosts": "*",
        "tls_certificate": f"{directory}/server.pem",
        "tls_privatekey": f"{directory}/server.key",
    }
    (directory / "server.key").chmod(0o644)  # for its user
    keys = (
        f'tls = "required"\nauth_user = "moxy"\nauth_secret = "env:MOXY_TEST_SECRET"\n'
        f'auth_mechanisms = ["{mechanism}"]\n'
    )
    login = ("moxy", "hunter2")
    with EximDestination(directory, "one.test", ["ann"], settings=settings, login=login) as exim:
        with moxy_before(directory, exim.address, keys, environment={"MOXY_TEST_SECRET": "hunter2"}) as moxy:
            send(moxy)
            exim.wait_for_mail("ann")
            assert f"A={'cram' if mechanism == 'CRAM-MD5' else mechanism.lower()}:moxy" in exim.log()
            assert "X=TLS1.3" in exim.log()
        with moxy_before(directory, exim.address, keys, environment={"MOXY_TEST_SECRET": "wrong"}) as moxy:
            assert refusal(moxy).startswith("451 4.7.0 ")
            assert "535" in moxy.text()
