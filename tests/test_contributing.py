"""The worked examples of CONTRIBUTING.md: installed from the page, configured, and used by a real Moxy."""

from __future__ import annotations

import json
import re
import smtplib
import sqlite3
import tomllib
from pathlib import Path

import pytest

from support.directories import is_root, make_writable
from support.moxy_commands import Sink, arguments, environment
from support.moxy_process import SOURCE, running
from support.ports import LOOPBACK, free_port
from support.processes import run_to_end

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language):
    return [text for tag, text in BLOCK.findall(PAGE.read_text()) if tag == language]


@pytest.fixture
def packages(directory):
    """A directory with the examples in it, and beside them what an installer writes of their pyproject.toml."""
    site = directory / "site"
    site.mkdir()
    (project,) = blocks("toml")
    declared = tomllib.loads(project)["project"]
    modules = {point.partition(":")[0] for group in declared["entry-points"].values() for point in group.values()}
    for name, text in zip(sorted(modules, reverse=True), blocks("python"), strict=True):
        (site / f"{name}.py").write_text(text)
    information = site / f"{declared['name'].replace('-', '_')}-{declared['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: {declared['version']}\n"
    )
    lines = []
    for group, points in declared["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return site


def configured(directory, sections):
    port = free_port()
    configuration = directory / "moxy.toml"
    runas = 'runas = "nobody"\n' if is_root() else ""
    configuration.write_text(
        f'hostname = "mx.moxy.test"\n{runas}[listener.mx]\nlisten = ["{LOOPBACK}:{port}"]\n{sections}'
    )
    return configuration, port


def database(directory, port):
    path = directory / "routes.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE routes(key TEXT PRIMARY KEY, hosts TEXT)")
        connection.execute("INSERT INTO routes VALUES ('one.test', ?)", [f"{LOOPBACK}:{port}"])
        connection.execute("INSERT INTO routes VALUES ('broken.test', ':::')")
    return path


def paths(packages):
    return {"PYTHONPATH": f"{SOURCE}:{packages}"}


def told(packages, *words):
    """What a command says when the examples are installed."""
    variables = [f"{key}={value}" for key, value in (environment() | paths(packages)).items()]
    return run_to_end(["env", *variables, *arguments(*words)]).stdout


def test_an_example_is_short():
    assert len(blocks("python")) == 2
    for text in blocks("python"):
        assert len(text.splitlines()) <= 40


def test_mail_goes_where_the_example_table_says_and_the_example_log_tells_of_it(directory, packages):
    home = directory / "log"
    home.mkdir()
    make_writable(home)
    with Sink(directory) as sink:
        database(directory, sink.port)
        kinds = (
            '[routes.a]\nkind = "sqlite"\npath = "routes.sqlite"\n[log.b]\nkind = "jsonl"\npath = "log/mail.jsonl"\n'
        )
        with running(*configured(directory, kinds), paths(packages)) as moxy:
            with smtplib.SMTP(LOOPBACK, moxy.port) as client:
                client.sendmail("ann@a.test", "bob@one.test", b"Subject: by example\r\n\r\nhello\r\n")
                assert client.mail("ann@a.test")[0] == 250
                assert client.rcpt("bob@two.test")[0] == 550
                assert client.rcpt("bob@broken.test")[0] == 451
            sink.wait_for("by example")
    (line,) = (home / "mail.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["to"] == ["bob@one.test"]
    assert record["at"] == f"{LOOPBACK}:{sink.port}"
    assert record["size"] == len(b"Subject: by example\r\n\r\nhello\r\n")
    assert record["outcome"] == "delivered"


def test_check_and_lookup_know_the_example(directory, packages):
    database(directory, 2525)
    configuration, _ = configured(directory, '[routes.a]\nkind = "sqlite"\npath = "routes.sqlite"\n')
    assert "routes a: sqlite" in told(packages, "check", "-c", str(configuration))
    assert f"{LOOPBACK}:2525" in told(packages, "lookup", "-c", str(configuration), "bob@one.test")


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ('kind = "sqlite"\n', "moxy.toml:5: routes.a.path: is missing, and has no default"),
        ('kind = "sqlite"\npaht = "x"\n', "moxy.toml:7: routes.a.paht: unknown key `paht`; did you mean `path`?"),
        ('kind = "sqlight"\n', "expected `file`, `dbm`, `nodb` or `sqlite`, not `sqlight`; did you mean `sqlite`?"),
        ('kind = "sqlite"\npath = "none.sqlite"\n', "`sqlite` cannot be used: OperationalError: unable to open"),
    ],
)
def test_a_mistake_in_the_section_of_an_example_is_told_like_any_other(directory, packages, keys, complaint):
    configuration, _ = configured(directory, f"[routes.a]\n{keys}")
    assert complaint in told(packages, "check", "-c", str(configuration))


def test_the_original_format_can_name_it_too(directory, packages):
    database(directory, 2525)
    configuration = directory / "moxy.conf"
    configuration.write_text("port 2525\nhostname mx.moxy.test\ndbtype sqlite\ndbname routes.sqlite\n")
    assert "routes db: sqlite" in told(packages, "check", "-c", str(configuration))


def test_a_package_that_cannot_be_imported_is_told_in_one_line(directory, packages):
    (packages / "moxy_sqlite.py").write_text("import no_such_module\n")
    configuration, _ = configured(directory, '[routes.a]\nkind = "sqlite"\npath = "x"\n')
    (line,) = told(packages, "check", "-c", str(configuration)).splitlines()
    assert line.startswith(
        f"{configuration}:6: routes.a.kind: `sqlite` cannot be loaded from moxy_sqlite:SqliteTable: "
    )
    assert "no_such_module" in line
