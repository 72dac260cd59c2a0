"""Exim as the client: it asks for a verdict for each recipient (PRDR), and takes 452 as a wish to be asked anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.destination import Destination, Phase
from support.exim import EximClient
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.ports import LOOPBACK, free_port
from support.scripted import scripted_destinations

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
CONTENT = b"From: sender@sender.test\r\nSubject: through Exim\r\n\r\nHello.\r\n.\r\n..\r\n".replace(b"\r\n.", b"\r\n..")
RECIPIENTS = ["ann@one.test", "bob@two.test", "eve@three.test"]
NO = "554 5.7.1 not such content"
LATER = "451 4.7.1 that is for tomorrow"


@dataclass(frozen=True)
class Stage:
    """Exim, a Moxy, and a destination for each domain."""

    exim: EximClient
    moxy: Moxy
    one: Destination
    two: Destination
    three: Destination

    def attempt(self) -> dict[str, tuple[str, str]]:
        """Have Exim try to deliver one message to all three, once; what its log says then."""
        message = self.exim.take(SENDER, RECIPIENTS, CONTENT)
        self.exim.attempt(message)
        return self.exim.verdicts()[message]


@contextmanager
def stage(directory: Path, sections: str = "", *, prdr: bool = True) -> Iterator[Stage]:
    with scripted_destinations(3) as (one, two, three):
        table = f"one.test {one.address}\ntwo.test {two.address}\nthree.test {three.address}\n"
        top, _, below = sections.rpartition("\n\n")
        configuration, port = written(directory, table, below)
        configuration.write_text(f"{top}\n{configuration.read_text()}")
        with running(configuration, port) as moxy:
            yield Stage(EximClient(directory, port, "sender.test", prdr=prdr), moxy, one, two, three)


def transactions(*destinations: Destination) -> list[int]:
    """How many transactions reached content at each."""
    return [len(destination.commands("DATA")) for destination in destinations]


def test_mixed_verdicts_are_told_in_one_go(directory: Path) -> None:
    with stage(directory) as there:
        there.one.answers[Phase.FINAL] = NO
        there.three.answers[Phase.FINAL] = LATER
        told = there.attempt()
        assert {recipient: status for recipient, (status, _) in told.items()} == {
            "ann@one.test": "bounced",
            "bob@two.test": "sent",
            "eve@three.test": "deferred",
        }
        assert told["ann@one.test"][1].endswith(NO)
        assert told["eve@three.test"][1].endswith(LATER)
        assert transactions(there.one, there.two, there.three) == [1, 1, 1]
        assert "4.3.0" not in there.exim.log()


def test_who_was_put_off_is_asked_alone_and_nobody_has_two(directory: Path) -> None:
    with stage(directory) as there:
        there.one.answers[Phase.FINAL] = NO
        there.three.answers[Phase.FINAL] = LATER
        there.attempt()
        there.three.answers[Phase.FINAL] = "250 2.0.0 now"
        there.exim.run_queue()
        assert there.exim.queue() == []
        assert [len(destination.messages) for destination in (there.one, there.two, there.three)] == [0, 1, 1]
        assert transactions(there.one, there.two, there.three) == [1, 1, 2]


@pytest.mark.parametrize("other", [LATER, NO.replace("554", "550").replace("not such", "no such")])
def test_each_has_its_own_reason_where_nobody_accepts(directory: Path, other: str) -> None:
    """Exim gives everybody the words of a final 5xx, also those with a 4xx of their own (seen with 4.96)."""
    with stage(directory) as there:
        there.one.answers[Phase.FINAL] = NO
        there.two.answers[Phase.FINAL] = other
        there.three.answers[Phase.FINAL] = NO
        told = there.attempt()
        assert told["ann@one.test"][1].endswith(NO)
        assert told["bob@two.test"][1].endswith(other)
        assert told["eve@three.test"][1].endswith(NO)
        assert told["bob@two.test"][0] == ("deferred" if other == LATER else "bounced")


def test_what_was_accepted_is_octet_for_octet_the_same_everywhere(directory: Path) -> None:
    with stage(directory) as there:
        assert {status for status, _ in there.attempt().values()} == {"sent"}
        copies = [message for place in (there.one, there.two, there.three) for message in place.messages]
        assert len(copies) == 3
        assert len({message.below_trace for message in copies}) == 1
        assert copies[0].content.endswith(b"Hello.\r\n.\r\n..\r\n")


def test_without_prdr_a_disagreement_is_settled_one_by_one(directory: Path) -> None:
    """The first attempt ends with 451 for all, and then each attempt is for one.

    Recipients put off by 452 in place of 451 would share the fate of the others: after a 5xx to content Exim 4.96
    bounces them too.
    """
    with stage(directory, prdr=False) as there:
        there.two.answers[Phase.FINAL] = NO
        told = there.attempt()
        assert {status for status, _ in told.values()} == {"deferred"}
        there.exim.deliver_all()
        (told,) = (told for told in there.exim.verdicts().values() if "ann@one.test" in told)
        assert [told[recipient][0] for recipient in RECIPIENTS] == ["sent", "bounced", "sent"]
        assert told["bob@two.test"][1].endswith(NO)
        assert [len(destination.messages) for destination in (there.one, there.two, there.three)] == [1, 0, 1]


def test_a_client_that_goes_on_to_the_next_address_at_once_meets_the_same_memory(directory: Path) -> None:
    """With several addresses Exim, and Postfix too, take 451 after the dot as a reason to try the next, within ms."""
    with scripted_destinations(2) as (one, two):
        two.answers[Phase.FINAL] = NO
        port = free_port()
        addresses = [LOOPBACK, "127.0.0.2"]
        further = f'[listener.further]\nlisten = ["{addresses[1]}:{port}"]\n'
        with running(*written(directory, f"one.test {one.address}\ntwo.test {two.address}\n", further, port)):
            exim = EximClient(directory, port, "sender.test", prdr=False, relay=addresses)
            message = exim.take(SENDER, RECIPIENTS[:2], CONTENT)
            exim.attempt(message)
            told = exim.verdicts()[message]
            assert [told[recipient][0] for recipient in RECIPIENTS[:2]] == ["sent", "deferred"]
            exim.run_queue()
            told = exim.verdicts()[message]
            assert [told[recipient][0] for recipient in RECIPIENTS[:2]] == ["sent", "bounced"]
            assert told["bob@two.test"][1].endswith(NO)
            assert [len(one.messages), len(two.messages)] == [1, 0]


def test_with_spread_first_each_destination_has_a_transaction_of_its_own(directory: Path) -> None:
    with stage(directory, 'spread = "first"\n\n', prdr=False) as there:
        there.two.answers[Phase.FINAL] = NO
        told = there.attempt()
        assert [told[recipient][0] for recipient in RECIPIENTS] == ["sent", "deferred", "deferred"]
        there.exim.deliver_all()
        (told,) = (told for told in there.exim.verdicts().values() if "ann@one.test" in told)
        assert [told[recipient][0] for recipient in RECIPIENTS] == ["sent", "bounced", "sent"]
        assert told["bob@two.test"][1].endswith(NO)
        assert transactions(there.one, there.two, there.three) == [1, 1, 1]
