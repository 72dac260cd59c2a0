"""Leg: one delivery of a transaction, and what has become of its recipients there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from moxy.delivery import Delivery
from moxy.ledger import State
from moxy.mail import Recipient
from moxy.smtp import replies
from moxy.smtp.reply import Reply

Fingerprint = tuple[bytes, int]
"""Digest and size of a message's content."""


class Past(NamedTuple):
    """Messages that a recipient has from a destination already, and those that are on their way there."""

    committed: frozenset[Fingerprint] = frozenset()
    under_way: frozenset[Fingerprint] = frozenset()


NO_PAST: Final = Past()

_COMMITTED: Final = State.COMMITTED  # asked for every message: a member of an enumeration takes ten times as long
_UNDELIVERED: Final = State.UNDELIVERED
_UNKNOWN: Final = State.UNKNOWN


class Leg:
    """A delivery in a transaction.

    `key` tells it from the transaction's other legs. `past` is what the ledger knows of its recipients; all recipients
    of a leg are alike in this.
    """

    __slots__ = ("_by_recipient", "answers", "delivery", "key", "past", "unanswered")

    _by_recipient: dict[Recipient, Reply]

    def __init__(self, key: object, delivery: Delivery, past: Past) -> None:
        self.key = key
        self.delivery = delivery
        self.past = past
        self.answers: Sequence[Reply] = ()
        """The verdicts, one for each recipient in the delivery's order; empty before."""

    def conclude(self, answers: Sequence[Reply], unanswered: int = 0) -> None:
        """Keep the destination's verdicts, one for each recipient; the last `unanswered` are our own words."""
        self.answers = answers
        self.unanswered = unanswered
        """How many of the last recipients may or may not have the message: the destination said nothing to its dot."""

    @property
    def concluded(self) -> bool:
        """Has the destination been asked for its verdict, and answered or failed to?"""
        return bool(self.answers)

    @property
    def unanimous(self) -> Reply | None:
        """The verdict, if it is the same for all recipients."""
        answers = self.answers
        if len(answers) > 1 and any(answer != answers[0] for answer in answers):
            return None
        return answers[0] if answers else None

    @property
    def accepted(self) -> bool:
        """Has the destination accepted the message for anybody?"""
        for answer in self.answers:  # noqa: SIM110 - asked for every message: a generator costs four times as much
            if answer.positive:
                return True
        return False

    @property
    def refused(self) -> bool:
        """Is there a verdict, its own or ours, that is not 2xx?"""
        for answer in self.answers:  # noqa: SIM110 - as above
            if not answer.positive:
                return True
        return False

    @property
    def doubtful(self) -> bool:
        """May the destination have the message although it did not say so?"""
        return self.concluded and self.unanswered > 0

    def answer(self, recipient: Recipient) -> Reply | None:
        """The verdict on one of its recipients; None while there is none."""
        answers = self.answers
        if len(answers) < 2:
            return answers[0] if answers else None
        try:
            return self._by_recipient[recipient]
        except AttributeError:
            self._by_recipient = dict(zip(self.delivery.recipients, answers, strict=True))
            return self._by_recipient[recipient]

    def groups(self) -> list[tuple[State, Reply, list[Recipient]]]:
        """Its recipients by what they have come to, once concluded: mostly all to the same."""
        recipients, answers, unanswered = self.delivery.recipients, self.answers, self.unanswered
        if len(answers) == 1:
            return [(_state(answers[0], not unanswered), answers[0], recipients)]
        answered = len(recipients) - unanswered
        groups: dict[tuple[State, Reply], list[Recipient]] = {}
        for position, (recipient, answer) in enumerate(zip(recipients, answers, strict=True)):
            groups.setdefault((_state(answer, position < answered), answer), []).append(recipient)
        return [(state, answer, group) for (state, answer), group in groups.items()]

    def left_waiting(self, *, surely: bool) -> None:
        """A copy that is under way when we end: what becomes of it concerns nobody."""

    def outcomes(self) -> list[tuple[Recipient, State]]:
        """What each recipient has come to, for the ledger. What another transaction is about is for that one to say."""
        if self.answers and self.answers[0] is replies.UNDER_WAY:
            return []
        if not self.answers:
            return [(recipient, State.UNDELIVERED) for recipient in self.delivery.recipients]
        return [(recipient, state) for state, _, group in self.groups() for recipient in group]


def _state(answer: Reply, answered: bool) -> State:
    if not answered:
        return _UNKNOWN
    return _COMMITTED if answer.positive else _UNDELIVERED


Accepted = tuple[int, Recipient, tuple[Leg, ...]]
"""A recipient that was accepted: the number of its RCPT, itself, and the legs that its mail takes."""
