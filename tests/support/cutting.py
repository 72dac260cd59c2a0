"""Streams in pieces: what a network may do to octets under way, and no parser may notice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise

from hypothesis import strategies as st

cut_places = st.sets(st.integers(1, 600))
"""Places to cut a stream at; those beyond its end do nothing."""


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """The stream in pieces, none of them empty."""
    bounds = [0, *sorted({place for place in places if 0 < place < len(stream)}), len(stream)]
    return [stream[start:end] for start, end in pairwise(bounds) if start < end]


def octets(stream: bytes) -> list[bytes]:
    """The stream in pieces of one octet."""
    return cut(stream, range(len(stream)))


def every_cut(stream: bytes) -> Iterator[list[bytes]]:
    """All ways to cut the stream into pieces: 2 ** (length - 1)."""
    places = range(1, len(stream))
    for count in range(max(len(stream), 1)):
        for chosen in combinations(places, count):
            yield cut(stream, chosen)


def in_two(stream: bytes) -> Iterator[list[bytes]]:
    """The stream in one piece, and in two at every place."""
    for place in range(len(stream) or 1):
        yield cut(stream, [place])
