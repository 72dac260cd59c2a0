"""A worker's view: who may be concerned, notes that are settled before they are written, mail that never waits long."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import time

import pytest
from structlog.testing import capture_logs

from moxy.ledger import NoLedger, State, shared
from moxy.ledger import keeper as keeper_module
from moxy.ledger.database import opened
from moxy.ledger.shared import SharedLedger
from moxy.ledger.stamp import Stamp
from moxy.ledger.store import Store, Wanted
from moxy.net.steps import Steps
from support.ledgers import NOW, RECIPIENT, SENDER, entry, ledgers, program, until, written

PAIR = (SENDER, RECIPIENT)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture(autouse=True)
def _log():
    with capture_logs():
        yield


def there(path):
    """All entries in the file."""
    store = Store(path, 1000)
    try:
        return store.select(Wanted())
    finally:
        store.close()


async def calm(ledger):
    """It has opened the file, and knows what is in it."""
    await ledger.recall("", "")
    await until(lambda: not ledger.concerns("", ""), "a ledger that knows its file")


def test_whoever_has_written_all_know_and_nobody_else_is_concerned(path):
    async def main():
        async with ledgers(path, 3) as found:
            for ledger in found:
                await calm(ledger)
            await found[0].write([entry()])
            assert all(ledger.concerns(*PAIR) for ledger in found)
            for ledger in found:
                assert await ledger.recall(*PAIR) == [entry()]
                assert not ledger.concerns(SENDER, "eve@one.test")
                assert not ledger.concerns("", RECIPIENT)
                assert not ledger.concerns(RECIPIENT, SENDER)

    asyncio.run(main())


def test_nobody_who_is_concerned_is_ever_told_otherwise(path):
    """Several workers, in any order: as soon as a write has returned, nobody says False."""

    async def main():
        chance = random.Random(7)
        async with ledgers(path, 3) as found:
            for number in range(150):
                recipient = f"user{number}@one.test"
                await chance.choice(found).write([entry(recipient)])
                for ledger in found:
                    assert ledger.concerns(SENDER, recipient)
                    if chance.random() < 0.5:
                        assert await ledger.recall(SENDER, recipient) == [entry(recipient)]

    asyncio.run(main())


def test_what_is_settled_is_of_no_more_consequence_and_stays_to_be_seen(path):
    async def main():
        async with ledgers(path, 2) as (one, other):
            await one.write([entry(), entry("eve@one.test")])
            other.settle([entry()])
            assert await other.recall(*PAIR) == []
            assert await one.recall(*PAIR) == []
            assert not one.concerns(*PAIR)
            assert await one.recall(SENDER, "eve@one.test") == [entry("eve@one.test")]
        assert there(path) == [entry(state=State.CONFIRMED), entry("eve@one.test")]

    asyncio.run(main())


def test_a_later_state_takes_the_place_of_an_earlier_one(path):
    async def main():
        async with ledgers(path) as (ledger,):
            await ledger.write([entry(state=State.UNKNOWN)])
            await ledger.write([entry(state=State.UNDELIVERED, apart=True)])
            assert await ledger.recall(*PAIR) == [entry(state=State.UNDELIVERED)]

    asyncio.run(main())


def test_a_note_that_is_settled_in_time_is_never_written(path):
    async def main():
        async with ledgers(path) as (ledger,):
            await calm(ledger)
            ledger.note([entry(), entry("eve@one.test")])
            assert ledger.concerns(*PAIR)
            assert await ledger.recall(*PAIR) == [entry()]
            ledger.settle([entry(), entry("eve@one.test")])
            assert not ledger.concerns(*PAIR)
            assert await ledger.recall(*PAIR) == []
            await asyncio.sleep(2 * shared.NOTE_SECONDS)
        assert there(path) == []

    asyncio.run(main())


def test_a_note_is_written_soon(path):
    async def main():
        async with ledgers(path, 2) as (one, other):
            await calm(other)
            began = time.monotonic()
            one.note([entry()])
            await until(lambda: other.concerns(*PAIR), "the note")
            assert time.monotonic() - began < 20 * shared.NOTE_SECONDS
            assert await other.recall(*PAIR) == [entry()]

    asyncio.run(main())


def test_each_note_has_its_own_time(path, monkeypatch):
    async def main():
        async with ledgers(path, 2) as (one, other):
            await calm(other)
            one.note([entry()])
            monkeypatch.setattr(shared, "NOTE_SECONDS", 60)
            one.note([entry("eve@one.test")])
            await until(lambda: other.concerns(*PAIR), "the first note")
            assert await other.recall(SENDER, "eve@one.test") == []
            one.settle([entry("eve@one.test")])
        assert there(path) == [entry()]

    asyncio.run(main())


def test_a_note_that_is_written_otherwise_is_not_written_as_it_was(path):
    async def main():
        async with ledgers(path) as (ledger,):
            ledger.note([entry(apart=False)])
            await ledger.write([entry(apart=True), entry("eve@one.test", State.UNDELIVERED)])
            assert await ledger.recall(*PAIR) == [entry(apart=True)]
            await asyncio.sleep(2 * shared.NOTE_SECONDS)
            assert await ledger.recall(*PAIR) == [entry(apart=True)]

    asyncio.run(main())


def test_of_two_notes_the_later_one_counts(path):
    async def main():
        async with ledgers(path) as (ledger,):
            ledger.note([entry(apart=False)])
            ledger.note([entry(apart=True)])
            assert await ledger.recall(*PAIR) == [entry(apart=True)]
        assert there(path) == [entry(apart=True)]

    asyncio.run(main())


def test_what_was_written_and_is_noted_is_told_once_and_as_noted(path):
    async def main():
        async with ledgers(path) as (ledger,):
            await ledger.write([entry(state=State.UNKNOWN), entry(digest=2)])
            ledger.note([entry()])
            assert sorted(await ledger.recall(*PAIR), key=repr) == sorted([entry(), entry(digest=2)], key=repr)

    asyncio.run(main())


def test_what_is_settled_while_it_is_being_written_is_settled(path):
    """The note's time has come, and before it is in the file the sender has the truth."""

    async def main():
        async with ledgers(path) as (ledger,):
            await calm(ledger)
            for number in range(30):
                one = entry(digest=number)
                ledger.note([one])
                await until(lambda: not ledger._noted, "the note to be on its way")
                ledger.settle([one])
            assert await ledger.recall(*PAIR) == []
        assert {one.state for one in there(path)} == {State.CONFIRMED}

    asyncio.run(main())


def test_what_is_on_its_way_to_the_file_is_known_and_waited_for(path):
    """Somebody may have written it and not waited: and the sender is there again at once."""

    async def main():
        async with ledgers(path) as (ledger,):
            await calm(ledger)
            for number in range(30):
                recipient = f"user{number}@one.test"
                writing = asyncio.ensure_future(ledger.write([entry(recipient)]))
                await asyncio.sleep(0)
                assert ledger.concerns(SENDER, recipient)
                assert not ledger.concerns(SENDER, "eve@one.test") or ledger._stamp[0] != ledger._keeper.seen
                assert await ledger.recall(SENDER, recipient) == [entry(recipient)]
                await writing
            for number in range(30):
                one = entry(f"other{number}@one.test")
                ledger.note([one])
                await until(lambda: not ledger._noted, "the note to be on its way")
                assert ledger.concerns(*one.key[1:3])
            await written(ledger)
            assert ledger._coming == {}

    asyncio.run(main())


def test_what_is_noted_is_written_at_the_end(path):
    async def main():
        async with ledgers(path) as (ledger,):
            ledger.note([entry()])
        ledger.note([entry(digest=2)])
        ledger.settle([entry()])
        await ledger.write([entry(digest=3)])
        assert await ledger.recall(*PAIR) == []
        assert not ledger.concerns(*PAIR)
        ledger.close()

    asyncio.run(main())
    assert there(path) == [entry()]


def test_nothing_to_be_written_is_nothing_to_be_waited_for(path):
    async def main():
        async with ledgers(path) as (ledger,):
            with pytest.raises(StopIteration):
                ledger.write([]).send(None)

    asyncio.run(main())


class Stepping(Steps):
    """A coroutine outside of any task, as those of conversations are."""

    outcome = None

    def done(self, result):
        self.outcome = result

    def failed(self, error):
        self.outcome = error


def test_it_can_be_awaited_outside_of_a_task(path):
    async def main():
        async with ledgers(path) as (ledger,):

            async def write_and_recall():
                await ledger.write([entry()])
                return await ledger.recall(*PAIR)

            steps = Stepping(write_and_recall())
            steps()
            await until(lambda: steps.outcome is not None, "its end")
            assert steps.outcome == [entry()]

    asyncio.run(main())


def test_who_cannot_be_answered_goes_on_after_a_while(path, monkeypatch):
    async def main():
        async with ledgers(path) as (ledger,):
            await calm(ledger)
            monkeypatch.setattr(shared, "PATIENCE_SECONDS", 0.1)
            failures = ledger.failures
            holder = opened(path).connection  # for half a second
            holder.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            await ledger.write([entry()])
            assert 0.09 < time.monotonic() - began < 0.4
            for _ in range(100):  # nobody else waits
                assert await ledger.recall(*PAIR) == [entry()]
                assert await ledger.recall(SENDER, "eve@one.test") == []
                await ledger.write([entry("dan@one.test")])
            assert time.monotonic() - began < 0.45
            assert ledger.failures == failures + 201  # a look at what the file cannot have needs no file
            holder.execute("ROLLBACK")
            holder.close()
            await until(lambda: not ledger._coming, "what was late")
            assert await ledger.recall(*PAIR) == [entry()]
        assert there(path) == [entry(), entry("dan@one.test")]

    asyncio.run(main())


def trouble(logs):
    return [line for line in logs if line["event"].startswith("ledger")]


def test_trouble_is_told_once_and_counted_and_mail_goes_on(path, monkeypatch):
    monkeypatch.setattr(keeper_module, "RETRY_SECONDS", 0.02)
    path.mkdir()

    async def main():
        async with ledgers(path) as (ledger,):
            with capture_logs() as logs:
                for number in range(20):
                    await ledger.write([entry(digest=number)])
                    assert await ledger.recall(*PAIR) == []
                    assert not ledger.concerns(*PAIR)
                    await asyncio.sleep(0.005)
                assert ledger.failures >= 20
                (line,) = trouble(logs)
                assert (line["event"], line["file"], line["log_level"]) == ("ledger_failed", str(path), "warning")
                assert "unable to open database file" in line["error"]
                path.rmdir()
                await until(lambda: len(trouble(logs)) > 1, "the end of the trouble")
                assert trouble(logs)[1]["event"] == "ledger_works_again"
                assert len(await ledger.recall(*PAIR)) == 20

    asyncio.run(main())


def test_trouble_that_goes_on_is_told_again_every_minute(path, monkeypatch):
    monkeypatch.setattr(keeper_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(shared, "QUIET_SECONDS", 0.1)
    path.mkdir()

    async def main():
        async with ledgers(path):
            with capture_logs() as logs:
                await until(lambda: len(trouble(logs)) > 2, "two more lines")

    asyncio.run(main())


def test_damage_is_told(path):
    path.write_bytes(b"SQLite format 3\0" + b"garbage" * 1000)

    async def main():
        with capture_logs() as logs:
            async with ledgers(path) as (ledger,):
                await calm(ledger)
                assert ledger.failures == 1
        (line,) = trouble(logs)
        assert (line["event"], line["kept"]) == ("ledger_damaged", f"{path}.damaged")

    asyncio.run(main())


def test_without_a_thread_mail_goes_on(path, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(keeper_module.Keeper, "start", refuse)

    async def main():
        async with ledgers(path) as (ledger,):
            assert ledger.failures == 1
            await ledger.write([entry()])
            ledger.note([entry()])
            ledger.settle([entry()])
            assert not ledger.concerns(*PAIR)
            assert await ledger.recall(*PAIR) == []

    asyncio.run(main())


def test_no_more_waits_for_a_disk_that_hangs_than_the_bound(path, monkeypatch):
    monkeypatch.setattr(shared, "BACKLOG", 10)

    async def main():
        async with ledgers(path) as (ledger,):
            await calm(ledger)
            monkeypatch.setattr(shared, "PATIENCE_SECONDS", 0.05)
            holder = sqlite3.connect(path, isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            failures = ledger.failures
            await asyncio.gather(*(ledger.write([entry(digest=number)]) for number in range(100)))
            assert ledger.failures == failures + 100
            assert ledger._keeper.jobs.qsize() <= 11
            holder.execute("ROLLBACK")
            holder.close()
            await until(lambda: ledger._under_way == 0, "what was under way")
            await ledger.write([entry(digest=500)])
        assert len(there(path)) == 12

    asyncio.run(main())


def test_a_disk_that_hangs_does_not_keep_a_process_from_its_end(path, monkeypatch):
    monkeypatch.setattr(shared, "CLOSE_SECONDS", 0.05)

    async def main():
        async with ledgers(path) as (ledger,):
            await calm(ledger)
            holder = sqlite3.connect(path, isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            ledger.note([entry()])
            failures = ledger.failures
            ledger.close()
            assert ledger.failures == failures + 1
            holder.execute("ROLLBACK")
            holder.close()
            ledger._keeper.join()

    asyncio.run(main())


WORKER = """
import asyncio, json, os, random, sys
from pathlib import Path
from moxy.ledger.shared import SharedLedger
from moxy.ledger.stamp import Stamp
from support.ledgers import SENDER, entry

path, workers, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
stamp = Stamp()

async def work(name, reading, writing):
    loop = asyncio.get_running_loop()
    ledger = SharedLedger(path, stamp, loop, hours=10**9, entries=10_000)
    lines = os.fdopen(reading)
    for number in range(rounds):
        await ledger.write([entry(f"{name}-{number}@one.test")])
        os.write(writing, f"{name}-{number}@one.test\\n".encode())
        told = lines.readline().strip()  # what another has written before
        assert ledger.concerns(SENDER, told), told
        assert len(await ledger.recall(SENDER, told)) == 1, told
    ledger.close()
    return ledger.failures

children = []
pipes = [os.pipe() for _ in range(workers)]
for number in range(workers):
    child = os.fork()
    if child == 0:
        failures = asyncio.run(work(number, pipes[number][0], pipes[(number + 1) % workers][1]))
        os._exit(min(failures, 100))
    children.append(child)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""


def test_several_processes_see_what_the_others_have_written(path):
    process = program(WORKER, path, 3, 100)
    told, complaints = process.communicate(timeout=60)
    assert json.loads(told) == [0, 0, 0], complaints.decode()
    assert len(there(path)) == 300


WRITER = """
import asyncio, os, sys
from pathlib import Path
from moxy.ledger.shared import SharedLedger
from moxy.ledger.stamp import Stamp
from support.ledgers import entry

async def main():
    ledger = SharedLedger(Path(sys.argv[1]), Stamp(), asyncio.get_running_loop(), hours=10**9, entries=10_000)
    for number in range(10_000):
        await ledger.write([entry(digest=number)])
        os.write(1, b"x")

asyncio.run(main())
"""


@pytest.mark.parametrize("written", [1, 40])
def test_what_a_killed_worker_has_written_is_read_by_the_next(path, written):
    process = program(WRITER, path)
    for _ in range(written):
        assert process.stdout.read(1) == b"x"
    os.kill(process.pid, signal.SIGKILL)
    told = written + len(process.communicate()[0])

    async def main():
        async with ledgers(path, entries=10_000) as (ledger,):
            known = await ledger.recall(*PAIR)
            assert len(known) >= told
            assert ledger.failures == 0

    asyncio.run(main())


FULL = """
import asyncio, json, resource, sys
from pathlib import Path
from structlog.testing import capture_logs
from support.ledgers import SENDER, entry, ledgers, until

def room(octets):
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, resource.RLIM_INFINITY))

async def main():
    async with ledgers(Path(sys.argv[1]), 2) as (one, other):
        await one.write([entry(digest=0)])
        with capture_logs() as logs:
            room(40_000)
            for number in range(1, 60):
                await one.write([entry(digest=number)])
                other.note([entry(f"user{number}@one.test")])
            failures = one.failures
            room(resource.RLIM_INFINITY)
            await until(lambda: logs[-1]["event"] == "ledger_works_again", "the end of the trouble")
        await one.write([entry(digest=60)])
        print(json.dumps([failures > 0, logs[0]["event"], len(await one.recall(SENDER, "bob@one.test"))]))

asyncio.run(main())
"""


def test_a_full_disk_holds_up_nobody_and_what_found_no_room_is_written_later(path):
    process = program(FULL, path)
    told, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints.decode()
    assert json.loads(told) == [True, "ledger_failed", 61]


def test_entries_are_kept_for_so_many_hours(path):
    async def main():
        async with ledgers(path, hours=2, now=NOW) as (ledger,):
            await ledger.write([entry(digest=1, time=NOW - 7000), entry(digest=2, time=NOW - 7400)])
        async with ledgers(path, hours=2, now=NOW) as (ledger,):
            await until(lambda: ledger._keeper._expire_at, "the expiry")
            assert await ledger.recall(*PAIR) == [entry(digest=1, time=NOW - 7000)]

    asyncio.run(main())


def test_the_ledger_that_remembers_nothing_does_so_at_once():
    ledger = NoLedger()
    ledger.note([entry()])
    ledger.settle([entry()])
    assert not ledger.concerns(*PAIR)
    for coroutine, expected in ((ledger.recall(*PAIR), []), (ledger.write([entry()]), None)):
        with pytest.raises(StopIteration) as stop:
            coroutine.send(None)
        assert stop.value.value == expected
    ledger.close()
    assert ledger.failures == 0


def test_a_ledger_of_another_loop_is_no_trouble_when_that_is_closed(path):
    loop = asyncio.new_event_loop()
    ledger = SharedLedger(path, Stamp(), loop, hours=72, entries=10)
    loop.run_until_complete(ledger.write([entry()]))
    ledger.settle([entry()])
    loop.close()
    ledger.close()
    assert there(path) == [entry(state=State.CONFIRMED)]
