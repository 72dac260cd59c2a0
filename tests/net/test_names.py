import asyncio

import pytest

from moxy.net.names import addresses


@pytest.mark.parametrize("literal", ["192.0.2.1", "2001:db8::1"])
def test_a_literal_is_its_own_address(literal: str) -> None:
    assert asyncio.run(addresses(literal, 25)) == [literal]


def test_a_name_has_each_of_its_addresses_once() -> None:
    found = asyncio.run(addresses("localhost", 25))
    assert found
    assert len(found) == len(set(found))
    assert set(found) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a" * 64 + ".test", "", "."])
def test_a_name_without_address_is_an_error(name: str) -> None:
    with pytest.raises((OSError, UnicodeError)):
        asyncio.run(addresses(name, 25))
