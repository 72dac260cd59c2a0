"""From several destinations' replies to what the client gets (contract D2, D3, D5, D7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.delivery.combine import of_all, of_recipient, refusal, verdict
from moxy.smtp import replies
from moxy.smtp.reply import Reply

YES = Reply(250, "1.5", "yes")
ALSO = Reply(250, "", "also yes")
GO_ON = Reply(354, "", "go on")
LATER = Reply(451, "4.1", "later")
BUSY = Reply(450, "", "busy")
NO = Reply(550, "7.1", "no")
NEVER = Reply(554, "", "never")
OPEN = None
MIXED = replies.MIXED_VERDICTS

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
    ([OPEN, NO], NO),
    ([OPEN], None),
    ([], None),
]

RECIPIENTS = [
    ([YES], YES),
    ([YES, ALSO], YES),
    ([YES, NO], NO),
    ([NO, LATER], LATER),
    ([YES, OPEN], OPEN),
    ([OPEN, NO], NO),
    ([OPEN], OPEN),
]

VERDICTS = [
    ([YES], YES),
    ([ALSO, YES], ALSO),
    ([LATER], LATER),
    ([NO], NO),
    ([NO, NO], NO),
    ([NO, NEVER], MIXED),
    ([NO, LATER], LATER),
    ([LATER, BUSY], LATER),
    ([LATER, OPEN], LATER),
    ([NO, OPEN], MIXED),
    ([OPEN, NO], MIXED),
    ([OPEN], MIXED),
    ([YES, OPEN], MIXED),
    ([YES, NO], MIXED),
    ([NO, YES], MIXED),
    ([YES, LATER], MIXED),
    ([NO, LATER, YES], MIXED),
]

ALL = [
    ([YES, ALSO], replies.PRDR_ALL),
    ([NO, YES, LATER], replies.PRDR_SOME),
    ([NO, LATER], replies.PRDR_NONE),
    ([NO, NEVER], replies.PRDR_NONE),
    ([NO, NO], NO),
    ([LATER, LATER], LATER),
]

answers = st.sampled_from([YES, ALSO, LATER, BUSY, NO, NEVER])
several_answers = st.lists(answers, min_size=1, max_size=5)
several_verdicts = st.lists(answers | st.none(), min_size=1, max_size=5)


@pytest.mark.parametrize(("answers", "expected"), REFUSALS)
def test_where_all_must_agree_one_refusal_is_the_answer(answers, expected):
    assert refusal(answers) is expected


@pytest.mark.parametrize(("answers", "expected"), RECIPIENTS)
def test_a_recipient_has_the_message_when_all_of_its_destinations_have_it(answers, expected):
    assert of_recipient(answers) is expected


@pytest.mark.parametrize(("answers", "expected"), VERDICTS)
def test_the_verdict_is_true_for_every_recipient(answers, expected):
    assert verdict(answers) is expected


@pytest.mark.parametrize(("answers", "expected"), ALL)
def test_the_last_reply_of_prdr_spoils_none_before_it(answers, expected):
    assert of_all(answers) is expected


@given(several_verdicts)
def test_good_news_only_if_all_is_well(answers):
    assert verdict(answers).positive is all(answer is not None and answer.positive for answer in answers)


@given(several_verdicts)
def test_a_bounce_only_in_words_that_are_true_for_all(answers):
    final = verdict(answers)
    if final.permanent:
        assert all(answer == final for answer in answers)


@given(several_verdicts)
def test_what_is_passed_on_was_said_by_somebody(answers):
    assert verdict(answers) in [*answers, MIXED]


@given(several_answers)
def test_a_last_reply_that_is_no_success_means_that_nobody_has_it(answers):
    assert of_all(answers).positive is any(answer.positive for answer in answers)
    if of_all(answers).permanent:
        assert all(answer == of_all(answers) for answer in answers)
