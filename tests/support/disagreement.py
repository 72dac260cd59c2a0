"""One message for recipients at destinations that disagree: who says what, and what its sender must learn in the end.

Every recipient is at a destination of its own, whose answers come from a script: an answer for each attempt, the last
one for ever. Alone, a recipient would be `sent` or `bounced` as its script ends; that must become of it in company too.

Rules: a destination's refusal has its own words, so that a log shows whose it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from support.destination import GOOD, Act, Answer, Destination, Phase
from support.scripted import by_attempt

SENDER = "sender@sender.test"
CONTENT = b"From: sender@sender.test\r\nSubject: who wants it?\r\n\r\nHello.\r\n.. and a dot.\r\n"


@dataclass(frozen=True)
class Script:
    """What a destination says in one phase, attempt by attempt. `{me}` stands for the destination's name."""

    name: str
    phase: Phase
    answers: tuple[Answer, ...]

    @property
    def status(self) -> str:
        """What becomes of a recipient who is alone with it."""
        last = self.answers[-1]
        return "bounced" if isinstance(last, str) and last.startswith("5") else "sent"

    def words(self, me: str) -> str:
        """The last answer."""
        return str(self.answers[-1]).format(me=me)

    def teach(self, destination: Destination, me: str) -> None:
        answers = [answer.format(me=me) if isinstance(answer, str) else answer for answer in self.answers]
        destination.answers[self.phase] = by_attempt(*answers)


def _scripts(phase: Phase) -> list[Script]:
    yes, no, later = GOOD[phase], "554 5.7.1 {me} wants none of it", "451 4.7.1 {me} wants it later"
    return [
        Script("yes", phase, (yes,)),
        Script("no", phase, (no,)),
        Script("later", phase, (later, yes)),
        Script("gone once", phase, (Act.CLOSE, yes)),
        Script("later no", phase, (later, no)),
        Script("silent once", phase, (Act.SILENCE, yes)),
    ]


AT_MAIL, AT_RCPT, AT_DATA, AT_THE_DOT = map(_scripts, (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL))


def pairs() -> Iterator[tuple[Script, ...]]:
    """Every pair of scripts in the same phase, in both orders, at the dot the most; refusals in different phases."""
    yield from product(AT_MAIL[:4], repeat=2)
    yield from product(AT_RCPT[:4], repeat=2)
    yield from product(AT_DATA[:5], repeat=2)
    yield from product(AT_THE_DOT, repeat=2)
    for early, late in combinations((AT_MAIL, AT_RCPT, AT_DATA, AT_THE_DOT), 2):
        yield from product(early[1:3], late[1:3])


def triples() -> Iterator[tuple[Script, ...]]:
    """Every three of yes, no and later at the dot."""
    yield from product(AT_THE_DOT[:3], repeat=3)


@dataclass(frozen=True)
class Case:
    """One message for recipients with these scripts."""

    number: int
    scripts: tuple[Script, ...]
    destinations: Sequence[Destination]

    @property
    def title(self) -> str:
        return " + ".join(f"{script.name} at {script.phase}" for script in self.scripts)

    @property
    def recipients(self) -> list[str]:
        return [f"user@{domain}" for domain in self._domains]

    @property
    def _domains(self) -> list[str]:
        return [f"d{place}.c{self.number}.test" for place, _ in enumerate(self.scripts)]

    def table(self) -> str:
        """The routes of its recipients, as in the original's text table."""
        hosts = [destination.address for destination in self.destinations]
        return "".join(f"{domain} {host}\n" for domain, host in zip(self._domains, hosts, strict=True))

    def teach(self) -> None:
        for place, (script, destination) in enumerate(zip(self.scripts, self.destinations, strict=True)):
            script.teach(destination, self._name(place))

    def _name(self, place: int) -> str:
        return f"number {place} of case {self.number}"

    def complaints(self, told: dict[str, tuple[str, str]]) -> Iterator[str]:
        """What is wrong, if anything. `told`: each recipient's final status, and the line of the log that says it."""
        for place, (recipient, script) in enumerate(zip(self.recipients, self.scripts, strict=True)):
            status, line = told.get(recipient, ("forgotten", ""))
            held = self._held(place, recipient)
            if status != script.status:
                yield f"{self.title}: number {place} is {status}, not {script.status}: {line}"
            elif status == "bounced" and script.words(self._name(place)) not in line:
                yield f"{self.title}: number {place} bounced with the words of another: {line}"
            if held != (1 if script.status == "sent" else 0):
                yield f"{self.title}: number {place}, {script.status}, is held {held} times"

    def _held(self, place: int, recipient: str) -> int:
        messages = self.destinations[place].messages
        return Counter(path for message in messages for path in message.recipients)[recipient]


def cases(scripts: Sequence[tuple[Script, ...]], destinations: Sequence[Destination]) -> list[Case]:
    """A case for each of these, with as many destinations of these as it needs."""
    left = iter(destinations)
    made = [Case(number, each, [next(left) for _ in each]) for number, each in enumerate(scripts)]
    for case in made:
        case.teach()
    return made
