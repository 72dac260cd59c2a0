"""`moxy check --probe`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from moxy.cli.check import check
from support.destination import Phase
from support.ports import free_port
from support.scripted import scripted_destinations


@pytest.fixture
def destinations():
    with scripted_destinations(2) as destinations:
        yield destinations


def probed(directory: Path, text: str) -> list[str]:
    path = directory / "moxy.toml"
    path.write_text(f'hostname = "mx.example.org"\n{text}')
    result = CliRunner().invoke(check, ["--probe", "-c", str(path)])
    assert result.exit_code == 0, result.output
    return [line.strip() for line in result.output.splitlines()]


def section(*addresses: str) -> str:
    return "".join(f'[destination.d{number}]\nhosts = ["{address}"]\n' for number, address in enumerate(addresses))


def test_it_tells_what_is_offered_and_who_keeps_the_rest_from_being_offered(tmp_path, destinations):
    one, two = destinations
    one.answers[Phase.EHLO] = "250-one.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN"
    nobody = f"127.0.0.1:{free_port()}"
    lines = probed(tmp_path, "probe = false\n" + section(one.address, two.address, nobody))
    assert "offered to clients: 8BITMIME SMTPUTF8" in lines
    assert f"DSN is not offered: {two.address} lacks it" in lines
    assert "REQUIRETLS is not offered: no destination has it over verified TLS" in lines
    assert any(line.startswith(f"{nobody} was not reached: ") for line in lines)


def test_who_cannot_be_asked_is_told_with_the_true_reason(tmp_path, destinations):
    one, two = destinations
    for destination in destinations:
        destination.answers[Phase.EHLO] = "250-x.test\r\n250-AUTH PLAIN\r\n250 DSN"
    (tmp_path / "secret").write_text("wrong\n")
    login = f'auth_user = "moxy"\nauth_secret = "file:{tmp_path}/secret"\nauth_in_clear = true\n'
    sections = (
        f'[destination.a]\nhosts = ["{one.address}"]\ntls = "none"\n{login}'
        f'[destination.b]\nhosts = ["{two.address}"]\ntls = "required"\n'
        f'[destination.c]\nhosts = ["{two.address}"]\ntls = "none"\n{login}'
    )
    lines = probed(tmp_path, sections)
    assert any(line.startswith(f"{one.address} does not let us in: 5") for line in lines)
    assert f"{two.address} offers no TLS" in lines
    assert any(line.startswith(f"{two.address} does not let us in: 5") for line in lines)


def test_without_destinations_it_tells_that_nothing_is_known(tmp_path):
    lines = probed(tmp_path, "")
    assert "offered to clients: 8BITMIME" in lines
    assert "DSN is not offered: no destination is known yet" in lines


def test_a_listed_offer_is_told_as_it_is(tmp_path, destinations):
    lines = probed(tmp_path, 'extensions = ["8BITMIME", "DSN"]\n' + section(destinations[0].address))
    assert "offered to clients: 8BITMIME DSN" in lines
    assert "SMTPUTF8 is not offered: the configuration leaves it out" in lines
    assert not destinations[0].talks
