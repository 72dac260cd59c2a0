"""The keys about encryption and authentication: what is read, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from moxy.config.load import loads
from moxy.config.schema import Config, Delivery
from moxy.config.security import OwnSecurity, Security
from moxy.config.values import SecretPlace
from moxy.errors import ConfigError

PIN = ":".join(["AB"] * 32)


def load(text: str) -> Config:
    return loads(text, "/etc/moxy/moxy.toml", "toml")


def test_both_sections_have_the_same_keys() -> None:
    assert list(Security.model_fields) == list(OwnSecurity.model_fields)


def test_every_key_is_read() -> None:
    section = load(f"""
        [delivery]
        tls = "verified"
        tls_implicit = true
        tls_ca = "ca.pem"
        tls_name = "mail.example.org"
        tls_fingerprints = ["{PIN}", "{"0" * 64}"]
        tls_certificate = "own"
        auth_user = "moxy"
        auth_secret = "file:/etc/moxy/secret"
        auth_mechanisms = ["PLAIN", "CRAM-MD5"]
        auth_in_clear = true
        [certificate.own]
        chain = "own.pem"
    """).delivery
    assert section == Delivery(
        tls="verified",
        tls_implicit=True,
        tls_ca=Path("/etc/moxy/ca.pem"),
        tls_name="mail.example.org",
        tls_fingerprints=("ab" * 32, "0" * 64),
        tls_certificate="own",
        auth_user="moxy",
        auth_secret=SecretPlace("file", "/etc/moxy/secret"),
        auth_mechanisms=("PLAIN", "CRAM-MD5"),
        auth_in_clear=True,
    )


def test_a_destination_has_what_it_leaves_out_from_delivery_and_may_unset_it() -> None:
    config = load("""
        [delivery]
        tls = "verified"
        tls_ca = "ca.pem"
        auth_user = "moxy"
        auth_secret = "env:SECRET"
        [destination.same]
        hosts = ["a"]
        [destination.open]
        hosts = ["b"]
        tls = "none"
        auth_user = ""
    """)
    assert config.connection_settings("same") == config.delivery
    unlike = config.connection_settings("open")
    assert (unlike.tls, unlike.auth_user, unlike.auth_secret) == ("none", "", SecretPlace("env", "SECRET"))


DESTINATION = '[destination.a]\nhosts = ["a"]\n'


@pytest.mark.parametrize("section", ["[delivery]\n", DESTINATION])
@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        ('tls = "verifed"', "tls", "did you mean `verified`?"),
        ('tls = "none"\ntls_ca = "x"', "tls_ca", "nothing is encrypted here"),
        ('tls = "none"\ntls_implicit = true', "tls_implicit", "nothing is encrypted here"),
        ('tls = "none"\ntls_name = "x"', "tls_name", "nothing is encrypted here"),
        (f'tls = "none"\ntls_fingerprints = ["{PIN}"]', "tls_fingerprints", "nothing is encrypted here"),
        ('tls_ca = "x"', "tls_ca", "`tls` is `opportunistic`; it must be `verified`"),
        ('tls = "required"\ntls_ca = "x"', "tls_ca", "`tls` is `required`; it must be `verified`"),
        (f'tls_fingerprints = ["{PIN}"]', "tls_fingerprints", "no certificate is judged"),
        (f'tls = "required"\ntls_fingerprints = ["{PIN}", "{"ab" * 32}"]', "tls_fingerprints", "named twice"),
        ('tls_fingerprints = ["AB:CD"]', "tls_fingerprints", "64 hexadecimal digits"),
        ('tls_name = "[192.0.2.1]"', "tls_name", "expected a host name"),
        ('tls = "none"\ntls_certificate = "own"', "tls_certificate", "nothing is encrypted here"),
        ('tls_certificate = "onw"', "tls_certificate", "there is no [certificate.onw]; did you mean `own`?"),
        ("tls_certificate = 5", "tls_certificate", "expected a name"),
        ('tls_nam = "x"', "tls_nam", "did you mean `tls_name`?"),
        ('auth_user = "x"', "auth_user", "`auth_secret` must tell where the password stands"),
        ('auth_secret = "env:X"', "auth_secret", "`auth_user` must tell whose password it is"),
        ('auth_user = "x"\nauth_secret = "file:relative"', "auth_secret", 'expected an absolute path behind "file:"'),
        ('auth_user = "x"\nauth_secret = 5', "auth_secret", "expected `file:/path` or `env:NAME`"),
        ("auth_mechanisms = []", "auth_mechanisms", "expected at least one entry"),
        ('auth_mechanisms = ["PLAN"]', "auth_mechanisms", "did you mean `PLAIN`?"),
        ('auth_mechanisms = ["PLAIN", "PLAIN"]', "auth_mechanisms", "named twice"),
        (
            'tls = "none"\nauth_user = "x"\nauth_secret = "env:X"\nauth_mechanisms = ["PLAIN"]',
            "auth_mechanisms",
            "`auth_in_clear` would allow it",
        ),
    ],
)
def test_what_contradicts_itself_is_told_at_its_key(section: str, keys: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(f'{section}{keys}\n[certificate.own]\nchain = "own.pem"\n')
    (problem,) = raised.value.problems
    assert problem.key.split("[")[0].endswith(f".{key}")
    assert problem.line == section.count("\n") + keys[: keys.index(f"{key} =")].count("\n") + 1
    assert message in problem.message


def test_a_secret_in_the_place_of_its_place_is_not_shown() -> None:
    with pytest.raises(ConfigError) as raised:
        load('[delivery]\nauth_user = "x"\nauth_secret = "hunter2"')
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "keys",
    [
        f'tls = "required"\ntls_fingerprints = ["{PIN}"]',
        f'tls_implicit = true\ntls_fingerprints = ["{PIN}"]',
        'tls = "none"\nauth_user = "x"\nauth_secret = "env:X"',
        'tls = "none"\nauth_user = "x"\nauth_secret = "env:X"\nauth_mechanisms = ["LOGIN"]\nauth_in_clear = true',
        'tls_name = ""\nauth_user = ""',
    ],
)
def test_what_makes_sense_is_allowed(keys: str) -> None:
    load(f"[delivery]\n{keys}")
