"""`moxy lookup`: what it prints, and how it ends."""

from typing import get_args

import pytest
from click.testing import CliRunner

from moxy.cli.lookup import IDENTITIES, lookup
from moxy.outbound.identity import PERSONAL, Identity

CONFIG = """
hostname = "mx.example.org"

[destination.alpha]
hosts = ["alpha:2525", "beta:25"]
mode = "failover"
best_effort = ["archive:25"]
identity = "xclient"

[routes.customers]
kind = "file"
path = "moxy.db"

[relay]
allow_from = ["10.*"]
send_to = ["out:25"]
"""


@pytest.fixture
def ask(tmp_path):
    (tmp_path / "moxy.toml").write_text(CONFIG)
    (tmp_path / "moxy.db").write_text("joe@a.org m:1, [::1]:2\n.a.org alpha\nmx.example.org m:3\n")

    def run(*arguments):
        return CliRunner().invoke(lookup, ["-c", str(tmp_path / "moxy.toml"), *arguments])

    run.directory = tmp_path
    return run


def test_a_route_is_told_with_table_entry_mode_hosts_and_settings(ask):
    result = ask("Joe@B.A.org")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "address   Joe@B.A.org",
        f"table     customers, {ask.directory}/moxy.db",
        "entry     .a.org",
        "mode      failover",
        "hosts     alpha:2525, beta:25",
        "copies    archive:25",
        "settings  [destination.alpha]",
        "security  TLS where it is offered, not verified",
        "identity  xclient: XCLIENT, on a connection for each client",
    ]


def test_a_domain_may_be_asked_for_by_its_u_labels(ask):
    (ask.directory / "moxy.db").write_text("bücher.org m:1\n")
    assert ask("jörg@BÜCHER.org").output.splitlines()[2] == "entry     xn--bcher-kva.org"
    assert ask("bücher.org").output.splitlines()[0] == "address   postmaster@bücher.org"


def test_hosts_of_a_line_have_the_common_settings(ask):
    lines = ask('"joe"@a.org').output.splitlines()
    assert lines[2:-2] == ["entry     joe@a.org", "mode      all", "hosts     m:1, [::1]:2", "settings  [delivery]"]
    assert lines[-1] == "identity  header: the trace field names the client"


def test_the_bare_postmaster_is_the_configured_one(ask):
    lines = ask("postmaster").output.splitlines()
    assert lines[0] == "address   postmaster, which is postmaster@mx.example.org here"
    assert lines[2] == "entry     mx.example.org"


@pytest.mark.parametrize("client", [[], ["--client", "192.0.2.1"]])
def test_no_route_is_relaying_denied(ask, client):
    result = ask("joe@example.net", *client)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)  # and not a mistake of ours, which would also end with 1
    assert result.output.splitlines() == ["address   joe@example.net", "no route: 550 5.7.1 relaying denied"]


def test_a_client_that_may_relay_has_a_route(ask):
    result = ask("joe@example.net", "--client", "10.0.0.1")
    assert result.exit_code == 0
    assert result.output.splitlines()[1:] == [
        "table     none; relayed for the client 10.0.0.1",
        "entry     none",
        "mode      failover",
        "hosts     out:25",
        "settings  [delivery]",
        "security  TLS where it is offered, not verified",
        "identity  header: the trace field names the client",
    ]


def test_a_known_domain_is_not_relayed_even_for_a_client_that_may(ask):
    assert "entry     .a.org" in ask("joe@b.a.org", "--client", "10.0.0.1").output


@pytest.mark.parametrize("arguments", [["joe"], ["joe@"], ["<joe@a.org>"], [], ["joe@a.org", "--client", "localhost"]])
def test_a_mistaken_question_is_refused(ask, arguments):
    result = ask(*arguments)
    assert result.exit_code == 2
    assert "Error:" in result.stderr


def test_a_table_with_mistakes_is_told_of(ask):
    (ask.directory / "moxy.db").write_text("a.org m:x\n")
    result = ask("joe@a.org")
    assert result.exit_code == 2
    assert result.stderr == f"{ask.directory}/moxy.db:1: a.org: bad port `x`: expected a number from 1 to 65535\n"


def test_a_missing_configuration_is_told_of(tmp_path):
    result = CliRunner().invoke(lookup, ["-c", str(tmp_path / "none.toml"), "joe@a.org"])
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_a_domain_stands_for_its_postmaster(ask):
    assert ask("a.org").stdout.startswith("address   postmaster@a.org\n")


def test_every_identity_has_its_words():
    assert set(IDENTITIES) == set(get_args(Identity))
    assert all(("for each client" in words) is (identity in PERSONAL) for identity, words in IDENTITIES.items())


@pytest.mark.parametrize(
    ("keys", "plan"),
    [
        ('tls = "none"', "in clear"),
        ('tls = "required"', "TLS, required, not verified"),
        (f'tls = "required"\ntls_fingerprints = ["{"0" * 64}"]', "TLS, required, verified by fingerprint"),
        ("tls_implicit = true", "TLS from the first octet, required, not verified"),
        ('tls = "verified"', "TLS, verified by the authorities of the system"),
        (
            f'tls = "verified"\ntls_ca = "/ca.pem"\ntls_name = "a.example"\ntls_fingerprints = ["{"0" * 64}"]',
            "TLS, verified by /ca.pem and a fingerprint, for a.example",
        ),
        (
            'auth_user = "moxy"\nauth_secret = "env:NOT_ASKED_FOR"\nauth_mechanisms = ["CRAM-MD5", "PLAIN"]',
            "TLS where it is offered, not verified; AUTH as moxy by CRAM-MD5, PLAIN",
        ),
        (
            'tls = "none"\nauth_user = "moxy"\nauth_secret = "env:NOT_ASKED_FOR"',
            "in clear; AUTH as moxy by SCRAM-SHA-256, CRAM-MD5",
        ),
    ],
)
def test_the_plan_for_encryption_and_authentication_is_told(ask, keys, plan):
    (ask.directory / "moxy.toml").write_text(f"{CONFIG}[delivery]\n{keys}\n")
    assert ask("joe@a.org").output.splitlines()[-2] == f"security  {plan}"


def test_a_unix_socket_is_told_to_be_one(ask):
    (ask.directory / "moxy.db").write_text("joe@a.org unix:/run/x\n")
    assert ask("joe@a.org").output.splitlines()[-2] == "security  in clear, on a Unix socket"
