"""The pace of content: what is too slow, and what is not the client's fault."""

from __future__ import annotations

import pytest

from moxy.inbound.pace import Pace
from moxy.inbound.service import Patience
from moxy.smtp import replies
from moxy.smtp.reply import Reply

PATIENCE = Patience(block=180.0, content=1800.0, minimum_rate=500)


@pytest.mark.parametrize(
    ("octets", "seconds", "verdict"),
    [
        (30_000, 60.0, None),
        (29_999, 60.0, replies.TOO_SLOW),
        (1, 60.0, replies.TOO_SLOW),
        (0, 60.0, None),
        (0, 179.0, None),
        (0, 180.0, replies.TIMEOUT),
        (10_000_000, 1800.0, replies.TIMEOUT),
    ],
)
def test_content_may_be_slow_but_neither_stand_still_nor_trickle(
    octets: int, seconds: float, verdict: Reply | None
) -> None:
    pace = Pace(PATIENCE, 1000.0)
    pace.octets += octets
    assert pace.judge(1000.0 + seconds, reading=True) is verdict


@pytest.mark.parametrize(("held_up", "reading"), [(True, True), (False, False)])
def test_time_in_which_we_did_not_read_does_not_count(held_up: bool, reading: bool) -> None:
    pace = Pace(PATIENCE, 0.0)
    pace.octets, pace.held_up = 1, held_up
    assert pace.judge(60.0, reading=reading) is None
    pace.octets += 1
    assert pace.judge(120.0, reading=True) is replies.TOO_SLOW


def test_it_is_looked_at_once_a_minute_and_when_a_time_is_over() -> None:
    pace = Pace(PATIENCE, 0.0)
    assert pace.deadline == 60.0
    for now, following in ((60.0, 120.0), (120.0, 180.0)):
        assert pace.judge(now, reading=True) is None
        assert pace.deadline == following
    pace.octets += 50_000
    assert pace.judge(170.0, reading=True) is None
    assert pace.deadline == 230.0
    pace.octets += 10_000_000
    assert pace.judge(1790.0, reading=True) is None
    assert pace.deadline == 1800.0
    assert Pace(Patience(block=5.0), 0.0).deadline == 5.0
