"""The configuration described: a file that loads, and a page; both in the repository as printed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from moxy.config.classic import DIRECTIVES
from moxy.config.describe import describe, reference
from moxy.config.load import loads
from moxy.config.schema import Config, Section

ROOT = Path(__file__).parents[2]
UNCOMMENTED = re.sub(r"^#(?=\[|[a-z_]+ = )", "", describe(), flags=re.MULTILINE)


def test_the_file_we_ship_is_what_describe_prints() -> None:
    assert (ROOT / "etc/moxy.toml").read_text() == describe(), "run: moxy describe > etc/moxy.toml"


def test_the_page_we_ship_is_what_describe_prints() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    assert page == reference(), "run: moxy describe --reference > docs/configuration.md"


def test_the_described_file_changes_nothing() -> None:
    assert loads(describe(), "moxy.toml", "toml") == loads("", "moxy.toml", "toml")


def test_the_described_file_loads_with_every_key_in_force() -> None:
    config = loads(UNCOMMENTED, "moxy.toml", "toml")
    assert config.limits == Config().limits
    assert config.timeouts == Config().timeouts
    theirs, ours = config.delivery.model_dump(), Config().delivery.model_dump()
    assert {key for key in ours if ours[key] != theirs[key]} == {
        "tls", "tls_ca", "tls_name", "tls_fingerprints", "tls_certificate", "auth_user", "auth_secret",
    }  # fmt: skip
    assert config.operator_log == Config().operator_log
    (name, listener), *others = config.listener.items()
    assert not others
    in_clear = listener.model_copy(update={"certificates": (), "client_ca": None, "tls": "none"})
    assert {name: in_clear} == Config().listener


def test_the_described_file_has_every_key() -> None:
    data = tomllib.loads(UNCOMMENTED)
    config = loads(UNCOMMENTED, "moxy.toml", "toml")
    assert set(data) == set(Config.model_fields)
    for key, value in config:
        if isinstance(value, Section):
            assert set(data[key]) == set(type(value).model_fields)
        elif isinstance(value, dict):
            for name, section in value.items():
                assert set(data[key][name]) == set(type(section).model_fields)


def test_lines_are_short_enough_to_read() -> None:
    assert max(len(line) for line in describe().splitlines()) <= 110


def test_the_page_has_every_key_and_directive() -> None:
    page = reference()
    for key in tomllib.loads(UNCOMMENTED):
        assert f"[{key}" in page or f"| `{key}` |" in page
    for directive in DIRECTIVES:
        assert f"| `{directive.name}` | `{'.'.join(map(str, directive.path))}` |" in page
    assert all(line.count(" | ") in (2, 3) for line in page.splitlines() if line.startswith("| "))
