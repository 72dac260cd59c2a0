"""Several tables, the first that knows."""

import asyncio

import pytest

from moxy.errors import TemporaryFailure
from moxy.mail.route import Host, Route
from moxy.routes.chained import ChainedTable
from moxy.smtp.address import ForwardPath

A, B = Route((Host("a"),)), Route((Host("b"),))
JOE = ForwardPath.parse("joe@example.org")


class Answer:
    """A table with a given answer, which counts what it is asked."""

    def __init__(self, answer):
        self.answer = answer
        self.calls = []

    async def lookup(self, path):
        self.calls.append("lookup")
        if self.answer is TemporaryFailure:
            raise TemporaryFailure("the database is down")
        return self.answer

    def refresh(self):
        self.calls.append("refresh")

    def close(self):
        self.calls.append("close")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [([], None), ([None], None), ([None, None], None), ([A, B], A), ([None, B, A], B), ([A, TemporaryFailure], A)],
)
def test_the_first_table_that_knows_decides(answers, expected):
    assert asyncio.run(ChainedTable([Answer(answer) for answer in answers]).lookup(JOE)) is expected


def test_a_table_that_cannot_tell_stops_the_search():
    last = Answer(B)
    with pytest.raises(TemporaryFailure):
        asyncio.run(ChainedTable([Answer(None), Answer(TemporaryFailure), last]).lookup(JOE))
    assert not last.calls


def test_every_table_is_refreshed_and_closed():
    tables = [Answer(None), Answer(A)]
    chained = ChainedTable(tables)
    chained.refresh()
    chained.close()
    assert [table.calls for table in tables] == [["refresh", "close"]] * 2
