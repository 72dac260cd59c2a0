"""Real destinations: each has a domain of its own with the same users, and refuses all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, Self

from support.dovecot import Dovecot
from support.exim import EximDestination
from support.opensmtpd import OpenSmtpdDestination
from support.postfix import PostfixDestination

CROWD = [f"user{number}" for number in range(120)]
USERS = ["ann", "bob", *CROWD]
NOBODY = "zed"


class Mailboxes(Protocol):
    """One destination. `refusal` is what it says of the recipient that it does not know, with `{path}` for its path."""

    protocol: str
    refusal: str
    port: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *about: object) -> None: ...

    def delivered(self, user: str) -> list[bytes]:
        """The messages in this user's mailbox, as files."""
        ...


class Postfix(PostfixDestination):
    protocol = "smtp"
    refusal = "550 5.1.1 <{path}>: Recipient address rejected: User unknown in virtual mailbox table"

    def __init__(self, directory: Path, domain: str) -> None:
        super().__init__(directory, domain, USERS)


class Exim(EximDestination):
    protocol = "smtp"
    refusal = "550 5.1.1 <{path}> is nobody here"

    def __init__(self, directory: Path, domain: str) -> None:
        super().__init__(directory, domain, USERS)


class OpenSmtpd(OpenSmtpdDestination):
    protocol = "smtp"
    refusal = "550 Invalid recipient: <{path}>"

    def __init__(self, directory: Path, domain: str) -> None:
        super().__init__(directory, domain, USERS)


class DovecotLmtp(Dovecot):
    protocol = "lmtp"
    refusal = "550 5.1.1 <{path}> User doesn't exist: {path}"

    def __init__(self, directory: Path, domain: str) -> None:
        self._domain = domain
        super().__init__(directory, {f"{user}@{domain}": True for user in USERS})

    def delivered(self, user: str) -> list[bytes]:
        return super().delivered(f"{user}@{self._domain}")


MAILBOXES: Mapping[str, Callable[[Path, str], Mailboxes]] = {
    "Postfix": Postfix,
    "Exim": Exim,
    "OpenSMTPD": OpenSmtpd,
    "Dovecot": DovecotLmtp,
}


def domain_of(name: str) -> str:
    """The domain of the destination of this name."""
    return f"{name.lower()}.test"
