"""`moxymakedbm`: its options, what it says, and what it leaves behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moxy import __version__
from moxy.cli import makedbm as command
from moxy.cli.makedbm import makedbm
from moxy.errors import MoxyError
from support import gdbmtool
from support.moxy_commands import arguments, environment
from support.processes import PATIENCE

TABLE = """\
# friends
B.example.org   mail.example.org:2525
a.example.org   10.0.0.5:25, 10.0.0.6   # both
"j"@a.org       customers
"""
ENTRIES = {"a.example.org": "10.0.0.5:25,10.0.0.6", "b.example.org": "mail.example.org:2525", "j@a.org": "customers"}

LIMITED = """
import resource, sys
from moxy.cli import moxymakedbm
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
moxymakedbm()
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "moxy.db"
    path.write_text(TABLE)
    return path


def run(*words: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(makedbm, [str(word) for word in words], input=stdin)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_file_is_made_beside_the_text(source: Path) -> None:
    result = run(source)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{source}.db: 3 entries\n", "")
    assert gdbmtool.listed(Path(f"{source}.db")) == ENTRIES


@pytest.mark.parametrize("option", ["-o", "--output"])
def test_the_file_is_made_where_it_is_wanted(source: Path, option: str) -> None:
    target = source.with_name("moxy.gdbm")
    assert run(option, target, source).stdout == f"{target}: 3 entries\n"
    assert gdbmtool.listed(target) == ENTRIES
    assert names(source.parent) == ["moxy.db", "moxy.gdbm"]


def test_u_labels_are_stored_as_a_labels_and_are_the_same_domain(tmp_path: Path) -> None:
    target = tmp_path / "x"
    assert run("-o", target, "-", stdin="Bücher.example m:1\n.例子.测试 mail.bücher.example\n").exit_code == 0
    assert gdbmtool.listed(target) == {
        ".xn--fsqu00a.xn--0zwm56d": "mail.bücher.example",
        "xn--bcher-kva.example": "m:1",
    }
    twice = run("-o", target, "-", stdin="bücher.example m:1\nxn--bcher-kva.example m:2\n")
    assert twice.exit_code == 1
    assert "stands in line 1 already" in twice.stderr


def test_the_text_may_come_from_standard_input(tmp_path: Path) -> None:
    assert run("-o", tmp_path / "x", "-", stdin=TABLE).exit_code == 0
    assert gdbmtool.listed(tmp_path / "x") == ENTRIES
    assert run("-o", tmp_path / "x", "-", stdin="a.org\n").stderr.startswith("standard input:1: a.org: expected host")
    assert run("-", stdin=TABLE).exit_code == 2


def test_many_entries_are_counted_so_that_people_can_read_it(source: Path) -> None:
    source.write_text("".join(f"d{number}.org m:1\n" for number in range(1234)))
    assert run(source).stdout == f"{source}.db: 1,234 entries\n"


def test_every_bad_line_is_told_and_nothing_is_replaced(source: Path) -> None:
    target = source.with_name("moxy.gdbm")
    run("-o", target, source)
    source.write_text("a.org m:1\nb..org m:1\nc.org m:x\nA.ORG m:2\n")
    result = run("-o", target, source)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"{source}:2: b..org: expected a domain, `.domain`, user@domain or `*`",
        f"{source}:3: c.org: bad port `x`: expected a number from 1 to 65535",
        f"{source}:4: a.org: stands in line 1 already",
    ]
    assert gdbmtool.listed(target) == ENTRIES
    assert names(source.parent) == ["moxy.db", "moxy.gdbm"]


def test_only_line_feeds_end_lines_as_in_the_table_itself(source: Path) -> None:
    source.write_bytes(b"a.org m:1\rb.org m:2\n")
    assert run(source).stderr.startswith(f"{source}:1: a.org: bad ")


# The way back


def test_a_file_is_listed_and_made_again(source: Path, tmp_path: Path) -> None:
    run("-o", tmp_path / "one", source)
    text = run("--list", tmp_path / "one").stdout
    assert text.splitlines() == [f"{key} {value}" for key, value in ENTRIES.items()]
    run("-o", tmp_path / "two", "-", stdin=text)
    assert run("--list", tmp_path / "two").stdout == text


def test_an_empty_file_is_listed_as_nothing(source: Path) -> None:
    source.write_text("")
    assert run(source).stdout == f"{source}.db: 0 entries\n"
    assert run("--list", f"{source}.db").stdout == ""


def test_an_entry_that_is_no_line_is_told(source: Path, tmp_path: Path) -> None:
    gdbmtool.store(tmp_path / "x", {"two words": "m:1"})
    result = run("--list", tmp_path / "x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{tmp_path}/x: two words: cannot be written as a line of a table\n"


# What is refused


def refused(*words: str | Path) -> str:
    """What the commands's end says when it cannot be done."""
    result = run(*words)
    assert isinstance(result.exception, MoxyError)
    return str(result.exception)


def test_what_cannot_be_done_is_told_in_a_line(source: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refused(missing) == f"{missing}: cannot be read: No such file or directory"
    assert refused(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"
    assert refused("-o", missing / "x", source) == f"{missing}/x: cannot be written: No such file or directory"
    assert refused("-o", tmp_path, source) == f"{tmp_path}: is there, and no regular file"
    assert refused("--list", missing) == f"{missing}: cannot be read: No such file or directory"
    assert refused("--list", source) == f"{source}: no gdbm file, or a damaged one: Bad magic number"
    assert refused("-o", tmp_path / "x", "/dev/zero") == "/dev/zero: is no file; `-` is standard input"


def test_a_text_is_not_replaced_by_its_own_file(source: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.hardlink_to(source)
    for target in (source, link):
        assert "would be made of itself" in refused("-o", target, source)
    assert source.read_text() == TABLE


@pytest.mark.parametrize("words", [[], ["a", "b"], ["--list", "-o", "x", "y"], ["--no-such-option", "x"]])
def test_wrong_usage_is_told(words: list[str]) -> None:
    assert run(*words).exit_code == 2


def test_help_has_the_originals_words() -> None:
    for option in ("-h", "--help"):
        text = " ".join(run(option).stdout.split())
        assert "Create a gdbm file based on flat file INFILE." in text
        assert "INFILE is the flat text file to use as input" in text
        assert "-o, --output OFILE Create file named OFILE. If omitted, creates INFILE.db" in text
        assert "-v, --version Output version info." in text
    for option in ("-v", "--version"):
        assert run(option).stdout == f"Moxy {__version__}\n"


# As a program


def test_a_full_disk_is_told_in_a_line_and_leaves_nothing(source: Path) -> None:
    source.write_text("".join(f"d{number}.org m:1\n" for number in range(5000)))
    result = subprocess.run(
        [sys.executable, "-P", "-c", LIMITED, str(source)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"moxymakedbm: {source}.db: cannot be written: File too large\n"
    assert names(source.parent) == ["moxy.db"]


def interrupted(process: subprocess.Popen[str]) -> str:
    """Ctrl-C, again where it came just before a read and so was not seen; what is told then."""
    for _ in range(int(PATIENCE)):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=1)[1]
    raise AssertionError("it does not end")


def test_ctrl_c_leaves_the_old_file_and_nothing_else(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "moxy.gdbm"
    run("-o", target, source)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        arguments("makedbm", "-o", str(target), str(pipe)),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # who runs us in the background ignores it
    )
    with pipe.open("w") as text:  # it has opened the other end, and waits for more
        text.write("a.org m:1\n")
        text.flush()
        told = interrupted(process)
    assert (process.returncode, told) == (130, "")
    assert gdbmtool.listed(target) == ENTRIES
    assert names(tmp_path) == ["moxy.db", "moxy.gdbm", "pipe"]


def test_a_bar_is_for_a_terminal_and_for_large_tables(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "BAR_FROM", 3)
    assert run(source).stderr == ""
    monkeypatch.setattr(command, "BAR_FROM", 10**6)
    assert list(command._with_bar([1, 2], "reading")) == [1, 2]
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "w") as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            assert list(command._with_bar([1, 2], "reading")) == [1, 2]
            monkeypatch.setattr(command, "BAR_FROM", 2)
            assert list(command._with_bar([1, 2], "reading")) == [1, 2]
            assert "reading" in os.read(ours, 4096).decode()
    finally:
        os.close(ours)


@pytest.mark.slow
def test_a_million_domains_take_seconds(tmp_path: Path) -> None:
    source = tmp_path / "million"
    with source.open("w") as file:
        file.writelines(f"d{number}.example.org mail{number % 1000}.example.net:2525\n" for number in range(1_000_000))
    result = subprocess.run(
        arguments("makedbm", str(source)), capture_output=True, text=True, env=environment(), timeout=60, check=True
    )
    assert result.stdout == f"{source}.db: 1,000,000 entries\n"
    assert gdbmtool.fetch(Path(f"{source}.db"), "d999999.example.org") == "mail999.example.net:2525"
