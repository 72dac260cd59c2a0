"""docs/interop.md says what is run, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.features import AS_CLIENTS, AS_DESTINATIONS, Table, rendered
from support.mailboxes import MAILBOXES
from support.senders import SENDERS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "interop.md"


@pytest.mark.parametrize(
    ("table", "programs"), [(AS_CLIENTS, SENDERS), (AS_DESTINATIONS, MAILBOXES)], ids=["clients", "destinations"]
)
def test_the_tables_of_the_document_are_those_of_the_tests(table: Table, programs: dict[str, object]) -> None:
    expected = rendered(table, programs)
    assert expected in DOCUMENT.read_text(), f"docs/interop.md must have\n{expected}"
