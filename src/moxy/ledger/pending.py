"""Pending: what a worker knows and the file may not: entries that are only noted, and changes on their way to it.

Rules: in its own worker an entry is known from the moment it is noted or written, though the file gets it later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from moxy.ledger.entry import Entry, Key


class Pending:
    """By the hash of (reverse-path, forward-path). Others may look into `noted` and `coming`, and change nothing."""

    def __init__(self) -> None:
        self.noted: dict[int, dict[Key, Entry]] = {}
        self.coming: dict[int, list[Entry | Key]] = {}
        """In the order in which they were sent: an Entry is to be written, what has a Key to be confirmed."""

    def note(self, entry: Entry) -> int:
        """Note it, in the place of what was noted under its key; the hash of its pair."""
        pair = pair_of(entry)
        noted = self.noted.get(pair)
        if noted is None:
            self.noted[pair] = {entry.key: entry}
        else:
            noted[entry.key] = entry
        return pair

    def is_noted(self, pair: int, entry: Entry) -> bool:
        """Whether it is noted still: this very entry, and no later one."""
        return self.noted.get(pair, {}).get(entry.key) is entry

    def drop(self, entry: Entry) -> None:
        """It, or what has its key, is noted no more."""
        pair = pair_of(entry)
        noted = self.noted.get(pair)
        if noted is not None and noted.pop(entry.key, None) is not None and not noted:
            del self.noted[pair]

    def sent(self, changes: Iterable[Entry | Key]) -> None:
        """They are on their way."""
        for change in changes:
            self.coming.setdefault(pair_of(change), []).append(change)

    def arrived(self, changes: Sequence[Entry | Key]) -> None:
        """Those that were sent first have arrived."""
        for change in changes:
            pair = pair_of(change)
            waiting = self.coming[pair]
            del waiting[0]
            if not waiting:
                del self.coming[pair]

    def merged(self, about: tuple[str, str], found: Iterable[Entry]) -> list[Entry]:
        """The open entries about a pair: those `found` in the file, as they will be when all this is there."""
        pair = hash(about)
        known = {entry.key: entry for entry in found}
        for change in self.coming.get(pair, ()):
            if isinstance(change, Entry):
                known[change.key] = change
            else:
                known.pop(change, None)
        known |= self.noted.get(pair, {})
        return [entry for key, entry in known.items() if entry.open and key[1:3] == about]

    def clear(self) -> None:
        """Nothing is pending."""
        self.noted.clear()
        self.coming.clear()


def pair_of(change: Entry | Key) -> int:
    """The hash of its reverse-path and forward-path."""
    if isinstance(change, Entry):
        return hash((change.reverse_path, change.forward_path))
    return hash(change[1:3])
