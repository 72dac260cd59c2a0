"""What the keys about destinations name, as `moxy check` judges it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from moxy.cli.check import check
from support.certificates import authority

TEXT = """\
hostname = "mx.test"
runas = "nobody"
[delivery]
tls = "verified"
tls_ca = "ca.pem"
[destination.beta]
hosts = ["b"]
auth_user = "moxy"
auth_secret = "file:DIRECTORY/secret"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_told_what_the_user_that_moxy_becomes_may_not_read(directory: Path) -> None:
    (directory / "ca.pem").write_bytes(authority().pem)
    (directory / "secret").write_text("hunter2\n")
    for name in ("ca.pem", "secret"):
        (directory / name).chmod(0o600)
    config = directory / "moxy.toml"
    config.write_text(TEXT.replace("DIRECTORY", str(directory)))
    result = CliRunner().invoke(check, ["-c", str(config)])
    ca, secret = directory / "ca.pem", directory / "secret"
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{config}:{place}: {path}: nobody may not read it, and must: `chown nobody {path}`"
        for place, path in (("5: delivery.tls_ca", ca), ("9: destination.beta.auth_secret", secret))
    ]
    for path in (ca, secret):
        os.chown(path, 65534, 65534)
    assert CliRunner().invoke(check, ["-c", str(config)]).stderr == ""


def test_certificates_and_secrets_are_read(tmp_path: Path) -> None:
    config = tmp_path / "moxy.toml"
    config.write_text(
        '[delivery]\ntls = "verified"\ntls_ca = "ca.pem"\n[destination.alpha]\nhosts = ["a"]\ntls = "none"\n'
        f'auth_user = "moxy"\nauth_secret = "file:{tmp_path}/secret"\n'
    )
    (tmp_path / "ca.pem").write_text("junk")
    result = CliRunner().invoke(check, ["-c", str(config)])
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{config}:3: delivery.tls_ca: {tmp_path}/ca.pem holds no certificate in PEM form",
        f"{config}:8: destination.alpha.auth_secret: {tmp_path}/secret cannot be read: No such file or directory",
    ]


def test_who_else_may_get_to_know_a_password_is_noted(tmp_path: Path) -> None:
    config = tmp_path / "moxy.toml"
    keys = f'auth_user = "moxy"\nauth_secret = "file:{tmp_path}/secret"\n'
    config.write_text(f'hostname = "a.b"\n[destination.alpha]\nhosts = ["a"]\n{keys}')
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "secret").chmod(0o644)
    result = CliRunner().invoke(check, ["-c", str(config)])
    notes = [line for line in result.output.splitlines() if line.startswith("note: destination alpha")]
    assert notes == [
        f"note: destination alpha: every user of this machine can read file:{tmp_path}/secret",
        (
            "note: destination alpha: whoever stands between may be told the password; `verified` for `tls`, or other "
            "mechanisms, prevent it"
        ),
    ]
    assert "hunter2" not in result.output
    (tmp_path / "secret").chmod(0o600)
    config.write_text(f'hostname = "a.b"\n[destination.alpha]\nhosts = ["a"]\ntls = "verified"\n{keys}')
    assert "destination alpha" not in CliRunner().invoke(check, ["-c", str(config)]).output


def noted(directory: Path, keys: str) -> list[str]:
    config = directory / "moxy.toml"
    (directory / "secret").write_text("hunter2\n")
    (directory / "secret").chmod(0o600)
    login = f'auth_user = "moxy"\nauth_secret = "file:{directory}/secret"\n'
    config.write_text(f'hostname = "mx.test"\n[destination.alpha]\n{login}{keys}\n')
    result = CliRunner().invoke(check, ["-c", str(config)])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    return [line.removeprefix("note: destination alpha: ") for line in lines if "destination alpha" in line]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            'hosts = ["a"]\ntls = "none"',
            [
                (
                    "PLAIN and LOGIN are not used in clear; mail goes only if the server offers SCRAM-SHA-256 or "
                    "CRAM-MD5 (`auth_in_clear`)"
                )
            ],
        ),
        (
            'hosts = ["a"]\ntls = "none"\nauth_in_clear = true',
            ["whoever stands between may be told the password; `verified` for `tls`, or other mechanisms, prevent it"],
        ),
        ('hosts = ["a"]\ntls = "none"\nauth_mechanisms = ["CRAM-MD5"]', []),
        ('hosts = ["unix:/run/a"]\ntls = "none"', []),
        ('hosts = ["unix:/run/a"]\ntls = "verified"', ["a Unix socket stays without TLS"]),
        ('hosts = ["unix:/run/a"]\ntls_implicit = true', ["a Unix socket stays without TLS"]),
    ],
)
def test_what_a_destination_may_get_to_know_is_noted(directory: Path, keys: str, told: list[str]) -> None:
    assert noted(directory, keys) == told
