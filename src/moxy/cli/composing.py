"""Messages for `moxy send`: written here, or read from a file and made fit for the wire."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_FILLER_LINE: Final = b"The quick brown fox jumps over the lazy dog, and the mail goes on.\r\n"


class Letter:
    """A message written here. Each `content` has a Date and a Message-ID of its own; the rest is made once."""

    def __init__(self, sender: str, recipients: Sequence[str], subject: str, body: str, *, domain: str) -> None:
        """`domain` is the right half of the Message-IDs. Raises ValueError for a subject with a line end."""
        message = EmailMessage(policy=policy.SMTP.clone(cte_type="7bit"))
        message["From"] = sender or f"MAILER-DAEMON@{domain}"  # a message without reverse-path still has an author
        message["To"] = ", ".join(recipients)
        message["Subject"] = subject
        message.set_content(body)
        self._rest = message.as_bytes()
        self._domain = domain

    def content(self, size: int = 0) -> bytes:
        """One message with CRLF line ends; filled up to `size` octets."""
        date = formatdate(localtime=True)
        head = f"Date: {date}\r\nMessage-ID: {make_msgid(domain=self._domain)}\r\n".encode()
        return head + self._rest + filler(size - len(head) - len(self._rest))


def filler(octets: int) -> bytes:
    """Lines of text, so many octets in all; from two octets on the last line is complete."""
    if octets < 2:
        return b""
    lines = _FILLER_LINE * (octets // len(_FILLER_LINE) + 1)
    text = lines[-octets:]
    return b"." + text[1:] if text[:1] == b"\n" else text  # the cut fell between CR and LF


def with_crlf(octets: bytes) -> bytes:
    """`octets` with CRLF for every line end, one at the end included."""
    text = _LINE_END.sub(b"\r\n", octets)
    return text if not text or text.endswith(b"\r\n") else text + b"\r\n"
