"""The worked examples of CONTRIBUTING.md: installed from the page, configured, and used by a real Moxy."""

from __future__ import annotations

import json
import re
import shutil
import smtplib
import sqlite3
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from support.directories import is_root, make_writable, open_directory
from support.moxy_commands import Sink, arguments, environment
from support.moxy_process import SOURCE, running
from support.ports import LOOPBACK, free_port
from support.processes import PATIENCE, run_to_end

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language):
    return [text for tag, text in BLOCK.findall(PAGE.read_text()) if tag == language]


def project():
    """The pyproject.toml of the page."""
    (text,) = blocks("toml")
    return tomllib.loads(text)


def modules():
    """The modules of the page and their text; the page says before each what it is called."""
    names = re.findall(r"This is `(\w+)\.py`", PAGE.read_text())
    return dict(zip(names, blocks("python"), strict=True))


def write_examples(directory):
    """What a reader of the page would write, all in one directory."""
    (directory / "pyproject.toml").write_text(*blocks("toml"))
    for name, text in modules().items():
        (directory / f"{name}.py").write_text(text)


@cache
def pip():
    """The command of a pip that can install them without a network, or None: it needs setuptools beside it."""
    for python in (sys.executable, f"{sys.base_prefix}/bin/python3", "/usr/bin/python3"):
        if Path(python).exists() and run_to_end([python, "-c", "import setuptools, wheel, pip"]).returncode == 0:
            return [python, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir"]
    return None


@pytest.fixture(scope="module")
def installed():
    """A directory with the examples as pip installs them; where there is no pip that can, as it would."""
    with open_directory() as directory:
        site = directory / "site"
        site.mkdir()
        if pip():
            source = directory / "source"
            source.mkdir()
            write_examples(source)
            options = ["--no-deps", "--no-index", "--no-build-isolation", "--no-compile", "--target", str(site)]
            done = run_to_end([*pip(), "install", *options, str(source)], PATIENCE * 3)
            assert done.returncode == 0, done.stdout
        else:
            write_examples(site)
            write_information(site)
        yield site


@pytest.fixture
def packages(directory, installed):
    """A copy of that for each test."""
    return shutil.copytree(installed, directory / "site")


def write_information(site):
    """What an installer writes beside the modules, of their pyproject.toml."""
    declared = project()["project"]
    information = site / f"{declared['name'].replace('-', '_')}-{declared['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: {declared['version']}\n"
    )
    lines = []
    for group, points in declared["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")


def configured(directory, sections):
    port = free_port()
    configuration = directory / "moxy.toml"
    runas = 'runas = "nobody"\n' if is_root() else "# as who we are\n"  # a line for everybody: tests know their numbers
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


def test_all_modules_of_the_page_are_installed_and_hold_what_the_entry_points_name():
    """setuptools takes no directory of several modules that are not named (`Multiple top-level modules`)."""
    assert sorted(project()["tool"]["setuptools"]["py-modules"]) == sorted(modules())
    points = [point for group in project()["project"]["entry-points"].values() for point in group.values()]
    for module, _, name in (point.partition(":") for point in points):
        assert f"\nclass {name}:\n" in modules()[module]


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
    found = told(packages, "lookup", "-c", str(configuration), "bob@one.test")
    assert f"{LOOPBACK}:2525" in found
    assert "table     a, sqlite\n" in found


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
