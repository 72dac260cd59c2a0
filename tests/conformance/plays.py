"""All plays: importing this enters them into `TRAPS`."""

from __future__ import annotations

from collections.abc import Mapping

from conformance import chunking, content, encryption, envelope, failures, identity, offers, order, session
from conformance.trap import TRAPS, Trap

PLAYS = (chunking, content, encryption, envelope, failures, identity, offers, order, session)


def all_traps() -> Mapping[int, Trap]:
    """Every trap by its number."""
    return TRAPS
