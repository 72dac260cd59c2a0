"""The section `[ledger]` of the schema. As in `schema`, the text documents the key."""

from typing import Annotated

from pydantic import Field

from moxy.config.types import Count, File, Form, Section


class Ledger(Section):
    """The memory of who has which message, for when a sender tries again after a reply was lost or some of several
    destinations refused. `moxy ledger` shows it.
    """

    path: File | None = Field(default=None, examples=["/var/lib/moxy/ledger.db"])
    """The file, created if missing; its directory must be writable for the user of `runas`. Left out: `ledger.db` in
    the directory that systemd gives a service (StateDirectory); else a temporary file, and Moxy forgets when it stops.
    """

    hours: Annotated[int, Field(ge=0, le=87600), Form("number", str)] = 72
    """How many hours an entry is kept. Senders try again for some days (RFC 5321 §4.5.4.1). 0: no ledger. Then a
    recipient may get a second copy where a sender tries again, and a message about which destinations disagree may
    reach nobody until the sender gives up: better set `spread` to `first` as well.
    """

    entries: Annotated[Count, Field(le=1_000_000)] = 100_000
    """Entries in the file, some 300 octets each. Where there would be more, the oldest go."""
