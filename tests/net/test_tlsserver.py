"""Which certificate a client gets, what it may speak, and how it comes back: handshakes in memory."""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path

import pytest

from moxy.errors import MoxyError
from moxy.net.certificate import Certificate
from moxy.net.tlsserver import ServerTls
from support.certificates import authority, client_context, issue, server_tls

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
versions = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


def certificate(directory: Path, name: str, *names: str, **how: int) -> Certificate:
    return Certificate(name, *issue(*names, **how).write(directory, name))


def shake_hands(
    tls: ServerTls, name: str | None, context: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a connection. Raises ssl.SSLError where one refuses."""
    context = context or client_context()
    if name is None:
        context.check_hostname = False
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    server = tls.context.wrap_bio(to_server, to_client, server_side=True)
    for end in [client, server] * 4:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        client.read(1)  # takes tickets, if there are any
    return client, server


def names_of(client: ssl.SSLObject) -> list[str]:
    return [name for _, name in client.getpeercert()["subjectAltName"]]


@versions
@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("mx.one.test", "one"),
        ("MX.One.Test", "one"),
        ("mx.two.test", "two"),
        ("a.wild.test", "wild"),
        ("exact.wild.test", "exact"),
        ("a.b.wild.test", "one"),
        ("wild.test", "one"),
        ("unknown.test", "one"),
        ("also.one.test", "one"),
        (None, "one"),
    ],
)
def test_a_client_gets_the_certificate_for_the_name_that_it_asks_for(tmp_path, version, asked, given) -> None:
    certificates = [
        certificate(tmp_path, "one", "mx.one.test", "also.one.test"),
        certificate(tmp_path, "two", "mx.two.test", rsa_bits=2048),
        certificate(tmp_path, "wild", "*.wild.test"),
        certificate(tmp_path, "exact", "exact.wild.test"),
    ]
    context = client_context()
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    client, server = shake_hands(ServerTls(certificates), asked, context)
    assert names_of(client) == list(next(one.names for one in certificates if one.name == given))
    assert client.version() == server.version() == version.name.replace("_", ".")


def test_a_name_may_end_with_a_dot(tmp_path) -> None:
    tls = ServerTls([certificate(tmp_path, "a", "a.test"), certificate(tmp_path, "b", "b.test")])
    assert tls.certificate_for("b.test.").name == "b"


@versions
@pytest.mark.parametrize("name", ["b.test", None])
def test_a_session_is_resumed_even_after_the_certificate_was_changed(tmp_path, version, name) -> None:
    tls = ServerTls([certificate(tmp_path, "a", "a.test"), certificate(tmp_path, "b", "b.test")])
    context = client_context()
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    first, _ = shake_hands(tls, name, context)
    assert not first.session_reused
    again, server = shake_hands(tls, name, context, first.session)
    assert again.session_reused
    assert server.session_reused
    for letter in "ab":
        for path in issue(f"{letter}.test").write(tmp_path, letter):
            os.utime(path, (5, 5))
    tls.refresh()
    changed, _ = shake_hands(tls, name, context, first.session)
    assert changed.session_reused


def test_a_changed_certificate_is_for_who_comes_next(tmp_path) -> None:
    tls = ServerTls([certificate(tmp_path, "a", "a.test"), certificate(tmp_path, "b", "b.test")])
    for path in issue("new.test").write(tmp_path, "b"):
        os.utime(path, (5, 5))
    tls.refresh()
    client, _ = shake_hands(tls, "new.test")
    assert names_of(client) == ["new.test"]
    assert tls.certificate_for("b.test").name == "a"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_are_refused(tmp_path, version) -> None:
    context = client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError):
        shake_hands(server_tls(tmp_path, "a.test"), "a.test", context)


@pytest.mark.parametrize("ciphers", ["AES256-GCM-SHA384", "ECDHE+SHA1", "aNULL", "NULL"])
def test_what_has_no_forward_secrecy_or_is_of_yesterday_is_refused(tmp_path, ciphers) -> None:
    context = client_context()
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = ServerTls([certificate(tmp_path, "a", "a.test", rsa_bits=2048)])
    with pytest.raises(ssl.SSLError):
        shake_hands(tls, "a.test", context)


@versions
def test_the_certificate_of_a_client_outlives_a_resumption(tmp_path, version) -> None:
    tls = server_tls(tmp_path, "a.test", asks=True)
    context = client_context(issue("client.test"), tmp_path)
    context.minimum_version = context.maximum_version = version
    first, server = shake_hands(tls, "a.test", context)
    shown = server.getpeercert(binary_form=True)
    assert shown
    again, server = shake_hands(tls, "a.test", context, first.session)
    assert again.session_reused
    assert server.getpeercert(binary_form=True) == shown


def test_no_client_is_asked_unless_there_are_authorities(tmp_path) -> None:
    context = client_context(issue("client.test"), tmp_path)
    _, server = shake_hands(server_tls(tmp_path, "a.test"), "a.test", context)
    assert server.getpeercert(binary_form=True) is None


def test_authorities_that_are_gone_are_an_error(tmp_path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_bytes(authority().pem)
    chain, key = issue("a.test").write(tmp_path, "a")
    known = Certificate("a", chain, key, [authorities])
    authorities.unlink()
    with pytest.raises(MoxyError, match=r"ca\.pem"):
        ServerTls([known], authorities)
