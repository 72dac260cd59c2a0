"""Certificates as `moxy check` judges them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moxy.cli.check import check
from support.certificates import Issued, authority, issue

TEXT = """\
hostname = "mx.test"
[listener.mx]
tls = "starttls"
client_ca = "ca.pem"
[certificate.mx]
chain = "mx.pem"
key = "mx.key"
"""


def judged(directory: Path, text: str = TEXT) -> Result:
    (directory / "moxy.toml").write_text(text)
    return CliRunner().invoke(check, ["-c", str(directory / "moxy.toml")])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    issue("mx.test", "*.mx.test").write(tmp_path, "mx")
    (tmp_path / "mx.key").chmod(0o600)
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    return tmp_path


def test_a_good_certificate_is_summed_up(files: Path) -> None:
    result = judged(files)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "  listener mx: 0.0.0.0:25, [::]:25, STARTTLS" in lines
    (line,) = [line for line in lines if line.startswith("  certificate")]
    assert line.startswith("  certificate mx: mx.test, *.mx.test; until 20")


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("mx.pem", "6: certificate.mx.chain"),
        ("mx.key", "7: certificate.mx.key"),
        ("ca.pem", "4: listener.mx.client_ca"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_key_and_line(files: Path, file: str, place: str) -> None:
    (files / file).write_text("hello")
    result = judged(files)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{files}/moxy.toml:{place}: {files}/{file}: no ")


def test_another_key_is_told_at_the_key(files: Path) -> None:
    (files / "mx.key").write_bytes(issue("mx.test").key_pem)
    told = f"{files}/mx.key: it is not the key of the certificate in {files}/mx.pem"
    assert judged(files).stderr == f"{files}/moxy.toml:7: certificate.mx.key: {told}\n"


def test_a_certificate_that_no_listener_has_is_judged_too(files: Path) -> None:
    (files / "mx.pem").unlink()
    result = judged(files, TEXT.replace('tls = "starttls"', 'tls = "none"').replace('client_ca = "ca.pem"\n', ""))
    assert "moxy.toml:5: certificate.mx.chain: " in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_told_what_the_user_that_moxy_becomes_may_not_read(directory: Path) -> None:
    issue("mx.test").write(directory, "mx")
    (directory / "ca.pem").write_bytes(authority().pem)
    (directory / "mx.key").chmod(0o600)
    text = f'runas = "nobody"\n{TEXT}'
    told = f"moxy.toml:8: certificate.mx.key: {directory}/mx.key: nobody may not read it, and must"
    assert told in judged(directory, text).stderr
    os.chown(directory / "mx.key", 65534, 65534)
    assert judged(directory, text).stderr == ""


def notes(directory: Path, issued: Issued) -> list[str]:
    issued.write(directory, "mx")
    (directory / "mx.key").chmod(0o600)
    result = judged(directory)
    assert result.exit_code == 0, result.stderr
    return [line.removeprefix("note: ") for line in result.stdout.splitlines() if "note: certificate" in line]


@pytest.mark.parametrize(
    ("days", "told"),
    [(30, []), (15, []), (13, ["certificate mx: it expires soon, on "]), (-2, ["certificate mx: it has expired on "])],
)
def test_what_ends_soon_or_has_ended_is_told(files: Path, days: int, told: list[str]) -> None:
    found = notes(files, issue("mx.test", days=days))
    assert [note[: len(told[0])] if told else note for note in found] == told


def test_a_chain_in_the_wrong_order_is_told(files: Path) -> None:
    mine = issue("mx.test")
    mine.write(files, "mx")
    (files / "mx.pem").write_bytes(mine.pem + authority("Another Authority").pem)
    assert "is not that of its issuer" in judged(files).stdout
    (files / "mx.pem").write_bytes(mine.pem + authority().pem)
    assert "is not that of its issuer" not in judged(files).stdout


def test_a_key_that_everybody_can_read_is_told(files: Path) -> None:
    (files / "mx.key").chmod(0o644)
    assert "note: certificate mx: every user of this machine can read its key" in judged(files).stdout


def test_a_certificate_without_a_host_name_is_told(files: Path) -> None:
    assert notes(files, authority()) == [
        "certificate mx: no host name stands in it (SAN), so it is for nobody who asks for one"
    ]
