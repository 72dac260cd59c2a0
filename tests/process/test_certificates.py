"""From the configuration to the TLS of its listeners."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moxy.config.load import loads
from moxy.config.schema import Config
from moxy.errors import ConfigError
from moxy.process.certificates import listeners_tls, used_certificates
from support.certificates import authority, issue
from support.moxy_commands import environment

TEXT = """
[certificate.one]
chain = "one.pem"
key = "one.key"
[certificate.two]
chain = "two.pem"
[listener.mx]
listen = ["127.0.0.1:0"]
tls = "starttls"
[listener.submissions]
listen = ["127.0.0.1:0"]
tls = "implicit"
certificates = ["two"]
client_ca = "ca.pem"
[listener.clear]
listen = ["127.0.0.1:0"]
"""


def configured(directory: Path, text: str = TEXT) -> Config:
    return loads(text, str(directory / "moxy.toml"), "toml")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    issue("one.test").write(tmp_path, "one")
    two = issue("two.test")
    (tmp_path / "two.pem").write_bytes(two.pem + two.key_pem)
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    return tmp_path


def test_each_listener_has_the_tls_that_is_configured(files: Path) -> None:
    tls = listeners_tls(configured(files))
    assert set(tls) == {"mx", "submissions"}
    assert (tls["mx"].implicit, tls["mx"].asks_clients) == (False, False)
    assert (tls["submissions"].implicit, tls["submissions"].asks_clients) == (True, True)
    assert tls["mx"].certificate_for("two.test").name == "two"
    assert tls["mx"].certificate_for(None).name == "one"
    assert tls["submissions"].certificate_for("one.test").name == "two"


def test_all_mistakes_in_files_are_told(files: Path) -> None:
    (files / "one.key").unlink()
    (files / "two.pem").write_text("x")
    with pytest.raises(ConfigError) as caught:
        listeners_tls(configured(files))
    assert [str(problem) for problem in caught.value.problems] == [
        f"[certificate.one]: {files}/one.key: cannot be read: No such file or directory",
        f"[certificate.two]: {files}/two.pem: no certificate (PEM) in it",
    ]


def test_a_certificate_that_no_listener_has_is_not_read(files: Path) -> None:
    (files / "one.pem").unlink()
    config = configured(files, TEXT.replace('tls = "starttls"', ""))
    assert set(used_certificates(config)) == {"two"}


def test_who_has_no_certificate_does_not_load_what_reads_them() -> None:
    script = "import sys, moxy.process.start, moxy.cli.send; sys.exit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], env=environment(), check=True)
