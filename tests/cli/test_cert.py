"""`moxy cert`: what it makes serves, nobody else can read the key, and nothing is overwritten."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from moxy.cli.cert import cert, host_name
from moxy.config.load import load
from moxy.errors import MoxyError
from moxy.net.certificate import Certificate
from moxy.net.hostname import own_hostname
from moxy.process.certificates import listeners_tls


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cert, [str(argument) for argument in arguments])


def test_what_it_prints_is_a_configuration_that_serves_with_what_it_made(tmp_path: Path) -> None:
    result = run("mx.example.org", "*.example.net", "-o", tmp_path / "mx")
    assert result.exit_code == 0, result.output
    first, _, text = result.stdout.partition("\n\n")
    assert first.startswith(f"{tmp_path}/mx.pem, {tmp_path}/mx.key: for mx.example.org, *.example.net, until ")
    (tmp_path / "moxy.toml").write_text(text)
    tls = listeners_tls(load(tmp_path / "moxy.toml"))["mx"]
    assert tls.certificate_for("a.example.net").names == ("mx.example.org", "*.example.net")


def test_it_is_a_sane_certificate(tmp_path: Path) -> None:
    assert run("mx.example.org", "-o", tmp_path / "mx").exit_code == 0
    certificate = x509.load_pem_x509_certificate((tmp_path / "mx.pem").read_bytes())
    assert certificate.public_key().curve.name == "secp256r1"
    assert certificate.version is x509.Version.v3
    assert certificate.not_valid_before_utc < datetime.now(UTC)
    assert (certificate.not_valid_after_utc - datetime.now(UTC)).days in (396, 397)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_nobody_else_can_read_the_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert run("mx.example.org", "-o", tmp_path / "mx").exit_code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "mx.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "mx.pem").stat().st_mode) == 0o644


@pytest.mark.parametrize("there", ["mx.pem", "mx.key"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    result = run("mx.example.org", "-o", tmp_path / "mx")
    assert isinstance(result.exception, MoxyError)
    assert str(result.exception) == f"{tmp_path}/{there}: is there already; nothing was written"
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mx.key").symlink_to(tmp_path / "elsewhere")
    assert isinstance(run("mx.example.org", "-o", tmp_path / "mx").exception, MoxyError)
    assert not (tmp_path / "elsewhere").exists()


def test_where_nothing_can_be_written_that_is_told(tmp_path: Path) -> None:
    result = run("mx.example.org", "-o", tmp_path / "nowhere" / "mx")
    assert str(result.exception) == f"{tmp_path}/nowhere/mx.key: cannot be written: No such file or directory"


def test_without_a_name_it_is_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run().exit_code == 0
    name = own_hostname()
    assert Certificate("", Path(f"{name}.pem"), Path(f"{name}.key")).names == (name.lower(),)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_may_give_it_to_who_needs_it(tmp_path: Path) -> None:
    assert run("mx.example.org", "-o", tmp_path / "mx", "--owner", "nobody").exit_code == 0
    assert {(tmp_path / f"mx.{kind}").owner() for kind in ("key", "pem")} == {"nobody"}


@pytest.mark.parametrize(
    ("text", "name"),
    [("MX.Example.org", "mx.example.org"), ("bücher.example", "xn--bcher-kva.example"), ("*.A.b", "*.a.b")],
)
def test_a_name_is_written_as_certificates_have_it(text: str, name: str) -> None:
    assert host_name(text) == name


@pytest.mark.parametrize("text", ["", "a..b", "[192.0.2.1]", "*", "a b", "a.*.b", "../x"])
def test_what_is_no_host_name_is_a_mistake(text: str) -> None:
    assert run(text).exit_code == 2


def test_a_wrong_owner_is_told_as_the_option_that_it_is(tmp_path: Path) -> None:
    result = run("mx.example.org", "-o", tmp_path / "mx", "--owner", "no-such-user")
    assert result.exit_code == 2
    assert "'--owner': there is no user `no-such-user`" in result.stderr
    assert "runas" not in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_told_that_moxy_must_be_able_to_read_the_key(tmp_path: Path) -> None:
    told = f"Moxy's user must be able to read the key: `chown USER {tmp_path}/mx.key` (or `--owner USER`)."
    assert run("mx.example.org", "-o", tmp_path / "mx").stderr == f"{told}\n"
    assert run("mx.example.org", "-o", tmp_path / "nx", "--owner", "nobody").stderr == ""
