"""The names of identities."""

from __future__ import annotations

from typing import get_args

from moxy.outbound.identity import PERSONAL, Identity


def test_who_is_taken_for_the_client_is_so_on_the_whole_connection() -> None:
    """T25."""
    assert set(get_args(Identity)) - PERSONAL == {"none", "header", "xforward"}
