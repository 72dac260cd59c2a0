"""What is run with which program: tests take their cases from these tables, and docs/interop.md shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from support.mailboxes import MAILBOXES
from support.senders import GIVE_UP, SENDERS

MANY = [*[("smtplib", name) for name in MAILBOXES], *[(name, "Dovecot") for name in SENDERS if name != "smtplib"]]
"""Who sends to 120 recipients where."""

LARGE = [
    ("Postfix", "Exim"),
    ("Exim", "OpenSMTPD"),
    ("OpenSMTPD", "Postfix"),
    ("OpenSMTPD's smtp", "Dovecot"),
    ("smtplib", "Dovecot"),
    ("swaks", "Postfix"),
    ("msmtp", "Exim"),
]
"""Who sends 50 MB where."""

IDENTITIES = {
    "xforward": ["Postfix"],
    "xclient": ["Postfix", "Dovecot"],
    "proxy-v1": ["Postfix", "Exim", "Dovecot"],
    "proxy-v2": ["Postfix", "Exim", "OpenSMTPD", "Dovecot"],
}
"""To whom the client is told, and how."""

Table = Mapping[str, Iterable[str]]
"""For each feature, the programs it is run with."""

AS_CLIENTS: Table = {
    "a message, bit for bit": SENDERS,
    "a recipient refused": SENDERS,
    "the others served then": [name for name in SENDERS if name not in GIVE_UP],
    "four destinations at once": SENDERS,
    "null reverse-path": SENDERS,
    "120 recipients": [client for client, _ in MANY],
    "50 MB": [client for client, _ in LARGE],
}

AS_DESTINATIONS: Table = {
    "a message, bit for bit": MAILBOXES,
    "a recipient refused, the others served": MAILBOXES,
    "with other destinations": MAILBOXES,
    "120 recipients": [destination for _, destination in MANY],
    "50 MB": [destination for _, destination in LARGE],
    **{f'`identity = "{identity}"`': those for identity, those in IDENTITIES.items()},
}


def rendered(table: Table, programs: Iterable[str]) -> str:
    """As a table of Markdown: a line for each feature, a column for each program."""
    columns = list(programs)
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for feature, those in table.items():
        run = set(those)
        cells = ["x" if program in run else "-" for program in columns]
        lines.append(f"| {feature} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
