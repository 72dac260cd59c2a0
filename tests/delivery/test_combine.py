"""From several destinations' replies to one (contract D2, D3, D7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.delivery.combine import refusal, verdict
from moxy.smtp import replies
from moxy.smtp.reply import Reply

YES = Reply(250, "1.5", "yes")
ALSO = Reply(250, "", "also yes")
GO_ON = Reply(354, "", "go on")
LATER = Reply(451, "4.1", "later")
BUSY = Reply(450, "", "busy")
NO = Reply(550, "7.1", "no")
NEVER = Reply(554, "", "never")

REFUSALS = [
    ([YES], None),
    ([YES, ALSO], None),
    ([GO_ON, GO_ON], None),
    ([LATER], LATER),
    ([NO], NO),
    ([YES, NO], NO),
    ([NO, LATER], LATER),
    ([LATER, NO], LATER),
    ([YES, NO, BUSY, LATER], BUSY),
    ([NO, NEVER], NO),
    ([], None),
]

VERDICTS = [
    ([YES], YES),
    ([ALSO, YES], ALSO),
    ([LATER], LATER),
    ([NO], NO),
    ([NO, NEVER], NO),
    ([NO, LATER], LATER),
    ([LATER, BUSY], LATER),
    ([YES, NO], replies.MIXED_VERDICTS),
    ([NO, YES], replies.MIXED_VERDICTS),
    ([YES, LATER], replies.MIXED_VERDICTS),
    ([NO, LATER, YES], replies.MIXED_VERDICTS),
]

several_answers = st.lists(st.sampled_from([YES, ALSO, LATER, BUSY, NO, NEVER]), min_size=1, max_size=5)


@pytest.mark.parametrize(("answers", "expected"), REFUSALS)
def test_where_all_must_agree_one_refusal_is_the_answer(answers, expected):
    assert refusal(answers) is expected


@pytest.mark.parametrize(("answers", "expected"), VERDICTS)
def test_the_verdict_is_true_for_every_recipient(answers, expected):
    assert verdict(answers) is expected


@given(several_answers)
def test_good_news_only_if_all_is_well(answers):
    assert verdict(answers).positive is all(answer.positive for answer in answers)
    assert (refusal(answers) is None) is all(answer.positive for answer in answers)


@given(several_answers)
def test_no_bounce_while_a_retry_may_help_or_someone_has_the_message(answers):
    final = verdict(answers).permanent
    assert final is all(answer.permanent for answer in answers)
