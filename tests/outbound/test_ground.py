"""What all connections to destinations need to know."""

from __future__ import annotations

import asyncio

from moxy.config.limits import Timeouts
from moxy.net.deadlines import Sweeper
from moxy.outbound.ground import Ground


def test_the_times_are_those_of_the_configuration() -> None:
    loop = asyncio.new_event_loop()
    ground = Ground("mx.moxy.test", Sweeper(), loop)
    loop.close()
    times = Timeouts().model_dump()
    names = ("connect", "connect_total", "reply", "data", "idle", "prove")
    assert {name: getattr(ground, name) for name in names} == {name: times[name] for name in names}
