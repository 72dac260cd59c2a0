"""The verdict on a scenario: what the sender's log says, against what the destinations hold and have said.

    lost       the sender logs "sent", and a destination of the recipient does not hold the message (P1)
    invented   an end of data that no sender had sent, a message for somebody not asked for, or for one who bounced (P2)
    doubled    a destination holds more than one for each time that it was sent, and every outcome was known (P3)
    changed    other octets than the sender's (P4)
    untrue     another end than the recipient's own destination alone would have given it, or other words (P5, D7)
    untimely   354 before all destinations were ready (D3), dots in another order than by likelihood of refusal, or one
               after a refusal while nobody had the message (D5)

A second copy is no fault where a destination had the first and its answer did not reach Moxy: nobody can know then
(RFC 1047). Such outcomes are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from chaos.destination import Copy, Destination, Phase
from chaos.scenario import WITH_COPIES, Scenario
from chaos.sender import Fate, Recipient, Sender
from support.faults import Kind, Way

FAULTS = ("lost", "invented", "doubled", "changed", "untrue", "untimely")


@dataclass
class Seen:
    """What was seen while it happened."""

    invented: list[str] = field(default_factory=list)
    premature: list[str] = field(default_factory=list)
    ends: list[tuple[int, str, bool]] = field(default_factory=list)
    """Ends of data in order: the sender's transaction, who got it, and whether somebody had the message then."""
    struck: Destination | None = None
    """Whose connection was cut."""


@dataclass
class Result:
    """What has come of one scenario, or of many."""

    scenarios: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    """Outcomes that nobody could know, by reason."""
    twice: int = 0
    """Second copies because of those."""
    faults: Counter[str] = field(default_factory=Counter)
    tolerated: int = 0
    """Faults that are none where there is no memory."""
    first: str = ""
    """The first fault, with the whole conversation."""

    def add(self, other: Result, tolerates: frozenset[str] = frozenset()) -> None:
        """Add what has come of another one; faults that it `tolerates` are counted apart."""
        self.scenarios += other.scenarios
        self.fates += other.fates
        self.unknown += other.unknown
        self.twice += other.twice
        faults = {fault: count for fault, count in other.faults.items() if fault not in tolerates}
        self.tolerated += sum(other.faults.values()) - sum(faults.values())
        self.faults.update(faults)
        self.first = self.first or (other.first if faults else "")


class _Judge:
    def __init__(self, scenario: Scenario, senders: Sequence[Sender], used: Sequence[Destination]) -> None:
        self.scenario = scenario
        self.senders = senders
        self.used = used
        self.result = Result(scenarios=1)
        self.complaints: list[str] = []

    def blame(self, fault: str, why: str) -> None:
        self.result.faults[fault] += 1
        self.complaints.append(f"{fault}: {why}")

    def unknown_because(self, copy: Copy, destination: Destination, struck: Destination | None) -> str:
        """Why Moxy cannot know that the destination has this copy; empty if it can."""
        if not copy.said:
            return "the destination kept it and gave no answer"
        cut = self.scenario.cut
        if destination is struck and copy.talk.first and cut is not None:
            fault = cut.fault
            if fault.kind is Kind.CLOSE and fault.way is Way.TO_CLIENT:
                unknown = fault.after < copy.written
            else:
                unknown = not copy.heard
            if unknown:
                return "the destination's answer was cut off"
        return ""

    def look_at(self, destination: Destination, struck: Destination | None) -> Counter[str]:
        """Copies at a destination: are they what was sent, and how many more may there be because nobody knew?"""
        unknown: Counter[str] = Counter()
        asked = {recipient.path for recipient in self.senders[0].recipients}
        contents = {sender.content for sender in self.senders}
        for copy in destination.copies:
            if _below_trace(copy.content) not in contents:
                self.blame("changed", f"{destination.name} holds {copy.content!r}")
            for path in copy.recipients:
                if path not in asked:
                    self.blame("invented", f"{destination.name} holds one for {path}")
            why = self.unknown_because(copy, destination, struck)
            if why:
                self.result.unknown[why] += len(copy.recipients)
                unknown.update(copy.recipients)
        return unknown

    def look_at_order(self, seen: Seen) -> None:
        """The dots of the first transaction, for a sender that takes one reply."""
        scenario = self.scenario
        if scenario.dialect.prdr or scenario.dialect.lmtp or scenario.hasty or scenario.death or scenario.cut:
            return
        ends = [(name, somebody_has_it) for transaction, name, somebody_has_it in seen.ends if transaction == 1]
        names = [name for name, _ in ends]
        for name, somebody_has_it in ends[1:]:
            if not somebody_has_it:
                self.blame("untimely", f"{name} got the dot after a refusal, and while nobody had it")
        refused = [len(script.refuses) for script in scenario.scripts]
        known = all(one > other for one, other in pairwise(refused))
        if known and all({*script.phases} <= {Phase.FINAL} for script in scenario.scripts):
            in_order = [destination.name for destination in self.used if destination.name in names]
            if names != in_order:
                self.blame("untimely", f"{names} got the dot in this order, {in_order} was right")

    def follow(self, path: str, unknown: dict[str, Counter[str]]) -> None:
        """One recipient, in all senders' logs and at all its destinations."""
        fates = [self._recipient(sender, path) for sender in self.senders]
        sent = sum(recipient.fate is Fate.SENT for recipient in fates)
        self.result.fates.update(recipient.fate.value for recipient in fates)
        destinations = [self.used[number] for number in self.scenario.behind(path)]
        for destination in self.used:
            if destination not in destinations:
                self._uncalled_for(destination, path, sent, unknown[destination.name][path])
        for destination in destinations:
            copies, doubtful = destination.holds(path), unknown[destination.name][path]
            if copies < sent:
                self.blame("lost", f"{path} was sent {sent} times, {destination.name} holds {copies}")
            others_refused = not sent and len(destinations) > 1  # one refusal counts, though another has accepted (D2)
            if copies > max(sent, int(others_refused)) + doubtful:
                if sent or others_refused:
                    self.blame("doubled", f"{destination.name} holds {copies} for {path}, {doubtful} unknown")
                else:
                    self.blame("untrue", f"{path} is {fates[0].fate}, and {destination.name} holds {copies}")
            if self.scenario.overtaken and sent == len(self.senders):
                self._each_its_own(destination, path)
            self.result.twice += max(0, min(copies - sent, doubtful)) if sent else 0
        for recipient in fates:
            self._truth(recipient, destinations)

    def _each_its_own(self, destination: Destination, path: str) -> None:
        """Two messages were sent, so it is two that must be there."""
        held = {_below_trace(copy.content) for copy in destination.copies if path in copy.recipients}
        if held != {sender.content for sender in self.senders}:
            self.blame("lost", f"{destination.name} holds {len(held)} of two messages for {path}")

    def _uncalled_for(self, destination: Destination, path: str, sent: int, doubtful: int) -> None:
        """A destination that the recipient's mail need not go to: at most a copy, if copies are wanted."""
        copies = destination.holds(path)
        if not path.endswith(f"@{WITH_COPIES}"):
            if copies:
                self.blame("invented", f"{destination.name} holds one for {path}")
        elif copies > sent + doubtful:
            self.blame("doubled" if sent else "untrue", f"{destination.name} holds {copies} copies for {path}")

    def _truth(self, recipient: Recipient, destinations: Sequence[Destination]) -> None:
        expected = self.scenario.expected(recipient.path)
        if recipient.fate not in expected:
            wanted = " or ".join(sorted(expected))
            self.blame("untrue", f"{recipient.path} should end as {wanted}: {recipient.fate}, {recipient.words!r}")
        if recipient.fate is Fate.BOUNCED:
            about = [words for d in destinations for key in (recipient.path, "") for words in d.said[key]]
            if recipient.words not in about:
                self.blame("untrue", f"nobody said {recipient.words!r} to {recipient.path}")

    @staticmethod
    def _recipient(sender: Sender, path: str) -> Recipient:
        return next(recipient for recipient in sender.recipients if recipient.path == path)


def judge(scenario: Scenario, senders: Sequence[Sender], used: Sequence[Destination], seen: Seen) -> Result:
    """Compare the witnesses."""
    bench = _Judge(scenario, senders, used)
    for why in seen.invented:
        bench.blame("invented", why)
    for why in seen.premature:
        bench.blame("untimely", why)
    bench.look_at_order(seen)
    unknown = {destination.name: bench.look_at(destination, seen.struck) for destination in used}
    for path in dict.fromkeys(scenario.recipients):
        bench.follow(path, unknown)
    if bench.complaints:
        bench.result.first = _story(scenario, bench.complaints, senders, used)
    return bench.result


def _below_trace(content: bytes) -> bytes:
    """The content without its first field, if that is a trace field."""
    lines = content.split(b"\r\n")
    if not lines[0].startswith(b"Received: "):
        return b"(no trace) " + content
    end = next(number for number, line in enumerate(lines) if number and not line.startswith((b" ", b"\t")))
    return b"\r\n".join(lines[end:])


def _told_once(log: Sequence[str]) -> Iterator[str]:
    """The log, where a session went as the one before it did without its lines."""
    before: list[str] = []
    for title, *lines in _sessions(log):
        yield f"{title}, as before" if lines == before else title
        yield from [] if lines == before else (line for line in lines if not line.startswith("< 250-"))
        before = lines


def _sessions(log: Sequence[str]) -> list[list[str]]:
    sessions: list[list[str]] = []
    for line in log:
        if line.startswith("-- session") or not sessions:
            sessions.append([])
        sessions[-1].append(line)
    return sessions


def _story(
    scenario: Scenario, complaints: Sequence[str], senders: Sequence[Sender], used: Sequence[Destination]
) -> str:
    lines = [str(scenario), *complaints]
    for sender in senders:
        lines += ["sender:", *(f"  {line}" for line in _told_once(sender.log))]
        lines += [f"  {known.path}: {known.fate}, {known.words!r}" for known in sender.recipients]
    for destination in used:
        lines += [f"{destination.name}:", *(f"  {line}" for line in destination.log)]
        lines += [f"  holds for {', '.join(copy.recipients)}" for copy in destination.copies]
    return "\n".join(lines)
