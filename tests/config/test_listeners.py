"""The sections of listeners and certificates. Mistakes in them: tests/config/bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from moxy.config.listeners import Certificate, Listener
from moxy.config.load import loads
from moxy.errors import ConfigError

TEXT = """
[listener.mx]
tls = "starttls"
certificates = ["two", "one"]
client_ca = "clients.pem"

[certificate.one]
chain = "one.pem"
key = "/keys/one.key"

[certificate.two]
chain = "two.pem"
"""


def test_certificates_and_who_uses_them_are_read() -> None:
    config = loads(TEXT, "/etc/moxy/moxy.toml", "toml")
    assert config.listener["mx"].certificates == ("two", "one")
    assert config.listener["mx"].client_ca == Path("/etc/moxy/clients.pem")
    assert config.certificate == {
        "one": Certificate(chain=Path("/etc/moxy/one.pem"), key=Path("/keys/one.key")),
        "two": Certificate(chain=Path("/etc/moxy/two.pem")),
    }


def test_nothing_is_encrypted_unless_asked_for() -> None:
    assert Listener().tls == "none"
    assert loads("", "moxy.toml", "toml").certificate == {}


def test_a_unix_socket_beside_others_is_served_without_tls() -> None:
    listener = Listener(listen=["*:24", "unix:/run/lmtp"], protocol="lmtp", tls="starttls")  # type: ignore[arg-type]
    assert listener.tls == "starttls"


def test_a_certificate_is_not_named_twice() -> None:
    with pytest.raises(ConfigError, match=r"certificates: `one` is named twice"):
        loads(TEXT.replace('"two", ', '"one", '), "moxy.toml", "toml")
