"""The accounts agree: what destinations say they took, `filelog` with moxylogalyze, and `gdbmlog` with moxystats.

Ten thousand messages through two workers to two destinations that refuse, close and hang up now and then; then some
thousand with workers killed by SIGKILL, which may cost what was not written yet, and no more.

Every message has a size of its own, so that a size and a destination name one delivery.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moxy.cli.campaign import Campaign
from moxy.cli.sending import carry_out
from support.destination import Act, Destination, Phase, running_destination
from support.directories import is_root, make_writable
from support.moxy_commands import moxy as command
from support.moxy_process import Moxy
from support.ports import LOOPBACK, free_port
from support.scenario import until

pytestmark = pytest.mark.slow

MESSAGES = 10_000
MESSAGES_AROUND_KILLS = 4_000
KILLS = 3
LINES_SECONDS = 0.3
TOTALS_SECONDS = 1.5
"""How old a delivery is at most that a killed worker forgets: filelog writes after 0.05 s, gdbmlog after 0.25 s and its
rest; both on a busy machine.
"""


class Taken(list):
    """A destination's messages, each with the moment when it was taken."""

    def __init__(self):
        super().__init__()
        self.moments = []

    def append(self, message):
        self.moments.append(time.monotonic())
        super().append(message)

    def sizes(self):
        """The octets of each message without our trace field, which is not counted (contract T54)."""
        return [len(message.below_trace) for message in self]


def every(number, answer, otherwise):
    """An answer that is `answer` each `number` times."""
    asked = itertools.count(1)
    return lambda line: answer if next(asked) % number == 0 else otherwise


def troublesome(destination):
    """Let the destination fail now and then, in every phase."""
    good = dict(destination.answers)
    for phase, number, answer in (
        (Phase.MAIL, 301, "421 4.3.2 not now"),
        (Phase.RCPT, 53, "550 5.1.1 nobody"),
        (Phase.DATA, 97, "451 4.3.0 later"),
        (Phase.FINAL, 41, "554 5.6.0 no"),
    ):
        destination.answers[phase] = every(number, answer, good[phase])
    finals = destination.answers[Phase.FINAL]
    destination.answers[Phase.FINAL] = every(173, Act.CLOSE, None)
    closing = destination.answers[Phase.FINAL]
    destination.answers[Phase.FINAL] = lambda line: closing(line) or finals(line)
    destination.messages = Taken()


@asynccontextmanager
async def troubled(directory):
    """A Moxy of two workers with all logs, before two troublesome destinations."""
    async with running_destination() as one, running_destination() as two:
        troublesome(one)
        troublesome(two)
        configuration, port = configured(directory, one, two)
        with Moxy(configuration, port) as moxy:
            await asyncio.to_thread(moxy.wait_for_greeting, port)
            yield moxy, one, two
            assert await asyncio.to_thread(moxy.stop) == 0
    assert "Traceback" not in moxy.text()


def configured(directory, one, two):
    home = directory / "log"
    home.mkdir()
    make_writable(home)
    port = free_port()
    (directory / "moxy.db").write_text(f"one.test {one.address}\ntwo.test {two.address}\n")
    runas = 'runas = "nobody"\n' if is_root() else ""
    configuration = directory / "moxy.toml"
    configuration.write_text(
        f'hostname = "mx.moxy.test"\nworkers = 2\n{runas}[listener.mx]\nlisten = ["{LOOPBACK}:{port}"]\n'
        '[routes.table]\nkind = "file"\npath = "moxy.db"\n'
        '[log.lines]\nkind = "filelog"\npath = "log/lines"\n[log.totals]\nkind = "gdbmlog"\npath = "log/totals"\n'
    )
    return configuration, port


async def send(port, messages):
    """Send so many messages, to one destination or both; half of the connections take one message, half many."""
    sizes = itertools.count(100)
    campaigns = [
        Campaign(
            server=(LOOPBACK, port),
            hello="client.test",
            reverse_path="ann@client.test",
            recipients=recipients,
            count=messages // 4,
            concurrency=5,
            per_connection=per_connection,
        )
        for recipients, per_connection in (
            (("bob@one.test",), 1),
            (("eve@two.test", '"a, b"@two.test'), 50),
            (("bob@one.test", "eve@two.test"), 50),
            (("eve@two.test", "bob@one.test"), 1),
        )
    ]
    outcomes = []
    sending = [carry_out(campaign, lambda: content(next(sizes)), outcomes.append, None) for campaign in campaigns]
    await asyncio.gather(*sending)
    assert len(outcomes) == messages
    return outcomes


def content(size):
    """A message of so many octets, with a line that must be dot-stuffed."""
    head = b"Subject: counted\r\n\r\n.\r\n"
    return head + b"x" * (size - len(head) - 2) + b"\r\n"


def in_lines(directory):
    """The deliveries that the filelog tells of: destination and size."""
    lines = (directory / "log" / "lines").read_text().splitlines()
    return [(line.split("] to [")[1].split("]")[0], int(line.split(": ")[1].split()[0])) for line in lines]


def shown(program, *words):
    """The totals for each destination that a tool shows."""
    result = command(program, "--json", *words)
    assert result.returncode == 0, result.stderr
    (rows,) = [value for value in json.loads(result.stdout).values() if isinstance(value, list)]
    return {row["destination"]: (row["octets"], row["messages"]) for row in rows}


def totals(deliveries):
    """The same of a list of deliveries."""
    found = {}
    for destination, size in deliveries:
        octets, messages = found.get(destination, (0, 0))
        found[destination] = (octets + size, messages + 1)
    return found


def taken(*destinations: Destination):
    return [(destination.address, size) for destination in destinations for size in destination.messages.sizes()]


def test_all_accounts_agree_to_the_octet_whatever_fails(directory: Path) -> None:
    async def scenario():
        async with troubled(directory) as (moxy, one, two):
            outcomes = await send(moxy.port, MESSAGES)
            assert sum(outcome.accepted for outcome in outcomes) > MESSAGES / 2
            assert sum(not outcome.accepted for outcome in outcomes) > MESSAGES / 50
        return taken(one, two)

    deliveries = asyncio.run(scenario())
    assert len(deliveries) == len(set(deliveries)) > MESSAGES
    assert sorted(in_lines(directory)) == sorted(deliveries)
    assert shown("stats", str(directory / "log" / "totals")) == totals(deliveries)
    assert shown("logalyze", "--listby", "dest", str(directory / "log" / "lines")) == totals(deliveries)


def test_a_killed_worker_costs_what_it_had_not_written_and_no_more(directory: Path) -> None:
    async def scenario():
        async with troubled(directory) as (moxy, one, two):
            kills = []
            sending = asyncio.ensure_future(send(moxy.port, MESSAGES_AROUND_KILLS))
            for number in range(1, KILLS + 1):
                held = number * MESSAGES_AROUND_KILLS // (KILLS + 1)
                await until(lambda held=held: len(one.messages) + len(two.messages) > held, "a time to kill", 60)
                worker = moxy.workers()[number % 2]
                os.kill(worker, signal.SIGKILL)
                kills.append(time.monotonic())
                await until(
                    lambda worker=worker: worker not in moxy.workers() and len(moxy.workers()) == 2, "another", 60
                )
            await sending
        return taken(one, two), *(young(kills, seconds, one, two) for seconds in (LINES_SECONDS, TOTALS_SECONDS))

    deliveries, young_for_lines, young_for_totals = asyncio.run(scenario())
    recorded = in_lines(directory)
    assert len(recorded) == len(set(recorded)), "a delivery is told twice"
    assert set(recorded) <= set(deliveries), "a delivery is told that was none"
    assert set(deliveries) - set(recorded) <= young_for_lines, "more is forgotten than was unwritten"
    assert shown("logalyze", "--listby", "dest", str(directory / "log" / "lines")) == totals(recorded)
    counted, least = shown("stats", str(directory / "log" / "totals")), totals(set(deliveries) - young_for_totals)
    for destination, (octets, messages) in totals(deliveries).items():
        assert least[destination][0] <= counted[destination][0] <= octets
        assert least[destination][1] <= counted[destination][1] <= messages


def young(kills, seconds, *destinations):
    """The deliveries that were so young at a kill. A moment after one, too: what was under way still arrives."""
    return {
        (destination.address, size)
        for destination in destinations
        for size, moment in zip(destination.messages.sizes(), destination.messages.moments, strict=True)
        if any(-0.1 < kill - moment < seconds for kill in kills)
    }
