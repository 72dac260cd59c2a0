"""`moxy ledger`, as a program: what is remembered, for people and for programs, and forgotten when they say so."""

import asyncio
import json
import os
import pty
import re
import sqlite3
import subprocess
import time

import pytest
from click.testing import CliRunner

from moxy.cli.ledger import ledger
from moxy.ledger import State
from moxy.ledger.store import Store, Wanted
from support.directories import is_root, make_writable
from support.ledgers import NOW, SENDER, entry, ledgers
from support.moxy_commands import arguments, as_unprivileged, environment, moxy
from support.processes import PATIENCE

CLIENT = "198.51.100.7 (mail.a.test)"
ENTRIES = [
    entry("bob@one.test", digest=1),
    entry("eve@two.test", State.UNDELIVERED, destination="two", host="[2001:db8::1]:25", size=1_234_567, digest=1),
    entry("dan@two.test", State.UNKNOWN, destination="two", reverse_path="", apart=False, digest=2),
    entry("bob@one.test", State.CONFIRMED, digest=3),
]


@pytest.fixture
def file(directory):
    path = directory / "ledger.db"
    store = Store(path, 1000)
    store.change(ENTRIES)
    store.close()
    return path


def entries(path):
    store = Store(path, 1000, make=False, readonly=True)
    try:
        return store.select(Wanted())
    finally:
        store.close()


def run(*words, **environment):
    result = CliRunner(env=environment).invoke(ledger, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(*words):
    """What it complains of."""
    result = moxy("ledger", *map(str, words))
    assert (result.returncode, result.stdout) == (1, b"")
    (line,) = result.stderr.decode().splitlines()
    return line


def test_open_entries_are_shown_the_oldest_first(file):
    lines = run("show", file).splitlines()
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW))
    assert [re.split(r" {2,}", line) for line in lines] == [
        ["time", "state", "destination", "host", "sender", "recipient", "octets", "digest", "client"],
        [when, "committed+", "one", "192.0.2.1:25", "<ann@a.test>", "<bob@one.test>", "1,000", "00000000", CLIENT],
        [
            when,
            "undelivered+",
            "two",
            "[2001:db8::1]:25",
            "<ann@a.test>",
            "<eve@two.test>",
            "1,234,567",
            "00000000",
            CLIENT,
        ],
        [when, "unknown", "two", "192.0.2.1:25", "<>", "<dan@two.test>", "1,000", "00000000", CLIENT],
    ]
    assert {line.index(last) for line, last in zip(lines, ["client", CLIENT, CLIENT, CLIENT], strict=True)} == {117}


def shown(*words):
    """The recipients and states that are shown."""
    lines = [json.loads(line) for line in run("show", "--json", *words).splitlines()]
    return [(line["recipient"].split("@")[0], line["state"]) for line in lines]


def test_entries_are_chosen(file):
    bob, eve, dan = ("bob", "committed"), ("eve", "undelivered"), ("dan", "unknown")
    assert shown(file) == [bob, eve, dan]
    assert shown(file, "--all") == [bob, eve, dan, ("bob", "confirmed")]
    assert shown(file, "--recipient", "BOB@one.test") == [bob]
    assert shown(file, "--recipient", "<bob@one.test>", "--all") == [bob, ("bob", "confirmed")]
    assert shown(file, "--sender", "<>") == [dan]
    assert shown(file, "--sender", SENDER) == [bob, eve]
    assert shown(file, "--destination", "two") == [eve, dan]
    assert shown(file, "--destination", "two", "--sender", SENDER) == [eve]
    assert shown(file, "--destination", "three") == []


def test_an_address_is_found_however_its_domain_is_spelled(directory):
    path = directory / "other.db"
    store = Store(path, 1000)
    store.change([entry("jörg@xn--bcher-kva.test", digest=1)])
    store.close()
    for spelled in ("jörg@bücher.test", "<jörg@XN--bcher-kva.test>"):
        assert shown(path, "--recipient", spelled) == [("jörg", "committed")]
    assert "<jörg@xn--bcher-kva.test>" in run("show", path)


def test_json_has_everything(file):
    line = run("show", "--json", "--recipient", "eve@two.test", file)
    assert json.loads(line) == {
        "time": 1_700_000_000.0,
        "state": "undelivered",
        "apart": True,
        "destination": "two",
        "host": "[2001:db8::1]:25",
        "sender": "ann@a.test",
        "recipient": "eve@two.test",
        "octets": 1_234_567,
        "digest": "00" * 31 + "01",
        "client": "198.51.100.7",
        "hello": "mail.a.test",
    }


def test_nothing_to_show_is_said_to_people_and_not_to_programs(file):
    assert run("show", "--destination", "three", file) == "no entries\n"
    assert run("show", "--destination", "three", "--json", file) == ""


def test_what_strangers_have_said_steers_no_terminal(directory):
    path = directory / "ledger.db"
    store = Store(path, 10)
    store.change([entry("[red]\x1b[2J\n@one.test", hello="\x1b]0;x\x07")])
    store.close()
    for text in (run("show", path), on_a_terminal("show", path)):
        assert "\x1b[2J" not in text
        assert "\x07" not in text
        assert "[red]" in text.replace("\r\n", "")


def on_a_terminal(*words):
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        arguments("ledger", *map(str, words)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment() | {"TERM": "xterm", "LINES": "24", "COLUMNS": "200"},
    )
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(mine, 65536):
            text += piece
    except OSError:  # that is how a terminal ends
        pass
    os.close(mine)
    assert process.wait(PATIENCE) == 0
    return text.decode()


def test_on_a_terminal_it_is_a_table(file):
    text = on_a_terminal("show", file)
    text = re.sub("\x1b\\[[0-9;]*m", "", text)
    assert re.search(r"time +state +destination +host +sender +recipient +octets +digest +client", text)
    assert re.search(r"undelivered\+ +two +\[2001:db8::1\]:25 +<ann@a\.test> +<eve@two\.test> +1,234,567", text)


def test_what_is_forgotten_is_counted_and_gone(file):
    assert run("forget", "--recipient", "bob@one.test", file) == "2 entries forgotten\n"
    assert entries(file) == ENTRIES[1:3]
    assert run("forget", "--sender", "<>", "--destination", "two", file) == "1 entry forgotten\n"
    assert run("forget", "--destination", "three", file) == "0 entries forgotten\n"
    assert run("forget", "--everything", file) == "1 entry forgotten\n"
    assert entries(file) == []


@pytest.mark.parametrize("words", [[], ["--everything", "--sender", "<>"]])
def test_who_does_not_say_which_forgets_nothing(file, words):
    result = CliRunner().invoke(ledger, ["forget", *words, str(file)])
    assert result.exit_code == 2
    assert "which entries?" in result.stderr
    assert entries(file) == ENTRIES


def test_what_is_forgotten_while_moxy_runs_concerns_nobody_any_more(directory):
    path = directory / "ledger.db"

    async def main():
        async with ledgers(path) as (kept,):
            await kept.write([entry(), entry("eve@one.test")])
            forgotten = await asyncio.to_thread(run, "forget", "--recipient", "bob@one.test", path)
            assert forgotten == "1 entry forgotten\n"
            assert await kept.recall(SENDER, "bob@one.test") == []
            assert not kept.concerns(SENDER, "bob@one.test")
            shown = await asyncio.to_thread(run, "show", path)
            assert "eve@one.test" in shown
            await kept.write([entry(digest=2)])
            assert await kept.recall(SENDER, "bob@one.test") == [entry(digest=2)]
            assert kept.failures == 0

    asyncio.run(main())


def test_the_file_is_the_one_that_the_configuration_names(directory, file):
    configuration = directory / "moxy.toml"
    configuration.write_text('[ledger]\npath = "ledger.db"\n')
    assert len(run("show", "--json", "-c", configuration).splitlines()) == 3
    classic = directory / "moxy.conf"
    classic.write_text("dbname moxy.db\nledger ledger.db\n")
    assert len(run("show", "--json", "-c", classic).splitlines()) == 3
    classic.write_text("dbname moxy.db\n")
    assert len(run("show", "--json", "-c", classic, STATE_DIRECTORY=str(directory)).splitlines()) == 3


def test_no_file_is_told(directory):
    path = directory / "ledger.db"
    assert refused("show", path) == f"moxy: {path}: No such file or directory"
    assert not path.exists()
    configuration = directory / "moxy.toml"
    configuration.write_text("[ledger]\nhours = 0\n")
    assert refused("show", "-c", configuration).startswith(f"moxy: {configuration}: it names no file for the ledger;")


def test_a_damaged_file_is_told_and_left_where_it_is(file):
    file.write_bytes(b"garbage" * 1000)
    expected = (
        f"moxy: {file}: damaged: file is not a database; Moxy sets it aside when it meets it, and begins a new one"
    )
    assert refused("show", file) == expected
    assert [path.name for path in file.parent.iterdir()] == ["ledger.db"]


def test_a_database_of_another_program_is_told(directory):
    path = directory / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE entries (a)")
    other.close()
    assert refused("show", path) == f"moxy: {path}: no ledger, but a database of another program"


def test_a_locked_file_can_be_shown_and_is_told_when_something_is_to_be_forgotten(file):
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert len(run("show", "--json", file).splitlines()) == 3
    assert refused("forget", "--everything", file) == f"moxy: {file}: locked by another process"
    holder.execute("ROLLBACK")
    holder.close()
    assert entries(file) == ENTRIES


@pytest.mark.skipif(not is_root(), reason="only root can become somebody else")
def test_root_may_look_and_forget_and_moxy_can_still_use_its_file(directory, file):
    make_writable(directory)
    make_writable(file)
    run("show", file)
    run("forget", "--recipient", "bob@one.test", file)
    run("show", file)

    def use():
        store = Store(file, 1000)
        store.change([entry("new@one.test")])
        assert [one.forward_path for one in store.select(Wanted())] == ["eve@two.test", "dan@two.test", "new@one.test"]
        store.close()

    as_unprivileged(use)


def test_the_command_explains_itself():
    assert b"moxy ledger [OPTIONS] COMMAND" in moxy("ledger", "--help").stdout
    assert b"--everything" in moxy("ledger", "forget", "-h").stdout
