"""ContentDigest: what tells one content from another, for those few messages of which somebody asks.

A message that goes well needs none (`moxy.inbound.memory`), and a digest costs more than to keep a small message in
memory until it is certain how its transaction has ended: so that is done. Why BLAKE3: decisions, 010.
"""

from __future__ import annotations

from typing import Final

from blake3 import blake3

HELD: Final = 4096
"""Octets that are kept for who may ask: as long as it is open whether the client has its answer. Of more, the digest is
taken as they come, in portions of that.
"""

PIECES: Final = 16
"""In how many blocks they may be, since each takes memory beside its octets."""


def digest_of(octets: bytes) -> bytes:
    """The digest of octets that are all there."""
    return blake3(octets).digest()


class ContentDigest:
    """The digest of content that comes in blocks."""

    __slots__ = ("_blocks", "_hasher", "_held")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._held = 0
        self._hasher: blake3 | None = None  # once there is more than is kept

    def feed(self, block: bytes) -> None:
        """More content."""
        self._blocks.append(block)
        self._held += len(block)
        if self._held > HELD or len(self._blocks) > PIECES:
            self._take_in()

    def value(self) -> bytes:
        """The digest of all that has come so far: 32 octets."""
        return self._take_in().digest()

    def _take_in(self) -> blake3:
        hasher = self._hasher
        if hasher is None:
            hasher = self._hasher = blake3()
        for block in self._blocks:
            hasher.update(block)
        self._blocks = []
        self._held = 0
        return hasher
