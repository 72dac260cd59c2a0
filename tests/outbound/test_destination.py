"""SmtpDestination: hosts that stand in for each other, and leases."""

from __future__ import annotations

import asyncio

import pytest

from moxy.mail import Mode
from moxy.outbound.settings import Settings
from support.destination import Act, Answer, Phase, running_destination
from support.ports import free_port
from support.relay import Relay, route, running_relay
from support.scenario import scenario, until
from support.smtpclient import Client, connected

MODES = [Mode.FAILOVER, Mode.BALANCE]


@pytest.mark.parametrize("mode", MODES)
@scenario
async def test_where_the_first_host_is_down_the_second_gets_the_message(mode: Mode) -> None:
    async with running_destination() as destination:
        there = route(free_port(), destination.port, mode=mode)
        async with running_relay(there) as relay, connected(relay.port) as client:
            for _ in range(5):
                assert (await client.deliver(["a@one.test"])).startswith("250")
            assert len(destination.messages) == 5


@pytest.mark.parametrize("greeting", ["421 4.3.2 full", "554 5.3.2 no", Act.CLOSE])
@scenario
async def test_a_host_that_does_not_talk_to_us_is_passed_over(greeting: Answer) -> None:
    async with running_destination() as first, running_destination() as second:
        first.answers[Phase.GREETING] = greeting
        there = route(first.port, second.port, mode=Mode.FAILOVER)
        async with running_relay(there) as relay, connected(relay.port) as client:
            assert (await client.deliver(["a@one.test"])).startswith("250")
            assert (await client.deliver(["a@one.test"])).startswith("250")
            assert len(second.messages) == 2
            assert len(first.talks) == 1, "one that has just failed is tried last"


@scenario
async def test_failover_keeps_to_the_first_host_while_it_is_well() -> None:
    async with running_destination() as first, running_destination() as second:
        there = route(first.port, second.port, mode=Mode.FAILOVER)
        async with running_relay(there) as relay, connected(relay.port) as client:
            for _ in range(5):
                await client.deliver(["a@one.test"])
            assert (len(first.messages), len(second.messages)) == (5, 0)


@scenario
async def test_a_refusal_is_an_answer_and_no_reason_to_ask_another_host() -> None:
    async with running_destination() as first, running_destination() as second:
        first.answers[Phase.RCPT] = "550 5.1.1 no such user"
        there = route(first.port, second.port, mode=Mode.FAILOVER)
        async with running_relay(there) as relay, connected(relay.port) as client:
            assert await client.begin(["a@one.test"]) == ["550 5.1.1 no such user"]
            assert not second.talks


@scenario
async def test_balance_draws_by_weight() -> None:
    async with running_destination() as light, running_destination() as heavy:
        there = route(light.port, heavy.port, mode=Mode.BALANCE, weights=(1, 3))
        async with running_relay(there) as relay, connected(relay.port) as client:
            for _ in range(400):
                await client.deliver(["a@one.test"])
        assert len(light.messages) + len(heavy.messages) == 400
        assert 60 <= len(light.messages) <= 140  # 100 expected, and a deviation of 8.7


@scenario
async def test_where_all_hosts_are_down_the_client_is_told_in_time() -> None:
    there = route(free_port(), free_port(), mode=Mode.FAILOVER)
    async with running_relay(there) as relay, connected(relay.port) as client:
        assert (await client.begin(["a@one.test"]))[0].startswith("451 4.4.1")


async def kept_waiting(relay: Relay, client: Client, seconds: float) -> str:
    """The answer to RCPT, while the sweeper looks at the real clock."""
    await client.ask("MAIL FROM:<s@client.test>")
    client.send("RCPT TO:<a@one.test>")

    def swept() -> bool:
        relay.pass_time(0)
        return not client.replies.empty()

    await until(swept, "an answer to RCPT within the time for all hosts", seconds)
    return await client.reply()


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO])
@scenario
async def test_a_host_that_stays_silent_does_not_use_up_the_time_of_all(phase: Phase) -> None:
    async with running_destination() as silent, running_destination() as second:
        silent.answers[phase] = Act.SILENCE
        there = route(silent.port, second.port, mode=Mode.FAILOVER)
        async with running_relay(there, connect=0.1, connect_total=0.5) as relay, connected(relay.port) as client:
            assert (await kept_waiting(relay, client, 3)).startswith("250")


@scenario
async def test_a_lone_silent_host_is_given_up_when_the_time_for_connecting_is_over() -> None:
    async with running_destination() as silent:
        silent.answers[Phase.GREETING] = Act.SILENCE
        there = route(silent.port)
        async with running_relay(there, connect=0.1, connect_total=0.2) as relay, connected(relay.port) as client:
            assert (await kept_waiting(relay, client, 3)).startswith("451 4.4.")


# -- leases


SESSION = Settings(lease="session")


@scenario
async def test_with_a_session_lease_each_client_has_a_connection_of_its_own() -> None:
    async with running_destination() as destination, running_relay(route(destination.port), settings=SESSION) as relay:
        async with connected(relay.port) as first, connected(relay.port) as second:
            for client in (first, second, first, second):
                assert (await client.deliver(["a@one.test"])).startswith("250")
            assert len(destination.open) == 2
        await until(lambda: not destination.open, "the connections to end with their clients")
        assert destination.commands("QUIT") == ["QUIT"] * 2


@pytest.mark.parametrize("ending", [Act.CLOSE, Act.RESET, "421 4.3.2 idle for too long"])
@scenario
async def test_a_session_lease_that_ended_is_renewed_unnoticed(ending: Answer) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=SESSION) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test"])
        destination.talks[0].act(ending)
        await until(lambda: not relay.pools[0]._open, "Moxy to notice")
        assert (await client.deliver(["a@one.test"])).startswith("250")


@scenario
async def test_a_session_remembers_no_more_for_every_lease_renewed() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=SESSION) as relay,
        connected(relay.port) as client,
    ):
        for number in range(3):
            await client.deliver(["a@one.test"])
            destination.talks[number].act(Act.CLOSE)
            await until(lambda: not relay.pools[0]._open, "Moxy to notice")
        (connection,) = relay.service.connections
        assert len(connection._conversation.session.endings) <= 1


@scenario
async def test_a_session_lease_given_up_in_content_is_not_used_again() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=SESSION) as relay,
        connected(relay.port) as client,
    ):
        assert (await client.deliver(["a@one.test"], b"bare\nline\r\n")).startswith("554")
        assert (await client.deliver(["a@one.test"])).startswith("250")
        assert len(destination.talks) == 2
        assert destination.ends_of_data == 1


@scenario
async def test_a_client_that_left_while_its_connection_was_made_keeps_none() -> None:
    async with running_destination() as destination, running_relay(route(destination.port), settings=SESSION) as relay:
        destination.answers[Phase.GREETING] = Act.SILENCE
        async with connected(relay.port) as client:
            await client.ask("MAIL FROM:<s@client.test>")
            client.send("RCPT TO:<a@one.test>")
            await until(lambda: destination.silences, "the connection")
            client.reset()
        await until(lambda: not relay.service.connections, "Moxy to notice")
        destination.release("220 destination.test at last")
        await destination.reached("EHLO")
        await asyncio.sleep(0)
        await relay.rest()


@scenario
async def test_a_sessions_own_connection_is_renewed_after_its_transactions() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=Settings(lease="session", transactions=2)) as relay,
        connected(relay.port) as client,
    ):
        for _ in range(4):
            assert (await client.deliver(["a@one.test"])).startswith("250")
        assert len(destination.commands("EHLO")) == 2


@scenario
async def test_a_late_copy_takes_no_connection_from_the_session() -> None:
    async with (
        running_destination() as destination,
        running_destination() as copy,
        running_relay(route(destination.port, copies=(copy.port,)), settings=SESSION) as relay,
    ):
        copy.answers[Phase.FINAL] = Act.SILENCE
        async with connected(relay.port) as client:
            assert (await client.deliver(["a@one.test"])).startswith("250")
            await until(lambda: copy.silences, "the copy's dot")
            for line in ("MAIL FROM:<s@client.test>", "RCPT TO:<a@one.test>"):
                await client.ask(line)
            await copy.reached("RCPT", 2)
            await client.ask("RSET")
            copy.talks[0].release("250 2.0.0 taken at last")
            await until(lambda: len(copy.open) == 1, "the first connection to end")
        await until(lambda: not copy.open, "the second one to end with its client")
