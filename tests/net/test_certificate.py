"""Certificates read, refused, and followed while their files change."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from moxy.errors import MoxyError
from moxy.net.certificate import Certificate, host_names, read_chain
from moxy.net.filestamp import RESTED_SECONDS
from support.certificates import authority, issue, key_pem


def aged(*paths: Path) -> None:
    """As if they had been written a while ago."""
    for path in paths:
        seconds = path.stat().st_mtime - 10 * RESTED_SECONDS
        os.utime(path, (seconds, seconds))


def test_a_certificate_has_the_names_that_stand_in_it(tmp_path: Path) -> None:
    chain, key = issue("mx.Example.org", "*.example.net").write(tmp_path, "a")
    certificate = Certificate("a", chain, key)
    assert certificate.names == ("mx.example.org", "*.example.net")
    assert 29 <= (certificate.expires - read_chain(chain)[0].not_valid_before_utc).days <= 31
    assert isinstance(certificate.context(), ssl.SSLContext)


def test_one_file_may_hold_both_and_a_key_may_be_rsa(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    issued = issue("mx.test", rsa_bits=2048)
    both.write_bytes(issued.key_pem + issued.pem)
    assert Certificate("a", both, both).names == ("mx.test",)


def test_a_certificate_without_names_is_for_nobody_in_particular() -> None:
    assert host_names(authority().certificate) == ()


def changed(chain: Path, old: bytes, new: bytes) -> bytes:
    """The certificate (DER) with other octets in the place of the `old` ones. Its signature is none any more."""
    der = ssl.PEM_cert_to_DER_cert(chain.read_text())
    assert der.count(old) == 1
    return der.replace(old, new)


def test_names_of_a_kind_that_nobody_knows_are_none(tmp_path: Path) -> None:
    chain, key = issue("a.test").write(tmp_path, "a")
    host_name, x400_address = b"\x82\x06a.test", b"\xa3\x06a.test"
    chain.write_text(ssl.DER_cert_to_PEM_cert(changed(chain, host_name, x400_address)))
    assert Certificate("a", chain, key).names == ()


def broken_chain(chain: Path, what: str) -> str:
    """A chain with something wrong; what is told of it, or "" where that is not the chain's."""
    if what == "no chain":
        chain.unlink()
        return "cannot be read: No such file or directory"
    if what == "not PEM":
        chain.write_bytes(b"hello")
    elif what == "half a certificate":
        chain.write_bytes(chain.read_bytes()[:200])
    elif what == "a version that there is none of":
        chain.write_text(ssl.DER_cert_to_PEM_cert(changed(chain, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x06")))
    elif what == "half of the next certificate":
        chain.write_bytes(chain.read_bytes() + authority().pem[:200])
        return "a certificate in it is not whole"
    else:
        return ""
    return "no certificate (PEM) in it"


def broken(directory: Path, what: str) -> str:
    """Files with something wrong; what is told of it."""
    chain, key = issue("a.test").write(directory, "a")
    if told := broken_chain(chain, what):
        return f"{chain}: {told}"
    if what == "no key":
        key.unlink()
        told = "cannot be read: No such file or directory"
    elif what == "half a key":
        key.write_bytes(key.read_bytes()[:100])
        told = "no private key (PEM) in it"
    elif what == "another key":
        key.write_bytes(issue("a.test").key_pem)
        told = f"it is not the key of the certificate in {chain}"
    elif what == "a key of another kind":
        key.write_bytes(issue("a.test", rsa_bits=2048).key_pem)
        told = f"it is not the key of the certificate in {chain}"
    elif what == "a passphrase":
        key.write_bytes(key_pem(issue("a.test").key, b"secret"))
        told = "a passphrase protects it, and there is nobody to ask"
    else:
        issue("a.test", rsa_bits=1024).write(directory, "a")
        told = "ee key too small"
    return f"{key}: {told}"


MISTAKES = [
    "no chain", "no key", "not PEM", "half a certificate", "half of the next certificate",
    "a version that there is none of", "half a key", "another key", "a key of another kind", "a passphrase",
    "a small key",
]  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_what_cannot_be_used_is_told_with_its_file(tmp_path: Path, what: str) -> None:
    told = broken(tmp_path, what)
    with pytest.raises(MoxyError) as caught:
        Certificate("a", tmp_path / "a.pem", tmp_path / "a.key")
    assert str(caught.value) == told


@pytest.mark.parametrize("content", [None, b"hello"])
def test_authorities_that_cannot_be_used_are_told_with_their_file(tmp_path: Path, content: bytes | None) -> None:
    chain, key = issue("a.test").write(tmp_path, "a")
    authorities = tmp_path / "ca.pem"
    if content is not None:
        authorities.write_bytes(content)
    with pytest.raises(MoxyError, match=f"^{authorities}: "):
        Certificate("a", chain, key, [authorities])


@pytest.mark.parametrize("what", MISTAKES)
def test_a_new_version_that_cannot_be_used_changes_nothing_and_is_told_once(tmp_path: Path, what: str) -> None:
    certificate = Certificate("a", *issue("old.test").write(tmp_path, "a"))
    context = certificate.context()
    told = broken(tmp_path, what)
    aged(*tmp_path.iterdir())
    with capture_logs() as events:
        for _ in range(3):
            certificate.refresh()
    assert [(event["event"], event["problem"]) for event in events] == [("certificate_kept", told)]
    assert certificate.context() is context
    assert certificate.names == ("old.test",)
    aged(*issue("new.test").write(tmp_path, "a"))
    with capture_logs() as events:
        for _ in range(3):
            certificate.refresh()
    assert [event["event"] for event in events] == ["certificate_loaded"]
    assert certificate.names == ("new.test",)


def test_files_in_the_writing_are_left_until_they_have_rested(tmp_path: Path) -> None:
    certificate = Certificate("a", *issue("old.test").write(tmp_path, "a"))
    new = issue("new.test")
    (tmp_path / "a.key").write_bytes(new.key_pem)
    with capture_logs() as events:
        certificate.refresh()
    assert events == []
    (tmp_path / "a.pem").write_bytes(new.pem)
    aged(*tmp_path.iterdir())
    certificate.refresh()
    assert certificate.names == ("new.test",)


def test_files_that_do_not_change_are_not_read_again(tmp_path: Path) -> None:
    certificate = Certificate("a", *issue("a.test").write(tmp_path, "a"))
    context = certificate.context()
    certificate.refresh()
    assert certificate.context() is context


def test_a_version_that_changes_while_it_is_read_is_not_used_but_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key = issue("old.test").write(tmp_path, "a")
    certificate = Certificate("a", chain, key)
    aged(*issue("half.test").write(tmp_path, "a"))
    read = certificate._read

    def read_and_change() -> object:
        version = read()
        os.utime(chain, (5, 5))
        monkeypatch.undo()
        return version

    monkeypatch.setattr(certificate, "_read", read_and_change)
    certificate.refresh()
    assert certificate.names == ("old.test",)
    certificate.refresh()
    assert certificate.names == ("half.test",)


def test_other_authorities_are_read_as_well(tmp_path: Path) -> None:
    chain, key = issue("a.test").write(tmp_path, "a")
    authorities = tmp_path / "ca.pem"
    authorities.write_bytes(authority().pem)
    certificate = Certificate("a", chain, key, [None, authorities])
    assert certificate.context(authorities).verify_mode == ssl.CERT_OPTIONAL
    assert certificate.context().verify_mode == ssl.CERT_NONE
    context = certificate.context(authorities)
    authorities.write_bytes(authority("Another Authority").pem)
    aged(chain, key, authorities)
    certificate.refresh()
    assert certificate.context(authorities) is not context
    (subject,) = certificate.context(authorities).get_ca_certs()
    assert subject["subject"] == ((("commonName", "Another Authority"),),)
