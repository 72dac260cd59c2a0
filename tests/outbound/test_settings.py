"""How a destination's hosts are spoken with."""

from __future__ import annotations

from dataclasses import asdict

from moxy.config.schema import Delivery
from moxy.outbound.settings import Settings


def test_the_defaults_are_those_of_the_configuration() -> None:
    assert asdict(Settings()) == Delivery().model_dump()
