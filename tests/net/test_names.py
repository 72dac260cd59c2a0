import asyncio
import socket

import pytest

from moxy.net import names
from moxy.net.names import Names


@pytest.mark.parametrize("literal", ["192.0.2.1", "2001:db8::1"])
def test_a_literal_is_its_own_address(literal: str) -> None:
    assert asyncio.run(Names().addresses(literal, 5)) == [literal]


def test_a_name_has_each_of_its_addresses_once() -> None:
    found = asyncio.run(Names().addresses("localhost", 5))
    assert found
    assert len(found) == len(set(found))
    assert set(found) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a" * 64 + ".test", ".", "a..b"])
def test_a_name_without_address_is_an_error(name: str) -> None:
    with pytest.raises((OSError, UnicodeError, TimeoutError)):
        asyncio.run(Names().addresses(name, 5))


class Resolver:
    """A resolver by script: it counts the questions, and answers when and what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.answer: list[str] | Exception = ["192.0.2.1"]
        self.silent = False
        monkeypatch.setattr(names, "_look_up", self.look_up)

    async def look_up(self, name: str) -> list[str]:
        self.asked += 1
        if self.silent:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_many_who_ask_for_one_name_are_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)
    resolver.silent = True

    async def ask() -> None:
        known = Names()
        asked = [known.addresses("mail.test", 0.01) for _ in range(50)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(answer, TimeoutError) for answer in answers)

    asyncio.run(ask())
    assert resolver.asked == 1


@pytest.mark.parametrize("error", [None, socket.gaierror(socket.EAI_AGAIN, "temporary")])
def test_the_last_known_addresses_serve_while_the_resolver_does_not(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch)

    async def ask() -> None:
        known = Names()
        assert await known.addresses("mail.test", 5) == ["192.0.2.1"]
        if error is None:
            resolver.silent = True
        else:
            resolver.answer = error
        assert await known.addresses("mail.test", 0.01) == ["192.0.2.1"]

    asyncio.run(ask())


def test_a_name_that_is_gone_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)

    async def ask() -> None:
        known = Names()
        await known.addresses("mail.test", 5)
        resolver.answer = socket.gaierror(socket.EAI_NONAME, "unknown")
        with pytest.raises(OSError, match="unknown"):
            await known.addresses("mail.test", 5)
        resolver.answer = ["192.0.2.2"]
        assert await known.addresses("mail.test", 5) == ["192.0.2.2"]

    asyncio.run(ask())


def test_no_more_names_are_remembered_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch)
    monkeypatch.setattr(names, "REMEMBERED", 3)

    async def ask() -> int:
        known = Names()
        for number in range(10):
            await known.addresses(f"mail{number}.test", 5)
        return len(known._known)

    assert asyncio.run(ask()) == 3
