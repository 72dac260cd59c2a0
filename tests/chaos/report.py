"""docs/promise.md, from what has come of all scenarios.

From one run to the next only this changes: how many answers a cut takes with it, and how many it comes too late for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos.judge import FAULTS, Result
from chaos.mutations import MUTATIONS, Mutation
from chaos.sections import IN_TROUBLE, SECTIONS, Section

PAGE = Path(__file__).parents[2] / "docs" / "promise.md"

_HEAD = """\
# The promise, put to the test

This page is made by `./run promise`, which takes some minutes; the tests play part of the same scenarios and compare.

A scenario is one message on its way through a real Moxy over real sockets: from a model of a sender's mail server, with
a queue, a fate for each recipient, and retries, to one, two or three scripted destinations. It goes on until every
recipient has a fate in the sender's log: **sent**, **bounced**, or **expired**, when it heard nothing but "later" in
{rounds} attempts. Then the sender's log is compared with what the destinations hold and have said. Neither shares code
with Moxy.

"""

_FAULTS = {
    "lost": "logged as sent, but its destination does not hold it (P1)",
    "invented": "an end of data that no sender had sent; a message for somebody who was not to get it (P2)",
    "doubled": "held twice where every outcome could be known (P3)",
    "changed": "other octets than the sender's (P4)",
    "untrue": "another fate than its own destination alone would have given it, or other words (P5, D7)",
    "untimely": "354 too early (D3), a dot out of order or after a refusal (D5)",
}

_WHAT = """\
Destinations do, in each phase (greeting, EHLO, MAIL, RCPT, DATA, in the middle of the content, at the dot): 2xx; 4xx
and 2xx next time; 5xx; 421; close; fall silent until the time is over; at the dot also 4xx and 5xx next time, 4xx for
ever, keep the message and close without a word, keep it and say nothing. Senders speak

- plain: command by command, QUIT at the end;
- as Postfix: the envelope pipelined, QUIT in one write with the dot, closing at once when the verdict is there;
- as Exim: the same, with a half-close, and recipients that were told 452 are repeated in the same session;
- no QUIT: closing after the verdict;
- PRDR: as Exim, which takes a verdict for each recipient;
- LMTP.

A cut closes or resets a connection after an octet, for every octet of both directions of the sender's connection and of
each destination's, with the retries that follow.

"""

_UNKNOWN = """\
## Unknown, and why

A destination has taken a message, and its answer does not reach Moxy: nobody can know then (RFC 1047). The sender is
told 451, its retry goes to the same host, and makes a second copy.

"""

_TROUBLE = """\
## Without a ledger

Whatever is wrong with the ledger's file, mail goes on without the memory: nothing is lost, invented or changed, but
retries after mixed verdicts double, as with any other relay.

"""

_BROKEN = """\
## Broken on purpose

Each of these mistakes was made in the running code, in turn, and found by a few of the scenarios.

"""

_NOT_SHOWN = """\
## What this does not show

- A sender's kernel acknowledges our reply, and its program ends before reading it, in order: that looks like success
  from here. (What ends without having read its octets resets the connection, and that is seen.)
- A sender that has always waited for our answers, and once does not: what it says behind its dot, if it arrives within
  a second of that but later than our 250 has left, looks like going on. (Who has ever sent ahead is asked for.)
- Moxy itself being killed: `tests/ledger` kills a worker that writes, and reads what it leaves.
- Real programs: `tests/interop` has Postfix, Exim and Dovecot on both sides.
- Content by BDAT, and TLS: T12 to T15 and T32 to T34 of [conformance.md](conformance.md).
"""


def row(section: Section, result: Result) -> str:
    """A section's line in its table."""
    fates = [result.fates[fate] for fate in ("sent", "bounced", "expired")]
    if section in IN_TROUBLE:  # who is lucky with a file that comes and goes is another one each time
        return _line(
            section.title, result.scenarios, *(result.faults[fault] for fault in ("lost", "invented", "changed"))
        )
    return _line(section.title, result.scenarios, *fates, result.unknown.total(), result.twice, result.faults.total())


def mutation_row(mutation: Mutation, faults: Mapping[str, int]) -> str:
    """A mutation's line in its table."""
    found = [fault for fault in FAULTS if fault in mutation.found_as and faults.get(fault)]
    return _line(mutation.name, f"`{mutation.seam}`", ", ".join(found) or "**not found**")


def page(
    results: Mapping[str, Result], troubled: Mapping[str, Result], found: Mapping[str, Mapping[str, int]], rounds: int
) -> str:
    """The whole page, from results by title, and from what was found of each mutation by name."""
    total = Result()
    for result in results.values():
        total.add(result)
    text = _HEAD.format(rounds=rounds)
    text += _table(("", ""), [_line(name, f"**{count:,}**") for name, count in _summary(total, found)])
    text += "**The promise is broken**; the command tells where.\n\n" if total.faults.total() else ""
    text += (
        "Of these a recipient may be\n\n" + "".join(f"- **{name}**: {what}\n" for name, what in _FAULTS.items()) + "\n"
    )
    text += "## What was tried\n\n" + _WHAT
    columns = ("", "scenarios", "sent", "bounced", "expired", "unknown", "second copies", "faults")
    text += _table(columns, [row(section, results[section.title]) for section in SECTIONS])
    text += _UNKNOWN
    text += _table(("", "recipients"), [_line(why, f"{total.unknown[why]:,}") for why in sorted(total.unknown)])
    text += _TROUBLE
    columns = ("the file is", "scenarios", "lost", "invented", "changed")
    text += _table(columns, [row(section, troubled[section.title]) for section in IN_TROUBLE])
    text += _BROKEN
    text += _table(("mistake", "made in", "found as"), [mutation_row(m, found[m.name]) for m in MUTATIONS])
    return text + _NOT_SHOWN


def _summary(total: Result, found: Mapping[str, Mapping[str, int]]) -> list[tuple[str, int]]:
    missed = sum(not mutation.found_as & set(found[mutation.name]) for mutation in MUTATIONS)
    return [
        ("scenarios", total.scenarios),
        ("fates of recipients", total.fates.total()),
        *((fault, total.faults[fault]) for fault in FAULTS),
        ("unknown", total.unknown.total()),
        ("mistakes made on purpose", len(MUTATIONS)),
        ("of them not found", missed),
    ]


def _line(*cells: object) -> str:
    texts = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells]
    return f"| {' | '.join(texts)} |\n"


def _table(columns: Sequence[str], lines: Sequence[str]) -> str:
    numbers = "|".join(["---", *(["---:"] * (len(columns) - 1))]) if len(columns) != 3 else "---|---|---"
    return f"| {' | '.join(columns)} |\n|{numbers}|\n{''.join(lines)}\n"
