"""DateReader: dates as strftime wrote them."""

import re
import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.accounting.datereader import AHEAD_SECONDS, DateReader

NOON = 1_700_481_600.0
"""2023-11-20 12:00:00 UTC."""


@pytest.fixture(autouse=True)
def newfoundland(monkeypatch):
    """A zone with half hours and summer time."""
    monkeypatch.setenv("TZ", "NST3:30NDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


WHOLE = [
    "%d/%m/%y %T %z",
    "%c",
    "%x %X",
    "%s",
    "%F %T",
    "%Y%m%d%H%M%S",
    "%e. %B %Y, %k:%M:%S",
    "%-d.%-m.%Y %-H:%M:%S",
    "%_d/%_m/%Y %l:%M:%S %P",
    "%D %r",
    "%j %Y %I:%M:%S%p",
    "%^a, %d %^b %C%y %R:%S",
    "%A %h %d %T %Y %Z",
    "100%% %F%t%T %u%w%U%W%V%G%g%n",
]


@pytest.mark.parametrize("format", WHOLE)
@given(st.integers(86_400 * 365, 2**31 - 1))
def test_a_whole_date_reads_back_to_its_second(format, second):
    there = time.localtime(second)
    if "%z" not in format and "%s" not in format and datetime.fromtimestamp(second).fold:
        return  # the hour that comes twice in autumn, the second time
    reader = DateReader(format)
    date = time.strftime(format, there).replace("\n", "\\x0a").encode()
    assert re.fullmatch(reader.piece.pattern, date)
    assert reader.tells_day
    assert reader.moment(date, NOON) == second


@pytest.mark.parametrize(
    ("format", "date", "moment"),
    [
        ("%d/%m/%y", "20/11/23", "2023-11-20T00:00"),
        ("%d/%m/%y", "01/01/69", "1969-01-01T00:00"),
        ("%d/%m/%y", "31/12/68", "2068-12-31T00:00"),
        ("%F %I:%M %p", "2023-11-20 12:05 AM", "2023-11-20T00:05"),
        ("%F %I:%M %p", "2023-11-20 12:05 PM", "2023-11-20T12:05"),
        ("%F %T %z", "2023-11-20 12:00:00 +0530", "2023-11-20T06:30+00:00"),
        ("%F %T %z", "2023-11-20 12:00:00 -0330", "2023-11-20T15:30+00:00"),
        ("%F %T", "2016-12-31 23:59:60", "2016-12-31T23:59:59"),
        ("%b %e %T", "Nov 20 12:00:00", "2023-11-20T12:00:00"),
        ("%b %e %T", "nov  2 12:00:00", "2023-11-02T12:00:00"),
        ("%b %e %T", "Nov 21 08:00:00", "2023-11-21T08:00:00"),  # a clock may be ahead
        ("%b %e %T", "Nov 22 12:00:00", "2022-11-22T12:00:00"),
        ("%b %e %T", "Feb 29 12:00:00", "2020-02-29T12:00:00"),
        ("%d.%m. %z", "20.11. +0000", "2023-11-20T00:00+00:00"),
    ],
)
def test_dates_mean_what_people_mean(format, date, moment):
    assert DateReader(format).moment(date.encode(), NOON) == datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize(
    ("format", "date"),
    [
        ("%F", "2023-11-31"),
        ("%F", "2023-13-01"),
        ("%F", "0000-01-01"),
        ("%F", "23-01-01"),
        ("%F", " 2023-01-01"),
        ("%F %T", "2023-11-20 24:00:00"),
        ("%F %T", "2023-11-20 12:60:00"),
        ("%F %I%p", "2023-11-20 99PM"),
        ("%b %e", "Foo 20"),
        ("%b %e", "Feb 30"),
        ("%F %z", "2023-11-20 +9999"),
        ("%T", "12:00:00"),
        ("%a", "Mon"),
        ("", ""),
    ],
)
def test_what_is_no_date_or_no_whole_one_has_no_moment(format, date):
    assert DateReader(format).moment(date.encode(), NOON) is None


def test_a_date_without_a_year_is_never_in_the_future():
    reader = DateReader("%b %e %T")
    for days in range(366 * 4):
        now = NOON + 86_400 * days
        for back in (0, 200, 364):
            date = time.strftime("%b %e %T", time.localtime(now - 86_400 * back)).encode()
            moment = reader.moment(date, now)
            assert now - 86_400 * 366 <= moment <= now + AHEAD_SECONDS


@pytest.mark.parametrize("format", ["%Q", "%10Y", "%Ey", "%", "%-", "%+", "a %é"])
def test_letters_that_cannot_be_read_back_are_named(format):
    with pytest.raises(ValueError, match="which cannot be read back"):
        DateReader(format)


@given(st.text())
def test_whatever_the_format_it_is_read_or_refused(format):
    try:
        reader = DateReader(format)
    except ValueError:
        return
    assert reader.moment(b"x", NOON) is None


@given(st.sampled_from(WHOLE), st.binary())
def test_whatever_the_date_it_is_a_moment_or_none(format, date):
    moment = DateReader(format).moment(date, NOON)
    assert moment is None or isinstance(moment, float)
