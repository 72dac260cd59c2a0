"""What the pages of the original promise, of whole programs: with the lines and the commands that stand on those pages.

docs/original.md answers them row by row. Here is what no test of a single file shows.
"""

from __future__ import annotations

import asyncio
import json
import re
import smtplib
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from support import gdbmtool
from support.destination import Destination, running_destination
from support.directories import UNPRIVILEGED, is_root, make_writable
from support.moxy_commands import arguments, environment, moxy, written
from support.moxy_process import HOST_NAME, Moxy
from support.ports import LOOPBACK, free_port
from support.processes import PATIENCE, Running
from support.scenario import scenario, until
from support.smtpclient import connected
from support.syslogd import BareSyslogd

pytestmark = pytest.mark.interop

SENDER = "joe@example.org"
CONTENT = b"Subject: as the page has it\r\n\r\nHello.\r\n"
SCRIPT = Path(__file__).parents[2] / "etc" / "init.d" / "moxy"

LOG_LINES = """\
log_format   "%date: %msize bytes from <%sender> [%shost] to [%dhost] for '%rcpts'"
log_dateformat   "%d/%m/%y %T %z"
"""
"""As they stand on the page."""

PACIFIC = timezone(timedelta(hours=-8))
"""The time zone of the line that the page shows; the program gets it as TZ=PST8."""


@pytest.fixture
def home(directory: Path) -> Path:
    """What /usr/local/moxy was: the directory of the configuration, the table and the log."""
    path = directory / "moxy"
    path.mkdir()
    return make_writable(path)


def configured(home: Path, lines: str, table: str = "", port: int | None = None) -> Path:
    """A moxy.conf of these lines and of what every one of these tests needs, and the moxy.db beside it."""
    (home / "moxy.db").write_text(table)
    path = home / "moxy.conf"
    needed = [f"listen {LOOPBACK}", f"hostname {HOST_NAME}"]
    needed += [f"port {port}"] if port is not None else []
    needed += [f"runas {UNPRIVILEGED}"] if is_root() else []
    path.write_text("\n".join(needed) + "\n" + lines)
    return path


@asynccontextmanager
async def running(configuration: Path, port: int, variables: Mapping[str, str] | None = None) -> AsyncIterator[Moxy]:
    """Moxy as a process, while its destinations are in this event loop. It must end well when the block is left."""
    with Moxy(configuration, port, variables) as process:
        await asyncio.to_thread(process.wait_for_greeting, port)
        yield process
        assert await asyncio.to_thread(process.stop) == 0
    assert "Traceback" not in process.text()


@asynccontextmanager
async def original(
    home: Path, lines: str, table: str = "", variables: Mapping[str, str] | None = None
) -> AsyncIterator[Moxy]:
    """The same with a moxy.conf of these lines."""
    port = free_port()
    async with running(configured(home, lines, table, port), port, variables) as process:
        yield process


def tool(name: str, *words: str | Path) -> str:
    """What one of the original's tools prints, called by its own name."""
    program = f"from moxy.cli import {name}; {name}()"
    command = [sys.executable, "-P", "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def totals(file: Path) -> dict[str, tuple[int, int]]:
    """Octets and messages of each destination, as moxystats shows them."""
    rows = json.loads(tool("moxystats", "--json", file))["destinations"]
    return {row["destination"]: (row["octets"], row["messages"]) for row in rows}


def counts(*destinations: Destination) -> list[int]:
    """How many messages each of them holds."""
    return [len(destination.messages) for destination in destinations]


# The configuration


@scenario
async def test_the_directives_of_the_page_run_a_moxy(home: Path) -> None:
    """All of them in one file, with the page's own values where a test can have them; -p overrules `port 25`."""
    async with running_destination() as destination:
        configuration = configured(
            home,
            f"""
            # As on the page.
            port 25
            banner Moxy at your service
            allowRelayFrom 127.0.0.1, 192.168.1.*, 127.0.*.*
            sendRelayTo {destination.address}
            dbtype file
            dbname {home}/moxy.db
            nodb_dest localhost:10025
            logtype filelog
            logfile_name {home}/moxy.log
            {LOG_LINES}""",
            f"one.test {destination.address}\n",
        )
        checked = moxy("check", "--config", str(configuration))
        assert (checked.returncode, checked.stderr) == (0, b"")
        port = free_port()
        words = arguments("--config", str(configuration), "--port", str(port))
        with Running(words, home / "moxy.out", environment()) as process:
            await asyncio.to_thread(process.wait_for_greeting, port)
            async with connected(port, hello=False) as client:
                await client.ask("EHLO client.test")
                assert (await client.deliver(["ann@one.test", "bob@elsewhere.test"])).startswith("250")
            with smtplib.SMTP() as again:
                assert again.connect(LOOPBACK, port) == (220, f"{HOST_NAME} Moxy at your service".encode())
            assert await asyncio.to_thread(process.stop) == 0
        assert [message.recipients for message in destination.messages] == [("ann@one.test", "bob@elsewhere.test")]
        assert len((home / "moxy.log").read_text().splitlines()) == 1


@scenario
async def test_a_client_may_relay_if_the_list_or_one_of_its_stars_means_it(home: Path) -> None:
    async with running_destination() as inside, running_destination() as outside:
        lines = (
            "dbname moxy.db\n"
            "allowRelayFrom 127.0.0.2, 127.0.1.*, 127.1.*.*\n"
            f"sendRelayTo {LOOPBACK}:{free_port()}, {outside.address}\n"  # nobody is at the first
        )
        async with original(home, lines, f"one.test {inside.address}\n") as process:
            for address in ("127.0.0.2", "127.0.1.77", "127.1.2.3"):
                assert await asyncio.to_thread(refusals, process, address) == {}
            assert counts(inside, outside) == [3, 3]
            for address in ("127.0.0.3", "127.0.2.1", "127.2.2.3"):
                refused = {"far@elsewhere.test": (550, b"5.7.1 Relaying denied")}
                assert await asyncio.to_thread(refusals, process, address) == refused
            assert counts(inside, outside) == [6, 3]


def refusals(process: Moxy, address: str) -> dict[str, tuple[int, bytes]]:
    """Send from this address to a domain of the table and to another; who is refused, and how."""
    with smtplib.SMTP(LOOPBACK, process.port, "client.test", source_address=(address, 0)) as client:
        return client.sendmail(SENDER, ["near@one.test", "far@elsewhere.test"], CONTENT)


@scenario
async def test_nodb_sends_all_mail_to_all_of_its_hosts(home: Path) -> None:
    async with running_destination() as one, running_destination() as two:
        lines = f"dbtype nodb\nnodb_dest {one.address},{two.address}\n"
        async with original(home, lines) as process, connected(process.port) as client:
            for recipient in ("ann@one.test", "bob@anywhere.example"):
                assert (await client.deliver([recipient])).startswith("250")
        assert counts(one, two) == [2, 2]


# Where mail goes, and that it may change


@scenario
async def test_a_moved_server_gets_the_next_message_once_its_line_in_the_text_was_read(home: Path) -> None:
    async with running_destination() as old, running_destination() as new:
        table = f"one.test {old.address}\n"
        async with original(home, "dbname moxy.db\n", table) as process, connected(process.port) as client:
            await client.deliver(["ann@one.test"])
            changed = home / "moxy.db.new"
            changed.write_text(f"one.test {new.address}\n")
            changed.rename(home / "moxy.db")
            await until(lambda: "table_loaded" in process.text(), "the changed table", seconds=5)
            await client.deliver(["ann@one.test"])
        assert counts(old, new) == [1, 1]


@scenario
async def test_a_moved_server_gets_the_very_next_message_where_the_table_is_a_gdbm_file(home: Path) -> None:
    async with running_destination() as old, running_destination() as new:
        gdbmtool.store(home / "moxy.gdbm", {"one.test": old.address})
        lines = "dbtype dbm\ndbname moxy.gdbm\n"
        async with original(home, lines) as process, connected(process.port) as client:
            for place in (new, old, new):
                await client.deliver(["ann@one.test"])
                gdbmtool.store(home / "moxy.gdbm", {"one.test": place.address})
            await client.deliver(["ann@one.test"])
        assert counts(old, new) == [2, 2]


@scenario
async def test_moxymakedbm_makes_what_dbtype_dbm_reads_and_makes_it_anew_while_moxy_runs(home: Path) -> None:
    """`moxymakedbm -o /etc/moxy.gdbm /usr/local/moxy/moxy.db`, in the directories of this test."""
    async with running_destination() as one, running_destination() as two:
        text, compiled = home / "moxy.db", home / "moxy.gdbm"
        lines = f"dbtype dbm\ndbname {compiled}\n"
        configured(home, lines, f"one.test {one.address},{two.address}\n")
        tool("moxymakedbm", "-o", compiled, text)
        async with original(home, lines, text.read_text()) as process, connected(process.port) as client:
            await client.deliver(["ann@one.test"])
            assert (await client.begin(["bob@two.test"]))[0].startswith("550")
            await client.ask("RSET")
            with text.open("a") as file:
                file.write(f"two.test {two.address}\n")
            tool("moxymakedbm", "-o", compiled, text)
            await client.deliver(["bob@two.test"])
        assert counts(one, two) == [1, 2]


@pytest.mark.parametrize("pipelined", [False, True])
@scenario
async def test_domains_at_one_destination_share_a_connection_and_a_copy_and_count_once(
    home: Path, pipelined: bool
) -> None:
    async with running_destination() as destination:
        table = "".join(f"{domain} {destination.address}\n" for domain in ("one.test", "two.test"))
        lines = "dbname moxy.db\nlogtype gdbmlog\nlogfile_name totals.gdbm\n"
        async with original(home, lines, table) as process, connected(process.port) as client:
            if pipelined:
                client.send(f"MAIL FROM:<{SENDER}>", "RCPT TO:<ann@one.test>", "RCPT TO:<bob@two.test>")
                assert [(await client.reply())[:3] for _ in range(3)] == ["250"] * 3
                verdict = await client.data(CONTENT)
            else:
                verdict = await client.deliver(["ann@one.test", "bob@two.test"], CONTENT)
            assert verdict.startswith("250")
        assert [message.recipients for message in destination.messages] == [("ann@one.test", "bob@two.test")]
        assert len(destination.talks) == 1
        assert totals(home / "totals.gdbm") == {destination.address: (len(CONTENT), 1)}


# The logs


@scenario
async def test_the_line_of_the_page_is_written_to_the_letter_and_read_back(home: Path) -> None:
    """`04/12/01 23:43:08 -0800: 26138 bytes from <...> [...] to [...] for '...'`, with the moment of this test."""
    async with running_destination() as destination:
        table = "".join(f"{domain} {destination.address}\n" for domain in ("one.test", "two.test"))
        lines = f"dbname moxy.db\nlogtype filelog\nlogfile_name moxy.log\n{LOG_LINES}"
        async with original(home, lines, table, {"TZ": "PST8"}) as process, connected(process.port) as client:
            before = int(time.time())
            assert all(
                reply.startswith("250") for reply in await client.begin(["ann@one.test", "bob@two.test"], SENDER)
            )
            assert (await client.data(sized(26138))).startswith("250")
            await until(process.records, "a line")
            seconds = range(before, int(time.time()) + 1)
            (line,) = process.records()
        rest = f"26138 bytes from <{SENDER}> [{LOOPBACK}] to [{destination.address}] for 'ann@one.test,bob@two.test'"
        assert line in {f"{written_as_on_the_page(second)}: {rest}" for second in seconds}
        for listing, name in (("from", SENDER), ("ip", LOOPBACK), ("dest", destination.address)):
            assert rows(home, listing) == [f"{name},26138,1"]


def sized(octets: int) -> bytes:
    """A message of so many octets."""
    head = b"Subject: counted\r\n\r\n"
    return head + b"x" * (octets - len(head) - 2) + b"\r\n"


def written_as_on_the_page(second: int) -> str:
    return datetime.fromtimestamp(second, PACIFIC).strftime("%d/%m/%y %H:%M:%S %z")


def rows(home: Path, listing: str) -> list[str]:
    """What moxylogalyze lists, which finds the log and its format by the configuration."""
    return tool("moxylogalyze", "--listby", listing, "--csv", "-c", home / "moxy.conf").splitlines()[1:]


@scenario
async def test_sys_and_gdbmlog_tells_the_daemon_and_adds_up_at_once(directory: Path, home: Path) -> None:
    """Moxy makes the file of totals, and moxystats reads it while Moxy runs."""
    async with running_destination() as destination:
        with BareSyslogd(directory / "log") as daemon:
            (directory / "log").chmod(0o777)
            log = f'[log.both]\nkind = "sys_and_gdbmlog"\npath = "{home}/totals.gdbm"\n'
            configuration, port = written(directory, f"one.test {destination.address}\n", log)
            configuration.write_text(f'syslog_socket = "{directory}/log"\n{configuration.read_text()}')
            async with running(configuration, port), connected(port) as client:
                for messages in (1, 2):
                    assert (await client.deliver(["ann@one.test"], CONTENT)).startswith("250")
                    expected = {destination.address: (messages * len(CONTENT), messages)}
                    await until(lambda expected=expected: totals(home / "totals.gdbm") == expected, "the totals")
            lines = daemon.received()
        assert [line.startswith(b"<22>") for line in lines] == [True, True]  # mail, info
        end = (
            f"{len(CONTENT)} bytes from <sender@client.test> [{LOOPBACK}] to [{destination.address}] for 'ann@one.test'"
        )
        assert all(line.decode().endswith(f": {end}") for line in lines)


# In a terminal, and with the system


@scenario
async def test_without_d_errors_are_seen_and_the_sender_learns_no_place(home: Path) -> None:
    dead = f"{LOOPBACK}:{free_port()}"
    async with original(home, "dbname moxy.db\n", f"one.test {dead}\n") as process, connected(process.port) as client:
        (reply,) = await client.begin(["ann@one.test"])
        assert reply.startswith("451 ")
        assert LOOPBACK not in reply
        assert "not_connected" in process.text()
        assert dead in process.text()


def test_chkconfig_finds_in_the_init_script_what_it_looks_for() -> None:
    """Run levels with 3 among them, places in the order of start and stop, and a description; before any command."""
    comments = re.match(r"(?:#.*\n)+", SCRIPT.read_text())
    assert comments
    found = re.search(r"^# chkconfig: (\d+) (\d+) (\d+)$", comments[0], re.MULTILINE)
    assert found
    assert "3" in found[1]
    assert all(0 <= int(place) <= 99 for place in found.groups()[1:])
    assert re.search(r"^# description: \S", comments[0], re.MULTILINE)


# Files that the original left


@pytest.mark.parametrize("nul", [False, True])
@scenario
async def test_gdbm_files_of_the_original_are_used_as_they_are(home: Path, nul: bool) -> None:
    """Whether who wrote them kept the NUL that ends a string of C or not; and totals go on where they stood."""
    async with running_destination() as destination:
        gdbmtool.store(home / "moxy.gdbm", {"one.test": destination.address}, nul=nul)
        gdbmtool.store(home / "totals.gdbm", {destination.address: "1000000"}, nul=nul)
        make_writable(home / "totals.gdbm")
        lines = "dbtype dbm\ndbname moxy.gdbm\nlogtype gdbmlog\nlogfile_name totals.gdbm\n"
        async with original(home, lines) as process, connected(process.port) as client:
            assert (await client.deliver(["ann@one.test"], CONTENT)).startswith("250")
        assert totals(home / "totals.gdbm") == {destination.address: (1_000_000 + len(CONTENT), 1)}


@pytest.mark.parametrize(
    ("magic", "words"),
    [
        (0x13579ACD, "File header assumes wrong off_t size"),
        (0xCE9A5713, "Byte-swapped file"),
    ],
)
def test_a_gdbm_file_of_another_kind_of_machine_is_told_and_made_anew(home: Path, magic: int, words: str) -> None:
    """The number at the start of a file tells on what machine it was made: here one of 32 bits, or of the other byte
    order.
    """
    compiled = home / "moxy.gdbm"
    configuration = configured(home, "dbtype dbm\ndbname moxy.gdbm\n", "one.test 127.0.0.1:2525\n", free_port())
    gdbmtool.store(compiled, {"one.test": "127.0.0.1:2525"})
    octets = bytearray(compiled.read_bytes())
    struct.pack_into("=I", octets, 0, magic)
    compiled.write_bytes(octets)
    for command in (["check"], []):
        done = moxy(*command, "-c", str(configuration))
        assert done.returncode == 1
        assert words in done.stderr.decode()
    tool("moxymakedbm", "-o", compiled, home / "moxy.db")
    assert moxy("check", "-c", str(configuration)).returncode == 0
