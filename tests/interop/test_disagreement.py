"""Destinations that disagree, with real clients: in the end their own logs have the truth about each recipient.

What a log calls `sent` is held by its destination exactly once; what it calls `bounced` is held by nobody, and the
reason is what that destination said. (`support/disagreement.py` has the cases.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.disagreement import CONTENT, SENDER, Case, Script, cases, pairs, triples
from support.exim import EximClient
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.ports import LOOPBACK, free_port
from support.postfix import PostfixClient
from support.scripted import scripted_destinations

pytestmark = pytest.mark.interop

SECTIONS = """\
[timeouts]
final = "1s"
[listener.lmtp]
listen = ["127.0.0.1:{lmtp}"]
protocol = "lmtp"
"""

ENOUGH = 30.0
"""Seconds after which Postfix must be through."""

ROUNDS = 12
"""Attempts after which nobody may be left. A recipient alone needs two, and waits for those who are asked before."""


@contextmanager
def moxy_with(
    directory: Path, scripts: Sequence[tuple[Script, ...]], lmtp: int | None = None
) -> Iterator[tuple[Moxy, list[Case]]]:
    """A Moxy with scripted destinations for each of these cases. It speaks LMTP on the port of that name."""
    with scripted_destinations(sum(map(len, scripts))) as destinations:
        made = cases(scripts, destinations)
        sections = SECTIONS.format(lmtp=lmtp or free_port())
        with running(*written(directory, "".join(case.table() for case in made), sections)) as moxy:
            yield moxy, made


def by_postfix(
    directory: Path, moxy: Moxy, made: Sequence[Case], settings: Mapping[str, str] | None = None
) -> list[str]:
    """Have Postfix deliver every case; what is wrong afterwards."""
    with PostfixClient(directory, moxy.port, "sender.test", settings) as postfix:
        ids = [postfix.take(SENDER, case.recipients, CONTENT) for case in made]
        postfix.deliver_all(ENOUGH)
        told = postfix.verdicts()
    return [complaint for case, message in zip(made, ids, strict=True) for complaint in case.complaints(told[message])]


def by_exim(directory: Path, moxy: Moxy, made: Sequence[Case], *, prdr: bool = False) -> list[str]:
    """Have Exim deliver every case; what is wrong afterwards."""
    exim = EximClient(directory, moxy.port, "sender.test", prdr=prdr)

    def deliver(case: Case) -> str:
        message = exim.take(SENDER, case.recipients, CONTENT)
        for _ in range(ROUNDS):
            if exim.has(message):
                exim.attempt(message)
        return message

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(deliver, made))
    told = exim.verdicts()
    return [complaint for case, message in zip(made, ids, strict=True) for complaint in case.complaints(told[message])]


def test_each_recipient_of_two_ends_with_the_truth_in_postfixs_log(directory: Path) -> None:
    with moxy_with(directory, list(pairs())) as (moxy, made):
        assert by_postfix(directory, moxy, made) == []


def test_each_recipient_of_three_ends_with_the_truth_in_postfixs_log(directory: Path) -> None:
    with moxy_with(directory, list(triples())) as (moxy, made):
        assert by_postfix(directory, moxy, made) == []


def test_each_recipient_of_two_ends_with_the_truth_in_the_log_of_postfixs_lmtp_client(directory: Path) -> None:
    lmtp = free_port()
    settings = {"relayhost": "", "default_transport": f"lmtp:inet:{LOOPBACK}:{lmtp}"}
    with moxy_with(directory, list(pairs()), lmtp) as (moxy, made):
        assert by_postfix(directory, moxy, made, settings) == []


@pytest.mark.parametrize("prdr", [False, True], ids=["plain", "PRDR"])
def test_each_recipient_of_two_ends_with_the_truth_in_exims_log(directory: Path, prdr: bool) -> None:
    with moxy_with(directory, list(pairs())) as (moxy, made):
        assert by_exim(directory, moxy, made, prdr=prdr) == []


@pytest.mark.parametrize("prdr", [False, True], ids=["plain", "PRDR"])
def test_each_recipient_of_three_ends_with_the_truth_in_exims_log(directory: Path, prdr: bool) -> None:
    with moxy_with(directory, list(triples())) as (moxy, made):
        assert by_exim(directory, moxy, made, prdr=prdr) == []
