"""Scenarios of the proof, section by section; docs/promise.md says what has come of all of them.

Where only the numbers differ, `./run promise` writes the page anew.
"""

from __future__ import annotations

import pytest

from chaos import report
from chaos.mutations import MUTATIONS
from chaos.run import play_section, scenarios_of
from chaos.sections import IN_TROUBLE, SECTIONS, Section
from support.scenario import scenario

pytestmark = pytest.mark.timeout(600)


WHOLE = 400
"""A section of no more scenarios is played whole, and its line of the page compared."""

SAMPLE = 120
"""Scenarios of a larger one that are played here, drawn from all; `./run promise` plays them all (minutes of CPU)."""


@pytest.mark.parametrize("section", [*SECTIONS, *IN_TROUBLE], ids=lambda section: section.title)
@scenario
async def test_the_promise_is_kept_as_the_page_says(section: Section) -> None:
    total = len(await scenarios_of(section))
    result = await play_section(section, SAMPLE if total > WHOLE else None)
    assert not result.faults, result.first
    cells = next(line for line in map(_cells, report.PAGE.read_text().splitlines()) if line[0] == section.title)
    assert cells[1] == f"{total:,}"
    if result.scenarios == total:
        assert said(section, cells) == said(section, _cells(report.row(section, result)))


def _cells(line: str) -> list[str]:
    return line.strip().removeprefix("| ").removesuffix(" |").split(" | ")


def said(section: Section, cells: list[str]) -> list[str]:
    """The cells of a line that must be as the page says.

    Whether a cut takes an answer with it, or comes a moment after it, is another one each time.
    """
    return cells[:5] + cells[7:] if section.cut else cells


def rows(heading: str) -> list[str]:
    """The names in the table under a heading of the page."""
    _, _, part = report.PAGE.read_text().partition(f"\n## {heading}\n")
    lines = [line for line in part.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [line.removeprefix("| ").partition(" | ")[0] for line in lines[1:]]


def test_the_page_has_every_section_and_no_other():
    assert rows("What was tried") == [section.title for section in SECTIONS]
    assert rows("Without a ledger") == [section.title for section in IN_TROUBLE]


def test_the_page_has_every_mutation_and_no_other():
    assert rows("Broken on purpose") == [mutation.name for mutation in MUTATIONS]
    for mutation in MUTATIONS:
        assert report.mutation_row(mutation, dict.fromkeys(mutation.found_as, 1)) in report.PAGE.read_text()
