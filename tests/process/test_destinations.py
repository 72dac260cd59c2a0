"""From the keys of a configuration to the Settings of its destinations."""

from __future__ import annotations

from pathlib import Path

import pytest

from moxy.config.load import loads
from moxy.config.schema import Config
from moxy.errors import ConfigError
from moxy.outbound.settings import Login, Settings
from moxy.process.destinations import build_settings, mistakes
from support.certificates import authority, issue


def load(directory: Path, text: str) -> Config:
    (directory / "ca.pem").write_bytes(authority("Test Authority").pem)
    issue("mx.moxy.test").write(directory, "own")
    (directory / "secret").write_text("hunter2\n")
    return loads(text.replace("DIRECTORY", str(directory)), str(directory / "moxy.toml"), "toml")


SECTIONS = """
workers = 4
[delivery]
auth_user = "moxy"
auth_secret = "file:DIRECTORY/secret"
[destination.judged]
hosts = ["a"]
tls = "verified"
tls_ca = "ca.pem"
connections = 10
[destination.other]
hosts = ["b"]
tls = "verified"
tls_ca = "ca.pem"
tls_name = "b.example"
connections = 10
[destination.same]
hosts = ["c"]
auth_mechanisms = ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"]
[destination.open]
hosts = ["d"]
tls = "none"
auth_user = ""
[destination.late]
hosts = ["e"]
tls_implicit = true
tls_certificate = "own"
[certificate.own]
chain = "own.pem"
key = "own.key"
"""


def test_what_the_keys_say_is_what_is_done(directory: Path) -> None:
    defaults, named = build_settings(load(directory, SECTIONS))
    login = Login("moxy", "hunter2", ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"))
    assert defaults.login == login
    assert defaults.encryption is not None
    assert defaults.encryption.optional
    assert not defaults.encryption.client.trust.judged
    judged, other = named["judged"].encryption, named["other"].encryption
    assert judged is not None
    assert other is not None
    assert judged.client is other.client
    assert (judged.name, other.name) == ("", "b.example")
    assert judged.client.trust.authorities == directory / "ca.pem"
    assert not judged.optional
    assert named["judged"].connections == 2
    assert named["same"] == defaults
    assert named["open"] == Settings(connections=10)
    late = named["late"].encryption
    assert late is not None
    assert (late.optional, late.implicit) == (False, True)
    assert (late.client.trust.chain, late.client.trust.key) == (directory / "own.pem", directory / "own.key")


def test_what_is_inherited_and_means_nothing_here_is_left_alone(directory: Path) -> None:
    _, named = build_settings(
        load(
            directory,
            f"""
            [delivery]
            tls = "verified"
            tls_ca = "ca.pem"
            tls_fingerprints = ["{"ab" * 32}"]
            [destination.a]
            hosts = ["a"]
            tls = "opportunistic"
            """,
        )
    )
    encryption = named["a"].encryption
    assert encryption is not None
    assert (encryption.client.trust.authorities, encryption.client.trust.pins) == (None, frozenset())


def test_every_file_that_cannot_be_used_is_told_with_its_key(directory: Path) -> None:
    config = load(
        directory,
        """
        [delivery]
        tls = "verified"
        tls_ca = "missing.pem"
        [destination.a]
        hosts = ["a"]
        tls = "none"
        auth_user = "moxy"
        auth_secret = "env:MOXY_NOT_THERE"
        """,
    )
    told = [
        f"delivery.tls_ca: {directory}/missing.pem cannot be read: No such file or directory",
        "destination.a.auth_secret: there is no variable MOXY_NOT_THERE in the environment",
    ]
    assert list(mistakes(config)) == [("delivery", "tls_ca"), ("destination", "a", "auth_secret")]
    with pytest.raises(ConfigError) as raised:
        build_settings(config)
    assert str(raised.value).splitlines() == told
    assert mistakes(load(directory, SECTIONS)) == {}
