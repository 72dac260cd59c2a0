"""What is tried: every scenario, in sections as the report has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from chaos.destination import Act, Phase, Plan, Script
from chaos.ledgers import FULL, TROUBLES
from chaos.scenario import TO_ALL, WITH_COPIES, Cut, Death, Length, Scenario, recipients_of, scripts_at
from chaos.sender import EXIM, LMTP, PLAIN, POSTFIX, PRDR, RUDE, Dialect
from support.faults import Fault, Kind, Way

DIALECTS = (PLAIN, POSTFIX, EXIM, RUDE, PRDR, LMTP)

YES: Plan = (Act.YES,)
PLANS: tuple[Plan, ...] = (
    YES,
    (Act.LATER, Act.YES),
    (Act.NEVER,),
    (Act.GOING, Act.YES),
    (Act.CLOSE, Act.YES),
    (Act.SILENCE, Act.YES),
)
"""What a destination may do in any phase. Silence in the middle of content is none before the dot."""

PLANS_FOR_A_DOT: tuple[Plan, ...] = (
    *PLANS,
    (Act.LATER, Act.NEVER),
    (Act.LATER,),
    (Act.LOST, Act.YES),
    (Act.MUTE, Act.YES),
)


def plans(phase: Phase) -> tuple[Plan, ...]:
    """What a destination may do in this phase."""
    if phase is Phase.FINAL:
        return PLANS_FOR_A_DOT
    return tuple(plan for plan in PLANS if phase is not Phase.CONTENT or plan[0] is not Act.SILENCE)


def verdicts(count: int, dialects: Iterable[Dialect]) -> Iterator[Scenario]:
    """Every combination of what so many destinations may do in a phase."""
    for dialect, phase in product(dialects, Phase):
        for combination in product(plans(phase), repeat=count):
            yield Scenario(dialect, scripts_at(phase, combination), recipients_of(count))


def phases_apart(dialect: Dialect) -> Iterator[Scenario]:
    """Two destinations, each with something else to do in another phase."""
    for first, second in product(Phase, repeat=2):
        if first is not second:
            for one, two in product(plans(first)[1:], plans(second)[1:]):
                scripts = (scripts_at(first, [one, YES])[0], scripts_at(second, [YES, two])[1])
                yield Scenario(dialect, scripts, recipients_of(2))


EACH_PLANS: tuple[Plan, ...] = (
    YES,
    (Act.LATER, Act.YES),
    (Act.NEVER,),
    (Act.LATER, Act.NEVER),
    (Act.GOING, Act.YES),
    (Act.CLOSE, Act.YES),
    (Act.SILENCE, Act.YES),
    (Act.LOST, Act.YES),
)


def verdicts_for_each() -> Iterator[Scenario]:
    """A destination that judges two recipients each on its own, alone and beside one that judges the message."""
    for dialect, protocol in product(DIALECTS, ("lmtp", "prdr")):
        if protocol == "prdr" and not (dialect.prdr or dialect.lmtp):
            continue  # nobody asks it to
        for one, two in product(EACH_PLANS, repeat=2):
            script = Script(each={"a": one, "b": two}, protocol=protocol)
            yield Scenario(dialect, (script,), recipients_of(1))
            for other in (YES, (Act.NEVER,)):
                beside = scripts_at(Phase.FINAL, [other, YES])[0]
                yield Scenario(dialect, (beside, script), ("x0@one.test", "d@one.test", "a@two.test", "b@two.test"))


def mode_all() -> Iterator[Scenario]:
    """A recipient whose mail goes to two destinations, alone and beside one whose mail goes to one of them."""
    for dialect, phase in product(DIALECTS, (Phase.RCPT, Phase.DATA, Phase.FINAL)):
        for pair in product(plans(phase), repeat=2):
            scripts = scripts_at(phase, pair)
            alone = Scenario(dialect, scripts, ("x0@one.test", f"e@{TO_ALL}"))
            yield alone
            if phase is Phase.FINAL and len(alone.expected(f"e@{TO_ALL}")) == 1:
                yield Scenario(dialect, scripts, ("x0@one.test", f"e@{TO_ALL}", "a@one.test"))
                yield Scenario(dialect, scripts, ("x0@one.test", "c@two.test", f"e@{TO_ALL}"))


def copies() -> Iterator[Scenario]:
    """A copy for a destination that nobody depends on."""
    for dialect, phase in product(DIALECTS, Phase):
        for pair in product(plans(phase), repeat=2):
            scripts = scripts_at(phase, pair)
            yield Scenario(dialect, scripts, ("x0@one.test", f"k@{WITH_COPIES}", f"l@{WITH_COPIES}"))


HELD: Mapping[Act, Plan] = {
    Act.YES: (Act.HOLD, Act.YES),
    Act.LATER: (Act.HOLD, Act.YES),
    Act.NEVER: (Act.HOLD, Act.NEVER),
    Act.CLOSE: (Act.HOLD, Act.YES),
}


def deaths() -> Iterator[Scenario]:
    """The sender dies while destinations hold their answers, which then come."""
    for dialect, phase, how, then in product(DIALECTS, Phase, ("close", "reset"), HELD):
        if phase is not Phase.CONTENT:
            for held in product((HELD[then], YES), repeat=2):
                if held != (YES, YES):
                    death = Death(how, then)
                    yield Scenario(dialect, scripts_at(phase, held), recipients_of(2), death=death)
            yield Scenario(dialect, scripts_at(phase, [HELD[then]]), recipients_of(1), death=Death(how, then))


def under_way() -> Iterator[Scenario]:
    """The sender dies, and is back before a destination has answered the dot."""
    others: tuple[Plan, ...] = (YES, (Act.LATER, Act.YES), (Act.NEVER,), (Act.LOST, Act.YES))
    for dialect, how, then in product(DIALECTS, ("close", "reset"), HELD):
        held = HELD[then]
        for plans_at_dot in ([held], *([held, other] for other in others), *([other, held] for other in others)):
            scripts, recipients = scripts_at(Phase.FINAL, plans_at_dot), recipients_of(len(plans_at_dot))
            death = Death(how, then, late=True)
            yield Scenario(dialect, scripts, recipients, death=death, hasty=True, workers=2)


def repeats() -> Iterator[Scenario]:
    """The same message, sent again on purpose."""
    for dialect in DIALECTS:
        for pair in product((YES, (Act.LATER, Act.YES)), repeat=2):
            yield Scenario(dialect, scripts_at(Phase.FINAL, pair), recipients_of(2), repeats=3)
        yield Scenario(dialect, scripts_at(Phase.FINAL, [YES]), recipients_of(1), repeats=3)
        yield Scenario(dialect, (Script(), Script()), (f"e@{TO_ALL}",), repeats=3)


def several_workers() -> Iterator[Scenario]:
    """The retry comes to another worker, and at once."""
    for dialect in DIALECTS:
        for pair in product(PLANS_FOR_A_DOT, repeat=2):
            one = Scenario(dialect, scripts_at(Phase.FINAL, pair), recipients_of(2), workers=2)
            yield one
            yield replace(one, workers=3, hasty=True)


def cuts(base: Scenario, length: Length, kinds: Iterable[Kind]) -> Iterator[Scenario]:
    """`base` with a connection broken after each octet of each way."""
    count = len(base.scripts)
    ways = [(None, length.sender), *enumerate(length.destinations[:count])]
    for kind, (where, octets) in product(kinds, ways):
        for way, most in octets.items():
            for after in range(most + 1):
                yield replace(base, cut=Cut(where, Fault(way, after, _as_it_dies(where, way, kind))))


def _as_it_dies(where: int | None, way: Way, kind: Kind) -> Kind:
    """A sender that gets no further than an octet of our replies has died: what its kernel holds then resets."""
    return Kind.DEATH if kind is Kind.CLOSE and where is None and way is Way.TO_CLIENT else kind


def overtaken() -> Iterator[Scenario]:
    """Another message with the same envelope comes between two attempts."""
    for dialect in DIALECTS:
        for pair in product(PLANS_FOR_A_DOT, repeat=2):
            scripts = scripts_at(Phase.FINAL, [(plan[0], *plan) for plan in pair])
            yield Scenario(dialect, scripts, recipients_of(2), overtaken=True)


def null_sender() -> Iterator[Scenario]:
    """Mail from nobody: what is known of it concerns only the client that has sent it before."""
    for dialect in (POSTFIX, LMTP):
        for pair in product(PLANS_FOR_A_DOT, repeat=2):
            yield Scenario(dialect, scripts_at(Phase.FINAL, pair), recipients_of(2), null=True)


def spread_first() -> Iterator[Scenario]:
    """Moxy takes recipients of one destination at a time."""
    for dialect, phase in product(DIALECTS, (Phase.RCPT, Phase.DATA, Phase.FINAL)):
        for pair in product(plans(phase), repeat=2):
            yield Scenario(dialect, scripts_at(phase, pair), recipients_of(2), spread_first=True)


def with_trouble(troubles: Iterable[str]) -> Iterator[Scenario]:
    """The ledger cannot be used."""
    for trouble, dialect in product(troubles, (POSTFIX, PRDR, LMTP)):
        for pair in product((YES, (Act.LATER, Act.YES), (Act.NEVER,), (Act.LOST, Act.YES)), repeat=2):
            scripts = scripts_at(Phase.FINAL, pair)
            yield Scenario(dialect, scripts, recipients_of(2), trouble=trouble)


@dataclass(frozen=True)
class Section:
    """A line of the report. Either `scenarios`, or `cut`: those whose connections are cut at every octet."""

    title: str
    destinations: int
    scenarios: Callable[[], Iterator[Scenario]] | None = None
    cut: tuple[Scenario, ...] = ()
    kinds: tuple[Kind, ...] = (Kind.CLOSE, Kind.RESET)
    tolerates: frozenset[str] = frozenset()
    """What must be borne where there is no memory."""
    full_disk: bool = False


def _disagreeing(dialect: Dialect, count: int) -> Scenario:
    """Destinations of which the last says later at the dot, and then yes: mixed verdicts, if there are several."""
    plans_at_dot = [*[YES] * (count - 1), (Act.LATER, Act.YES)]
    return Scenario(dialect, scripts_at(Phase.FINAL, plans_at_dot), recipients_of(count))


def _agreeing(dialect: Dialect) -> Scenario:
    return Scenario(dialect, scripts_at(Phase.FINAL, [YES]), recipients_of(1))


WITHOUT_MEMORY = frozenset({"doubled", "untrue"})

MANY = (POSTFIX, EXIM, PRDR, LMTP)
"""The senders of sections that take long."""

SECTIONS = (
    Section("one destination: every verdict in every phase", 1, lambda: verdicts(1, DIALECTS)),
    Section("two destinations: every pair of verdicts in a phase", 2, lambda: verdicts(2, DIALECTS)),
    Section("LMTP and PRDR destinations: every pair of verdicts on two recipients", 2, verdicts_for_each),
    Section("a recipient with two destinations (mode `all`): every pair", 2, mode_all),
    Section("copies (`best_effort`): every pair", 2, copies),
    Section('one destination at a time (`spread = "first"`): every pair', 2, spread_first),
    Section("failure notices, whose sender is nobody: every pair", 2, null_sender),
    Section("the retry comes at once, and to another worker: every pair", 2, several_workers),
    Section("another message with the same envelope between two attempts", 2, overtaken),
    Section("the same message again on purpose", 2, repeats),
    Section("the sender dies while destinations hold their answers", 2, deaths),
    Section("the sender dies, and is back before a destination has answered", 2, under_way),
    Section(
        "cuts at every octet, one destination",
        1,
        cut=tuple(_agreeing(d) for d in (POSTFIX, LMTP)),
        kinds=(Kind.CLOSE,),
    ),
    Section("cuts at every octet, two that disagree", 2, cut=(_disagreeing(POSTFIX, 2),), kinds=(Kind.CLOSE,)),
    *(
        Section(f"two destinations: verdicts in different phases, sender {d}", 2, partial(phases_apart, d))
        for d in MANY
    ),
    *(Section(f"three destinations: every triple in a phase, sender {d}", 3, partial(verdicts, 3, (d,))) for d in MANY),
    *(
        Section(
            f"{kind}s at every octet, {count} that disagree, sender {d}",
            count,
            cut=(_disagreeing(d, count),),
            kinds=(kind,),
        )
        for count, d, kind in (
            (2, POSTFIX, Kind.RESET),
            (2, PLAIN, Kind.CLOSE),
            (2, PRDR, Kind.CLOSE),
            (3, POSTFIX, Kind.CLOSE),
            (3, LMTP, Kind.RESET),
        )
    ),
)

IN_TROUBLE = (
    Section(
        "damaged, removed, held by another process, not to be made",
        2,
        lambda: with_trouble([trouble for trouble in TROUBLES if trouble != FULL]),
        tolerates=WITHOUT_MEMORY,
    ),
    Section("on a full disk", 2, lambda: with_trouble([FULL]), tolerates=WITHOUT_MEMORY, full_disk=True),
)
"""What the ledger is: nothing may be lost or invented then, but second copies must be borne."""
