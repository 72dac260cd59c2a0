"""What may happen to one message: its recipients, what each destination does, how the sender speaks, what breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from chaos.destination import Act, Phase, Plan, Script
from chaos.sender import Dialect, Fate
from support.faults import Fault, Kind, Way

NAMES = ("one", "two", "three")
"""Destinations; the domain of each is its name in `.test`."""

TO_ALL = "all.test"
"""A domain whose mail goes to every destination (mode `all`)."""

WITH_COPIES = "copies.test"
"""A domain whose mail goes to the first destination, with copies for the others if they can (`best_effort`)."""


@dataclass(frozen=True)
class Cut:
    """The first connection of the sender (`where` is None), or the first to a destination, is to break so."""

    where: int | None
    fault: Fault

    def strikes(self, where: int | None) -> Fault | None:
        return self.fault if where == self.where else None

    def __str__(self) -> str:
        whose = "the sender's connection" if self.where is None else f"the connection to {NAMES[self.where]}"
        return f"{self.fault.kind} of {whose} after {self.fault.after} octets {self.fault.way}"


NEVER = Fault(Way.TO_SERVER, 1_000_000, Kind.CLOSE)
"""A fault that does not strike: for counting octets."""


@dataclass(frozen=True)
class Length:
    """Octets that connections carried, each way: the sender's, and each destination's."""

    sender: Mapping[Way, int]
    destinations: tuple[Mapping[Way, int], ...]


@dataclass(frozen=True)
class Death:
    """The sender dies by this (close or reset) while a destination holds an answer, which then is `then`."""

    how: str
    then: Act
    late: bool = False
    """Whether the answer comes only after the sender's second attempt."""


@dataclass(frozen=True)
class Scenario:
    """All of it. `recipients` are in the order in which they are asked for."""

    dialect: Dialect
    scripts: tuple[Script, ...]
    recipients: tuple[str, ...]
    cut: Cut | None = None
    death: Death | None = None
    repeats: int = 1
    """How often the sender sends the same message on purpose, one after the other."""
    workers: int = 1
    """Moxy's workers; the sender's sessions go round among them."""
    overtaken: bool = False
    """Whether another message with the same envelope is sent after the first attempt, before the second."""
    spread_first: bool = False
    """Whether Moxy takes recipients of one destination at a time (`spread = "first"`)."""
    hasty: bool = False
    """Whether the sender comes again at once, without giving Moxy time to come to rest."""
    null: bool = False
    """Whether the reverse-path is the null one, as that of failure notices."""
    trouble: str = ""
    """What is wrong with the ledger (`trouble.TROUBLES`)."""

    def __str__(self) -> str:
        parts = [str(self.dialect), *(f"{name} {script}" for name, script in zip(NAMES, self.scripts, strict=False))]
        parts += [str(extra) for extra in (self.cut, self.death) if extra is not None]
        parts += [f"to {', '.join(self.recipients)}"]
        parts += [f"{self.repeats} times"] if self.repeats > 1 else []
        parts += [f"{self.workers} workers"] if self.workers > 1 else []
        for flag in ("overtaken", "spread_first", "hasty", "null"):
            parts += [flag.replace("_", " ")] if getattr(self, flag) else []
        parts += [f"ledger {self.trouble}"] if self.trouble else []
        return "; ".join(parts)

    def behind(self, path: str) -> tuple[int, ...]:
        """The destinations that must have the recipient's mail."""
        domain = path.partition("@")[2]
        if domain == TO_ALL:
            return tuple(range(len(self.scripts)))
        return (0 if domain == WITH_COPIES else NAMES.index(domain.removesuffix(".test")),)

    def expected(self, path: str) -> frozenset[Fate]:
        """What may become of a recipient if it gets its own destinations' verdict, as if it had been asked alone.

        Of several destinations one refusal is enough. If one says never and another later, both are true.
        """
        fates = frozenset(alone(self.scripts[number], path.partition("@")[0]) for number in self.behind(path))
        return fates - {Fate.SENT} or fates


@dataclass(frozen=True)
class Near:
    """`base`, with the sender's connection broken so many octets before the end of a way, `first` to `last`."""

    base: Scenario
    way: Way
    kind: Kind
    first: int
    last: int
    step: int = 3

    def scenarios(self, length: Length) -> Iterator[Scenario]:
        """All of them, where a session that nothing breaks has this `length`."""
        for before in range(self.first, self.last + 1, self.step):
            yield replace(self.base, cut=Cut(None, Fault(self.way, length.sender[self.way] - before, self.kind)))


def alone(script: Script, local: str) -> Fate:
    """What becomes of a recipient of this destination in the end."""
    for phase in Phase:
        if phase is Phase.RCPT and local in script.refuses:
            return Fate.BOUNCED
        plan = script.phases.get(phase, (Act.YES,))
        if phase is Phase.FINAL and script.protocol != "smtp":
            plan = script.each.get(local, plan)
        last = plan[-1]
        if last is Act.NEVER and phase not in (Phase.GREETING, Phase.HELLO):
            return Fate.BOUNCED
        if last is not Act.YES:
            return Fate.EXPIRED
    return Fate.SENT


def scripts_at(phase: Phase, plans: Sequence[Plan]) -> tuple[Script, ...]:
    """Each destination does its plan in this phase.

    The earlier a destination stands, the more strangers it refuses at RCPT: so Moxy asks it first at the dot (D5).
    """
    count = len(plans)
    return tuple(
        Script({phase: plan} if plan != (Act.YES,) else {}, refuses=frozenset(strangers(number, count)))
        for number, plan in enumerate(plans)
    )


def strangers(number: int, count: int) -> list[str]:
    return [f"x{stranger}" for stranger in range(count - 1 - number)]


def recipients_of(count: int) -> tuple[str, ...]:
    """Two at the first destination, one at each other, and those who are refused."""
    known = [("a", "b"), ("c",), ("d",)]
    return tuple(
        f"{local}@{NAMES[number]}.test"
        for number in range(count)
        for local in (*strangers(number, count), *known[number])
    )
