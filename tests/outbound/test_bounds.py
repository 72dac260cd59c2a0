"""How many recipients a destination takes: what it announces with LIMITS is kept to, and nobody is lost (RFC 9422)."""

from __future__ import annotations

import pytest

from moxy.outbound.settings import Settings
from moxy.smtp import replies
from support.destination import Destination, Phase, running_destination
from support.outbound import Outbound, recipients, running_outbound, texts
from support.scenario import scenario

ONE_CONNECTION = Settings(connections=1)


def announce(destination: Destination, limits: str) -> None:
    destination.answers[Phase.EHLO] = f"250-d.test\r\n250-PIPELINING\r\n250 LIMITS {limits}"


async def asked(outbound: Outbound, port: int, *addresses: str) -> list[str]:
    """The answers to recipients asked one after the other; the transaction is given up then."""
    delivery = outbound.open(outbound.to(port))
    answers = [await delivery.rcpt(recipient) for recipient in recipients(*addresses)]
    delivery.abort()
    return texts(answers)


OK = "250 2.1.5 recipient fine"
TOO_MANY = "452 4.5.3 Too many recipients, please send the others after"
TOO_MANY_DOMAINS = "451 4.5.3 Too many domains, please send the others after"


@scenario
async def test_recipients_beyond_rcptmax_are_told_to_come_after() -> None:
    async with running_destination() as destination, running_outbound(ONE_CONNECTION) as outbound:
        announce(destination, "RCPTMAX=2")
        addresses = ["a@one.test", "b@one.test", "c@one.test", "d@one.test"]
        assert await asked(outbound, destination.port, *addresses) == [OK, OK, TOO_MANY, TOO_MANY]
        assert len(destination.commands("RCPT")) == 2
        assert await asked(outbound, destination.port, *addresses[2:]) == [OK, OK]
        assert len(destination.talks) == 1


@scenario
async def test_refused_ones_count_too() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        announce(destination, "RCPTMAX=2")
        destination.answers[Phase.RCPT] = lambda line: "550 5.1.1 no" if "<b@" in line else OK
        answers = await asked(outbound, destination.port, "a@one.test", "b@one.test", "c@one.test")
        assert answers == [OK, "550 5.1.1 no", TOO_MANY]


@scenario
async def test_where_all_were_refused_the_next_one_is_asked_in_a_new_transaction() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        announce(destination, "RCPTMAX=2")
        destination.answers[Phase.RCPT] = lambda line: OK if "<c@" in line else "550 5.1.1 no"
        answers = await asked(outbound, destination.port, "a@one.test", "b@one.test", "c@one.test")
        assert answers == ["550 5.1.1 no", "550 5.1.1 no", OK]
        assert len(destination.commands("MAIL")) == 2


@scenario
async def test_a_parked_transaction_comes_back_with_all_that_it_had() -> None:
    async with running_destination() as destination, running_outbound(ONE_CONNECTION) as outbound:
        announce(destination, "RCPTMAX=2 RCPTDOMAINMAX=1")
        delivery = outbound.open(outbound.to(destination.port))
        for recipient in recipients("a@one.test", "b@one.test"):
            await delivery.rcpt(recipient)
        assert delivery.park()
        assert texts([await delivery.rcpt(recipients("c@one.test")[0])]) == [TOO_MANY]
        assert (await delivery.data()).code == 354
        delivery.write(b"text\r\n")
        await delivery.finish(5)
        assert destination.messages[0].recipients == ("a@one.test", "b@one.test")


@scenario
async def test_a_host_that_takes_fewer_than_were_accepted_elsewhere_gets_no_content() -> None:
    async with running_destination() as destination, running_outbound(ONE_CONNECTION) as outbound:
        delivery = outbound.open(outbound.to(destination.port))
        for recipient in recipients("a@one.test", "b@one.test"):
            assert (await delivery.rcpt(recipient)).positive
        assert delivery.park()
        destination.talks[0].act("421 4.3.2 restarting")
        announce(destination, "RCPTMAX=1")
        assert await delivery.data() == replies.TOO_MANY_RECIPIENTS
        delivery.abort()
        assert len(destination.commands("RCPT")) == 2


@scenario
async def test_domains_beyond_rcptdomainmax_are_told_to_come_after() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        announce(destination, "RCPTDOMAINMAX=2")
        answers = await asked(
            outbound, destination.port, "a@one.test", "b@ONE.test", "a@two.test", "a@three.test", "c@one.test"
        )
        assert answers == [OK, OK, OK, TOO_MANY_DOMAINS, OK]


@pytest.mark.parametrize("lease", ["transaction", "session"])
@scenario
async def test_a_connection_that_has_served_other_domains_is_left_for_a_new_one(lease: str) -> None:
    settings = Settings(connections=1, lease=lease)  # type: ignore[arg-type]
    async with running_destination() as destination, running_outbound(settings) as outbound:
        announce(destination, "RCPTDOMAINMAX=1")
        for domain in ("one.test", "one.test", "two.test", "three.test"):
            answers, _ = await outbound.deliver(outbound.to(destination.port), f"a@{domain}")
            assert answers == ["250 2.0.0 taken"]
        assert [len([line for line in talk.lines if line == "DATA"]) for talk in destination.talks] == [2, 1, 1]
        assert destination.commands("QUIT") == ["QUIT"] * 2
        assert destination.most_at_once == 1


@scenario
async def test_a_domain_that_was_refused_takes_its_place_too_but_not_forever() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        announce(destination, "RCPTDOMAINMAX=1")
        destination.answers[Phase.RCPT] = lambda line: OK if "two" in line else "550 5.1.1 no"
        answers = await asked(outbound, destination.port, "a@one.test", "a@two.test", "a@three.test")
        assert answers == ["550 5.1.1 no", OK, TOO_MANY_DOMAINS]
        assert len(destination.talks) == 2


@pytest.mark.parametrize(("mailmax", "transactions", "most"), [(2, 100, 2), (100, 2, 2), (1, 100, 1)])
@scenario
async def test_a_connection_has_as_many_transactions_as_both_sides_allow(
    mailmax: int, transactions: int, most: int
) -> None:
    settings = Settings(transactions=transactions)
    async with running_destination() as destination, running_outbound(settings) as outbound:
        announce(destination, f"MAILMAX={mailmax}")
        for _ in range(4):
            await outbound.deliver(outbound.to(destination.port), "a@one.test")
        assert [len([line for line in talk.lines if line == "DATA"]) for talk in destination.talks] == [most] * (
            4 // most
        )


@scenario
async def test_mail_said_again_counts_against_mailmax() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        announce(destination, "MAILMAX=1")
        delivery = outbound.open(outbound.to(destination.port))
        first, second = recipients("a@one.test", "b@one.test")
        await delivery.rcpt(first)
        await delivery.rcpt(second)
        delivery.withdraw(first)
        assert (await delivery.data()).code == 354
        delivery.write(b"text\r\n")
        await delivery.finish(5)
        assert destination.messages[0].recipients == ("b@one.test",)
        assert [len([line for line in talk.lines if line.startswith("MAIL")]) for talk in destination.talks] == [1, 1]
