"""Memory: what one transaction asks of the acceptance ledger, and leaves there (contract D7, D8).

    MAIL, RCPT   what is known of the sender and the recipient: who has what already, who is to be asked alone
    content      the digest
    the dot      has everybody of a delivery this very message already? Then no second copy
    verdicts     mixed or unknown ones are written before the client hears of them
    afterwards   has the client got our reply? Then what it knows for certain is settled; if not, what was accepted is
                 written, for it will come again

With one destination that answers, and a client that stays until it has our reply, nothing is ever written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from moxy.delivery import Destination
from moxy.inbound.leg import Fingerprint, Leg, Past
from moxy.ledger import NOT_COME, Entry, State
from moxy.mail import Envelope, Recipient, Session
from moxy.message.digest import ContentDigest, digest_of
from moxy.net.steps import in_background

if TYPE_CHECKING:
    from moxy.inbound.service import Service


Way = frozenset[str]
"""What recipients have in common who may be asked together although destinations disagreed."""


class Known:
    """The open entries of the ledger about one sender and recipient."""

    __slots__ = ("_stale", "entries")

    def __init__(self, entries: Sequence[Entry] = (), stale: float = 0.0) -> None:
        self.entries = entries
        self._stale = stale  # what was under way before then, is not any more: nobody knows what became of it

    @property
    def apart(self) -> bool:
        """Is the recipient to be asked alone, since destinations disagreed when it came with others?"""
        return any(entry.apart for entry in self.entries)

    def way(self, individual: bool) -> Way:
        """Who shares it is asked together when they are asked apart from others."""
        return _way([entry for entry in self.entries if entry.apart], individual)

    def past_at(self, destination: str) -> Past:
        """The messages that it has there already, and those on their way."""
        here = [entry for entry in self.entries if entry.destination == destination]
        return Past(
            frozenset(_fingerprint(entry) for entry in here if entry.state is State.COMMITTED),
            frozenset(_fingerprint(entry) for entry in here if self._is_under_way(entry)),
        )

    def unknown_at(self, destination: str) -> str:
        """The host that may have a message although it did not say so; "" if there is none."""
        hosts = [entry.host for entry in self.entries if entry.destination == destination and self._is_unknown(entry)]
        return hosts[-1] if hosts else ""

    def _is_under_way(self, entry: Entry) -> bool:
        return entry.state is State.UNDER_WAY and entry.time >= self._stale

    def _is_unknown(self, entry: Entry) -> bool:
        return entry.state is State.UNKNOWN or (entry.state is State.UNDER_WAY and entry.time < self._stale)

    def about(self, message: Fingerprint) -> list[Entry]:
        """The entries about one message, and those of transactions that ended before there was one."""
        return [entry for entry in self.entries if entry.size == NOT_COME or _fingerprint(entry) == message]


def _way(entries: Iterable[Entry], individual: bool) -> Way:
    """That of one recipient: its destinations, and itself where they give each recipient a verdict of its own."""
    words = {entry.destination for entry in entries}
    if individual:
        words.update(entry.forward_path for entry in entries)
    return frozenset(words)


def _by_way(entries: Iterable[Entry], individual: bool) -> dict[Way, list[Entry]]:
    """Entries by the ways of their recipients, those who wait longest first."""
    recipients: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.time):
        recipients.setdefault(entry.forward_path, []).append(entry)
    ways: dict[Way, list[Entry]] = {}
    for own in recipients.values():
        ways.setdefault(_way(own, individual), []).extend(own)
    return ways


def _fingerprint(entry: Entry) -> Fingerprint:
    return entry.digest, entry.size


NOTHING: Final = Known()
_NOBODY: Final[Mapping[Recipient, Known]] = {}
UNDER_WAY_GRACE: Final = 60.0
"""Seconds more than destinations have for their answer that a message counts as under way."""

MOMENT: Final = 0.00001
"""Seconds that make one entry older than another."""

PutOff = tuple[Recipient, Sequence[Destination]]
"""A recipient who was told to come after, and where its mail goes."""


class Memory:
    """The ledger as one transaction sees it."""

    __slots__ = (
        "_envelope", "_known", "_ledger", "_noted", "_service", "_session", "_written", "digest", "lost", "size",
        "used",
    )  # fmt: skip

    def __init__(self, service: Service, session: Session, envelope: Envelope) -> None:
        self._service = service
        self._ledger = service.ledger
        self._session = session
        self._envelope = envelope
        self._known: Mapping[Recipient, Known] = _NOBODY  # these three mostly stay empty, and all share what is empty
        self._noted: Sequence[Entry] = ()
        self._written: Sequence[Entry] = ()
        self.digest = ContentDigest()
        """To be fed the content as the client sent it, dot-stuffed, without our trace field."""
        self.used = False
        """Was there ever anything in the ledger that concerns the transaction?"""
        self.lost = False
        """Has the client gone without our verdict?"""
        self.size = NOT_COME
        """Of the content, unstuffed; set when all of it has come."""

    # -- recipients

    def concerns(self, recipient: Recipient) -> bool:
        """May the ledger know anything about it?"""
        return self._ledger.concerns(self._envelope.reverse_path.key, recipient.path.key)

    async def recall(self, recipient: Recipient) -> Known:
        """What is known. Failure notices, whose sender is nobody, concern only the client that sent them before.

        A message whose declared size is another is another message.
        """
        reverse_path = self._envelope.reverse_path.key
        entries = await self._ledger.recall(reverse_path, recipient.path.key)
        if not reverse_path:
            session = self._session
            entries = [entry for entry in entries if session.client == entry.client or session.hello == entry.hello]
        declared = self._envelope.size
        entries = [entry for entry in entries if not (entry.declared and declared) or entry.declared == declared]
        if not entries:
            return NOTHING
        known = Known(entries, self._service.clock() - self._service.final - UNDER_WAY_GRACE)
        self._known = {**self._known, recipient: known}
        self.used = True
        return known

    async def yields(self, known: Known, stepped_back: Set[Way], individual: bool) -> bool:
        """Are others of its message to come first, since it has had its turn? Not those of ways that `stepped_back`.

        Some senders ask for their recipients in the same order each time. If the first one is put off by its
        destination time after time, the others would never be asked. So they have their turn, who waits longest first,
        and are all the younger then: if none of them comes, it is this one's turn again.
        """
        newest = max((entry for entry in known.entries if entry.apart), key=lambda entry: entry.time)
        older = _by_way(await self._ledger.rivals(newest), individual)
        rivals = [way for way in older if way not in stepped_back and way != known.way(individual)]
        if rivals and not stepped_back:
            now = self._service.clock()
            younger = [replace(entry, time=now + n * MOMENT) for n, way in enumerate(rivals) for entry in older[way]]
            await self._ledger.write(younger)
        return bool(rivals)

    async def had_their_turn(
        self, legs: Sequence[Leg], recipients: Iterable[Recipient], put_off: Iterable[PutOff]
    ) -> None:
        """They were asked, and put off by their destination: those whom we put off for them are first the next time."""
        now, message = self._service.clock(), self.message
        fresh = {entry.key: entry for entry in self._entries(legs, apart=True)}
        known = [entry for recipient in recipients for entry in self._known.get(recipient, NOTHING).entries]
        apart = [entry for entry in known if entry.apart and entry.state in (State.UNDELIVERED, State.UNKNOWN)]
        turned = [fresh.get(entry.key) or replace(entry, time=now) for entry in apart]
        waiting = [
            self._entry(
                message,
                recipient,
                destination.name,
                destination.name,
                State.UNDELIVERED,
                apart=True,
                time=now - MOMENT,
            )
            for recipient, destinations in put_off
            if recipient not in self._known
            for destination in destinations
        ]
        if waiting:
            turned += fresh.values()
        turned = [entry for entry in turned if entry.state is not State.COMMITTED]  # that is known, and stays so
        await self._ledger.write([*turned, *waiting])

    def refused(self, known: Known) -> None:
        """The destination wants no mail for the recipient any more: that it has to be asked alone is over."""
        self._ledger.settle([entry for entry in known.entries if entry.state is State.UNDELIVERED])

    # -- content

    @property
    def message(self) -> Fingerprint:
        """What tells the message from others. Before it has come, what tells this transaction from others."""
        if self.size == NOT_COME:
            return digest_of(self._envelope.id.encode()), NOT_COME
        return self.digest.value(), self.size

    # -- verdicts

    def note(self, legs: Iterable[Leg], *, at_once: bool = False) -> None:
        """Who has the message, in case we come to no end. It is settled if we do.

        Not as apart: nobody has disagreed yet, and other messages of this sender may be on their way.
        """
        entries = [entry for entry in self._entries(legs, apart=False) if entry.state is State.COMMITTED]
        self._note(entries, at_once)

    def _note(self, entries: Sequence[Entry], at_once: bool) -> None:
        self._noted = [*self._noted, *entries]
        self.used = True
        if entries and at_once:
            in_background(self._ledger.write(entries))
        else:
            self._ledger.note(entries)

    def note_under_way(self, legs: Iterable[Leg], *, at_once: bool) -> None:
        """Perhaps nobody waits for our verdict any more, and some destinations have given none yet."""
        waiting = [leg for leg in legs if not leg.concluded]
        entries = [replace(entry, state=State.UNDER_WAY) for entry in self._entries(waiting, apart=False)]
        self._note(entries, at_once)

    def arrived(self, legs: Sequence[Leg]) -> None:
        """All verdicts are there: who was noted as under way, and has not got the message, may come again at once."""
        if self._noted:
            got_none = {entry.key for entry in self._entries(legs, apart=False) if entry.state is State.UNDELIVERED}
            over = [entry for entry in self._noted if entry.state is State.UNDER_WAY and entry.key in got_none]
            self._noted = [entry for entry in self._noted if entry not in over]
            if over:
                self._ledger.settle(over)

    async def write(self, legs: Sequence[Leg], *, apart: bool = True) -> None:
        """Nobody is to hear a verdict before this is known: who has it, and who may have it.

        With `apart` also who has not: all of them are to be asked alone when they come again.
        """
        self.used = True
        entries = self._entries(legs, apart=apart)
        self._written = entries if apart else [entry for entry in entries if entry.state is not State.UNDELIVERED]
        self._settle_noted(but=self._written)
        await self._ledger.write(self._written)

    async def write_doubts(self, legs: Sequence[Leg]) -> None:
        """`write`, if there is a destination that has not answered its dot."""
        if any(leg.doubtful for leg in legs):
            await self.write(legs, apart=False)

    # -- afterwards

    def settle(self, told: Iterable[Recipient]) -> None:
        """The client has our reply: for those who were `told` a final verdict, the matter is closed."""
        message, paths, closed = self.message, set(), []
        for recipient in told:
            paths.add(recipient.path.key)
            closed += self._known.get(recipient, NOTHING).about(message)
        own = [*self._noted, *self._written]
        closed += [entry for entry in own if entry.state is State.UNDER_WAY or entry.forward_path in paths]
        self._noted = ()
        if closed:
            self._ledger.settle(closed)

    def keep(self, legs: Iterable[Leg]) -> None:
        """The client may not have our reply, and come again: what was accepted must not be delivered twice (T17)."""
        entries = [entry for entry in self._entries(legs, apart=False) if entry.state is State.COMMITTED]
        if entries:
            in_background(self._ledger.write(entries))
        self._settle_noted(but=entries)

    async def copied(self, leg: Leg, recipients: Iterable[Recipient]) -> None:
        """These were put off, and share a copy with others who were not: they have theirs when they come again."""
        paths = {recipient.path.key for recipient in recipients}
        entries = [entry for entry in self._entries([leg], apart=False) if entry.forward_path in paths]
        await self._ledger.write([entry for entry in entries if entry.state is State.COMMITTED])

    def _settle_noted(self, but: Iterable[Entry]) -> None:
        """What was noted is over, except for these: it was under way, and has been refused."""
        kept = {entry.key for entry in but}
        over, self._noted = [entry for entry in self._noted if entry.key not in kept], ()
        if over:
            self._ledger.settle(over)

    def _entries(self, legs: Iterable[Leg], *, apart: bool) -> list[Entry]:
        now, message = self._service.clock(), self.message
        return [
            self._entry(message, recipient, leg.delivery.name, leg.delivery.host, state, apart=apart, time=now)
            for leg in legs
            for recipient, state in leg.outcomes()
        ]

    def _entry(
        self,
        message: Fingerprint,
        recipient: Recipient,
        destination: str,
        host: str,
        state: State,
        *,
        apart: bool,
        time: float,
    ) -> Entry:
        digest, size = message
        return Entry(
            destination=destination,
            host=host,
            reverse_path=self._envelope.reverse_path.key,
            forward_path=recipient.path.key,
            digest=digest,
            size=size,
            state=state,
            apart=apart,
            client=self._session.client,
            hello=self._session.hello,
            time=time,
            declared=self._envelope.size,
        )
