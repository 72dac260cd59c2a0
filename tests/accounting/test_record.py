"""Record: what a sink gets to see."""

import pytest

from moxy.accounting.record import Outcome, Record


def test_a_record_has_no_reply_and_took_no_time_unless_told():
    record = Record(0.0, "s", "t", "192.0.2.1", 25, "h", "", "mail:25", ["joe@example.org"], 1, Outcome.UNKNOWN)
    assert (record.reply, record.duration) == (None, 0.0)


def test_a_record_has_room_for_nothing_else():
    record = Record(0.0, "s", "t", "192.0.2.1", 25, "h", "", "mail:25", ["joe@example.org"], 1, Outcome.DELIVERED)
    with pytest.raises(AttributeError):
        record.other = 1


def test_outcomes_are_words_fit_for_a_log():
    assert [str(outcome) for outcome in Outcome] == ["delivered", "refused", "aborted", "unknown", "suppressed"]
