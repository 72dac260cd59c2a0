"""Profile: what the known destinations can do, and what clients can be offered because of it (contract T8).

EHLO must be answered before anybody knows where the mail goes. So each host's own answer to EHLO is remembered, and

    what a sender can do without is offered         if all known hosts have it       (`extension.FOR_ALL`)
    what it has to give the message up without      if any of them has it            (`extension.FOR_ANY`)

docs/decisions/016 says why. Where an offer turns out to be wrong, the recipient is told (`parameters`), and by then the
profile knows better.

Rules:
- It is learned where a connection begins, and costs a message nothing. What a host has is compared once for each
  connection; the offer is made anew only where that has changed.
- A host may change its mind with every connection, as several behind one address do. What does less harm counts at once
  (for the first kind that one lacks it, for the second that one has it), the contrary once all have said so for
  SETTLED_SECONDS. So an offer does not change with every connection.
- Bounded: KNOWN hosts, those heard of last. Who is not heard of for FORGOTTEN_SECONDS is forgotten.

Bugs: SMTPUTF8 needs 8BITMIME (RFC 6531 §3.1), so one host without 8BITMIME keeps it from all. Each worker has a profile
of its own, and learns for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from structlog import get_logger

from moxy.mail import Host
from moxy.outbound.settings import Settings
from moxy.smtp.extension import ALWAYS, EIGHT_BIT, FOR_ALL, FOR_ANY, NEEDED, Extensions

KNOWN: Final = 1024
"""Hosts remembered."""

FORGOTTEN_SECONDS: Final = 86_400.0
"""For how long a host is remembered that no connection was made to."""

SETTLED_SECONDS: Final = 600.0
"""How long a host must have said the same before it is believed to have changed for the better."""

SHOWN: Final = 3
"""Hosts named where many lack something."""

Place = tuple[Settings, str]
"""A host as it is spoken with: by other settings the same host may count otherwise."""

log = get_logger("moxy.outbound")


class _Known:
    """What is known of one host."""

    __slots__ = ("has", "heard", "pending")

    def __init__(self, has: frozenset[str], heard: float) -> None:
        self.has = has
        self.heard = heard
        self.pending: dict[str, float] = {}
        """Extensions about which it says the contrary of `has`, each with the time since when."""


class Profile:
    """What the known hosts offer. `pinned` is what is offered whatever they do."""

    __slots__ = ("_known", "_pinned", "_unsettled", "changed", "clock", "offered")

    def __init__(self, pinned: frozenset[str] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.offered = EIGHT_BIT if pinned is None else pinned
        """What clients can be offered. Before anything is known that is 8BITMIME."""
        self.changed: Callable[[frozenset[str]], None] | None = None
        """Who makes the offer, if there is anybody: called with the new one whenever it has changed."""
        self._pinned = pinned is not None
        self._known: dict[Place, _Known] = {}  # those heard of last stand last
        self._unsettled: set[Place] = set()

    def learn(self, settings: Settings, host: Host, extensions: Extensions, *, verified: bool) -> None:
        """A connection has begun, and the host has announced this. `verified`: over TLS that proved its name."""
        place, now = (settings, str(host)), self.clock()
        said = _counted(settings, extensions, verified=verified)
        known = self._known.pop(place, None)
        if known is None:
            self._known[place] = _Known(said, now)
            while len(self._known) > KNOWN:
                self._drop(next(iter(self._known)))
            self._offer_anew()
            return
        self._known[place] = known
        known.heard = now
        differs = known.has ^ said
        known.pending = {keyword: since for keyword, since in known.pending.items() if keyword in differs}
        if differs:
            self._weigh(place, known, said, differs)

    def _weigh(self, place: Place, known: _Known, said: frozenset[str], differs: frozenset[str]) -> None:
        """Believe at once what does less harm; the rest has to last."""
        at_once = (differs & FOR_ALL - said) | (differs & FOR_ANY & said)
        for keyword in differs - at_once:
            known.pending.setdefault(keyword, known.heard)
        if known.pending:
            self._unsettled.add(place)
        if at_once:
            known.has ^= at_once
            self._offer_anew()

    def review(self) -> None:
        """Time has passed: believe what has lasted, forget whom nobody has heard of for long. Once a second or so."""
        now = self.clock()
        before = len(self._known)
        while self._known:
            place, oldest = next(iter(self._known.items()))
            if now - oldest.heard < FORGOTTEN_SECONDS:
                break
            self._drop(place)
        changed = len(self._known) < before
        for place in tuple(self._unsettled):
            known = self._known[place]
            lasted = frozenset(word for word, since in known.pending.items() if now - since >= SETTLED_SECONDS)
            for keyword in lasted:
                del known.pending[keyword]
            if not known.pending:
                self._unsettled.discard(place)
            known.has ^= lasted
            changed |= bool(lasted)
        if changed:
            self._offer_anew()

    def forget(self, place: Place) -> None:
        """Mail does not go there any more."""
        if place in self._known:
            self._drop(place)
            self._offer_anew()

    def _drop(self, place: Place) -> None:
        del self._known[place]
        self._unsettled.discard(place)

    def heard(self, place: Place) -> float | None:
        """When a connection to it began last, on `clock`; None: it is unknown."""
        known = self._known.get(place)
        return known.heard if known is not None else None

    def lacking(self, keyword: str) -> list[str]:
        """The known hosts without this extension."""
        return list(dict.fromkeys(place[1] for place, known in self._known.items() if keyword not in known.has))

    def why_not(self, keyword: str) -> str:
        """Why an extension is not offered, in words; "" if it is."""
        if keyword in self.offered:
            return ""
        if self._pinned:
            return "the configuration leaves it out"
        if not self._known:
            return "no destination is known yet"
        lacking = self.lacking(keyword)
        if keyword in FOR_ALL:
            more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
            return f"{', '.join(lacking[:SHOWN])}{more} {'lacks' if len(lacking) == 1 else 'lack'} it"
        if len(lacking) < len(self._known):
            return f"it needs {NEEDED[keyword]}"
        return "no destination has it" + (" over verified TLS" if keyword == "REQUIRETLS" else "")

    def _offer_anew(self) -> None:
        if self._pinned:
            return
        offered = EIGHT_BIT
        if self._known:
            having = [known.has for known in self._known.values()]
            offered = FOR_ALL.intersection(*having) | FOR_ANY.intersection(frozenset().union(*having))
            offered = frozenset(word for word in offered if NEEDED.get(word, word) in offered | ALWAYS)
        if offered != self.offered:
            before, self.offered = self.offered, offered
            if self.changed is not None:
                self._tell(before)
                self.changed(offered)

    def _tell(self, before: frozenset[str]) -> None:
        """Why the offer is another now, for the operator."""
        lost = sorted(before - self.offered)
        log.info(
            "offer_changed",
            offered=sorted(self.offered),
            more=sorted(self.offered - before),
            less=lost,
            because=[f"{keyword}: {self.why_not(keyword)}" for keyword in lost],
        )


def _counted(settings: Settings, extensions: Extensions, *, verified: bool) -> frozenset[str]:
    """What counts as had by a host that announced this."""
    has = {word for word in FOR_ALL | FOR_ANY if word in extensions}
    if settings.eight_bit == "pass":
        has.add("8BITMIME")  # it gets 8-bit content all the same
    if "CHUNKING" not in extensions:
        has.discard("BINARYMIME")  # RFC 3030 §3
    if not verified:
        has.discard("REQUIRETLS")  # RFC 8689 §4.2.1
    return frozenset(has)
