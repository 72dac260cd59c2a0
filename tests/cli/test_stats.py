"""`moxystats`, as a program: the totals of a file, for people and for programs, and nothing that steers a terminal."""

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest
from click.testing import CliRunner

from moxy.accounting.totals import Totals, read_totals
from moxy.accounting.totalsfile import TotalsFile
from moxy.cli.stats import Looks, View, rates_of, stats
from moxy.errors import MoxyError
from moxy.gdbm import Access, GdbmFile, library
from support.moxy_commands import Command, arguments, environment, moxy
from support.processes import PATIENCE

TOTALS = {"big.example:25": Totals(3000, 2), "small.example:25": Totals(1000, 7), "[2001:db8::1]:2525": Totals(2000, 2)}
VIEW = View("octets", reverse=False, top=None, human=False)


@pytest.fixture
def file(directory):
    path = directory / "totals.gdbm"
    TotalsFile(path).add(dict(TOTALS))
    return path


def store(path, entries):
    with GdbmFile(path, Access.WRITE) as file:
        for key, value in entries.items():
            file.store(key, value)


def run(*words):
    result = moxy("stats", *map(str, words))
    assert result.returncode == 0, result.stderr
    return result.stdout.decode()


def names(text):
    return [line.split()[0] for line in text.splitlines()]


def test_destinations_octets_messages_shares_and_the_total(file):
    assert run(file).splitlines() == [
        "destination         octets  messages   share",
        "big.example:25       3,000         2   50.0%",
        "[2001:db8::1]:2525   2,000         2   33.3%",
        "small.example:25     1,000         7   16.7%",
        "total                6,000        11  100.0%",
    ]


@pytest.mark.parametrize(
    ("words", "order"),
    [
        ([], "big [2 small"),
        (["-r"], "small [2 big"),
        (["--sort", "messages"], "small [2 big"),
        (["--sort", "messages", "--reverse"], "[2 big small"),
        (["--sort", "destination"], "[2 big small"),
        (["--sort", "destination", "-r"], "small big [2"),
        (["--top", "1"], "big 2"),
        (["--top", "3"], "big [2 small"),
    ],
)
def test_rows_are_sorted_and_cut_as_asked(file, words, order):
    rows = names(run(file, *words))[1:-1]
    assert len(rows) == len(order.split())
    assert all(row.startswith(start) for row, start in zip(rows, order.split(), strict=True))


def test_human_units(file):
    assert "2.9 KiB" in run(file, "-H")


def test_json_is_one_object(file):
    answer = json.loads(run(file, "--json", "--top", "1"))
    assert answer == {
        "file": str(file),
        "destinations": [{"destination": "big.example:25", "octets": 3000, "messages": 2}],
        "total": {"octets": 6000, "messages": 11},
    }


def test_csv_has_a_line_of_headings_and_plain_numbers(file):
    assert list(csv.reader(io.StringIO(run(file, "--csv")))) == [
        ["destination", "octets", "messages"],
        ["big.example:25", "3000", "2"],
        ["[2001:db8::1]:2525", "2000", "2"],
        ["small.example:25", "1000", "7"],
    ]


def test_a_file_without_totals_is_a_table_without_rows(directory):
    path = directory / "new.gdbm"
    path.touch()
    assert names(run(path)) == ["destination", "total"]


def test_nothing_in_a_file_steers_the_terminal(file):
    store(file, {b"evil\x1b[2J\n:25": b"1 1", b"bad\x1b[31m:25": b"\x1b[31mmany" * 100})
    for words in ([], ["--csv"], ["--json"]):
        result = moxy("stats", str(file), *words)
        assert b"\x1b" not in result.stdout + result.stderr
    text = result.stderr.decode()
    assert "`bad\\x1b[31m:25` left out" in text
    assert len(text) < 500


def test_many_entries_that_cannot_be_read_are_counted(file):
    store(file, {f"bad-{number}:25".encode(): b"many" for number in range(20)})
    result = moxy("stats", str(file))
    assert result.returncode == 0
    assert len(result.stderr.splitlines()) == 6
    assert b": 15 more entries left out" in result.stderr
    assert b"6,000" in result.stdout


# Which file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("moxy.conf", "dbtype nodb\nnodb_dest mail.example:25\nlogtype gdbmlog\nlogfile_name totals.gdbm\n"),
        ("moxy.conf", "dbtype nodb\nnodb_dest mail.example:25\nlogtype sys_and_gdbmlog\nlogfile_name totals.gdbm\n"),
        ("moxy.toml", '[log.a]\nkind = "nolog"\n[log.b]\nkind = "gdbmlog"\npath = "totals.gdbm"\n'),
    ],
)
def test_the_configuration_names_the_file(file, name, text):
    configuration = file.with_name(name)
    configuration.write_text(text)
    assert "big.example" in run("-c", configuration)


def test_one_of_several_logs_may_be_named(file):
    configuration = file.with_name("moxy.toml")
    other = '[log.other]\nkind = "gdbmlog"\npath = "other.gdbm"\n'
    configuration.write_text(f'{other}[log.mine]\nkind = "gdbmlog"\npath = "{file.name}"\n')
    assert "big.example" in run("-c", configuration, "--log", "mine")
    result = moxy("stats", "-c", str(configuration), "--log", "theirs")
    assert result.stderr.decode() == f"moxy: {configuration}: there is no [log.theirs] that keeps totals\n"


def test_a_file_that_is_named_needs_no_configuration(file):
    assert "big.example" in run(file, "-c", file.with_name("missing.toml"))


def test_a_configuration_without_such_a_log_is_told_with_a_hint(directory):
    configuration = directory / "moxy.toml"
    configuration.write_text('[log.a]\nkind = "filelog"\npath = "moxy.log"\n')
    result = moxy("stats", "-c", str(configuration))
    assert result.returncode == 1
    assert b"logtype gdbmlog" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"12/04/01: 26138 bytes", "no gdbm file"), (b"\0" * 9000, "no gdbm")],
)
def test_a_file_that_cannot_be_read_is_one_clear_line(directory, content, reason):
    path = directory / "totals.gdbm"
    if content is not None:
        path.write_bytes(content)
    result = moxy("stats", str(path))
    assert result.returncode == 1
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith(f"moxy: {path}: ")
    assert reason in line


def test_where_libgdbm_is_missing_its_package_is_named(file, monkeypatch):
    library.library.cache_clear()
    monkeypatch.setattr(library, "NAME", "libgdbm-of-another-machine.so.6")
    error = CliRunner().invoke(stats, [str(file)]).exception
    assert isinstance(error, MoxyError)
    assert "apt-get install libgdbm6" in str(error)


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "--csv"],
        ["--watch", "1", "--json"],
        ["--top", "0"],
        ["--sort", "size"],
        ["--watch", "0"],
        ["--watch", "never"],
        ["--watch", "1e9"],
        ["one", "two"],
        ["--unknown"],
    ],
)
def test_wrong_usage_is_told(file, words):
    result = moxy("stats", str(file), *words)
    assert result.returncode == 2
    assert b"Error: " in result.stderr


def test_a_file_behind_watch_gets_a_hint(file):
    result = moxy("stats", "--watch", str(file))
    assert result.returncode == 2
    assert b"a FILE stands before --watch" in result.stderr


@pytest.mark.parametrize(
    ("word", "text"), [("-h", "Usage: "), ("--help", "--watch"), ("-v", "Moxy "), ("--version", "Moxy ")]
)
def test_help_and_version(word, text):
    assert text in run(word)


# Again and again


def test_rates_are_what_came_since_the_last_look():
    before = {"a:25": Totals(1000, 10), "anew:25": Totals(500, 5), "quiet:25": Totals(7, 7)}
    now = {"a:25": Totals(3000, 11), "anew:25": Totals(100, 1), "quiet:25": Totals(7, 7), "new:25": Totals(10, 2)}
    assert rates_of(now, before, 2.0, human=False) == {
        "a:25": ["1,000", "0.5"],
        "anew:25": ["50", "0.5"],
        "quiet:25": ["0", "0.0"],
        "new:25": ["5", "1.0"],
        "": ["1,055", "2.0"],
    }
    assert rates_of({"a:25": Totals(10240, 1)}, {}, 2.0, human=True)["a:25"] == ["5.0 KiB", "0.5"]


def test_the_first_look_has_no_rates_and_the_second_has(file):
    seconds = iter([100.0, 104.0])
    looks = Looks(file, lambda: next(seconds))
    table = looks.table(VIEW)
    assert {row.extra for row in table.rows} == {("", "")}
    TotalsFile(file).add({"big.example:25": Totals(400, 4)})
    table = looks.table(VIEW)
    assert table.rows[0].extra == ("100", "1.0")
    assert table.total.extra == ("100", "1.0")


def test_watching_goes_on_when_the_file_is_begun_anew_and_ends_with_ctrl_c(file, directory):
    with Command(directory, "stats", str(file), "--watch", "0.1") as watching:
        watching.wait_for("total", times=2)
        file.unlink()
        watching.wait_for("No such file or directory")
        TotalsFile(file).add({"other.example:25": Totals(10, 1)})
        watching.wait_for("other.example:25")
        assert watching.stop(signal.SIGINT) == 0
        assert "Traceback" not in watching.text()
        assert "\x1b" not in watching.text()


def test_a_file_that_is_missing_at_the_first_look_ends_watching(directory):
    result = moxy("stats", str(directory / "missing"), "--watch")
    assert result.returncode == 1


# A terminal


def on_a_terminal(*words, until):
    """What the command prints on a terminal of 24 lines, 80 columns, until that matches; then it gets a Ctrl-C."""
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        arguments("stats", *map(str, words)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment() | {"TERM": "xterm", "LINES": "24", "COLUMNS": "80"},
        start_new_session=True,
    )
    os.close(theirs)
    text = b""
    deadline = time.monotonic() + PATIENCE
    try:
        while not re.search(until, text) and time.monotonic() < deadline:
            text += os.read(mine, 65536)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    finally:
        os.close(mine)
        if process.poll() is None:
            process.kill()
            process.wait()
    return text.decode()


def test_on_a_terminal_each_row_has_a_bar(file):
    text = on_a_terminal(file, until=b"100.0%.*\n")
    lengths = [line.count("█") for line in text.splitlines() if "example:25" in line]
    assert lengths[0] > lengths[1] > 0


def test_watching_on_a_terminal_clears_it_and_shows_no_more_than_fits(file):
    TotalsFile(file).add({f"host-{number}:25": Totals(number, 1) for number in range(100)})
    text = on_a_terminal(file, "--watch", "0.1", until=b"(?s)100.0%.*100.0%.*\n")
    screens = text.split("\x1b[2J")
    assert len(screens) > 2
    assert len(screens[1].splitlines()) <= 24
    assert "84 more" in screens[1]


def test_reading_changes_nothing(file):
    before = file.read_bytes(), file.stat().st_ino
    run(file)
    assert (file.read_bytes(), file.stat().st_ino) == before
    assert read_totals(file) == TOTALS
