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

UTF8_CLIENTS = ["Postfix", "Exim", "smtplib"]
UTF8_DESTINATIONS = ["Postfix", "Exim"]
"""With addresses and header fields in UTF-8."""

DSN_CLIENTS = ["Postfix", "Exim", "OpenSMTPD", "smtplib", "msmtp"]
DSN_DESTINATIONS = ["Postfix", "Exim", "OpenSMTPD"]
"""Who asks for notifications, and who makes them."""

CHUNKING_CLIENTS = ["Exim", "smtplib"]
CHUNKING_DESTINATIONS = ["Postfix", "Exim", "Dovecot"]
"""With BDAT; smtplib does not know it, the test says it through it."""

TLS_CLIENTS = list(SENDERS)
"""Who sends over TLS, by STARTTLS and from the first octet."""

VERIFYING = [name for name in TLS_CLIENTS if not name.startswith("OpenSMTPD")]
"""Who can be told of an authority of our own, and then sends nothing to who has no certificate of its."""

TLS_DESTINATIONS = ["Postfix", "Exim", "Dovecot"]
"""Who is sent to over TLS, both ways, verified or not, and asks for our certificate."""

MECHANISMS = {
    "PLAIN": ["Postfix", "Exim"],
    "LOGIN": ["Postfix", "Exim"],
    "CRAM-MD5": ["Postfix", "Exim"],
    "SCRAM-SHA-256": ["Postfix"],
}
"""Where Moxy logs in, and how."""

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
    "SMTPUTF8": UTF8_CLIENTS,
    "DSN": DSN_CLIENTS,
    "CHUNKING (BDAT)": CHUNKING_CLIENTS,
    "STARTTLS, and TLS from the first octet": TLS_CLIENTS,
    "only where our certificate is right": VERIFYING,
}

AS_DESTINATIONS: Table = {
    "a message, bit for bit": MAILBOXES,
    "a recipient refused, the others served": MAILBOXES,
    "with other destinations": MAILBOXES,
    "120 recipients": [destination for _, destination in MANY],
    "50 MB": [destination for _, destination in LARGE],
    "SMTPUTF8": UTF8_DESTINATIONS,
    "DSN": DSN_DESTINATIONS,
    "CHUNKING (BDAT)": CHUNKING_DESTINATIONS,
    "STARTTLS, and TLS from the first octet": TLS_DESTINATIONS,
    "only where their certificate is right": TLS_DESTINATIONS,
    "ours, where they ask for it": TLS_DESTINATIONS,
    **{f"AUTH {mechanism}": those for mechanism, those in MECHANISMS.items()},
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
