"""smtp-sink, from Postfix: a destination that counts, refuses on demand, and can keep what it gets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from support.directories import UNPRIVILEGED, is_root, make_writable
from support.ports import LOOPBACK, free_port
from support.processes import Running, require_program

BACKLOG = "200"


@dataclass(frozen=True)
class Received:
    """One message as the sink kept it. The sink writes line ends as LF; `content` has them as CRLF again."""

    reverse_path: str
    forward_paths: list[str]
    content: bytes


class SmtpSink(Running):
    """A running sink. `refuse` names commands that it answers with `reply`; with `keep` it stores its messages."""

    def __init__(self, directory: Path, *, refuse: str = "", reply: str = "", keep: bool = False) -> None:
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self._kept = directory / f"sink-{self.port}"
        arguments = [require_program("smtp-sink"), "-c", "-m", BACKLOG]
        if is_root():
            arguments += ["-u", UNPRIVILEGED]
        if refuse:
            arguments += ["-r", refuse, "-b", reply] if reply.startswith("4") else ["-f", refuse, "-B", reply]
        if keep:
            self._kept.mkdir()
            make_writable(self._kept)
            arguments += ["-d", f"{self._kept}/message."]
        super().__init__([*arguments, self.address, BACKLOG], directory / f"sink-{self.port}.out")
        self.wait_for_greeting(self.port)

    def count(self) -> int:
        """How many messages the sink has answered 250 at their end."""
        counts = re.findall(r"mesg=(\d+)", self.text())
        return int(counts[-1]) if counts else 0

    def wait_for_count(self, messages: int) -> None:
        self.wait_until(lambda: self.count() >= messages, f"{messages} messages")

    def messages(self) -> list[Received]:
        """The messages kept, in no order. (Of a transaction that is still open there is an empty file.)"""
        dumps = [file.read_bytes() for file in self._kept.iterdir()]
        return [_parse(dump) for dump in dumps if dump]


def _parse(dump: bytes) -> Received:
    """Read smtp-sink's dump: its own fields end with a Received field of three lines, and it adds an empty line."""
    reverse_path = re.search(rb"^X-Mail-Args: <(.*)>", dump, re.MULTILINE)
    forward_paths = re.findall(rb"^X-Rcpt-Args: <(.*)>", dump, re.MULTILINE)
    own = re.search(rb"^Received: .*\n\tby .* \(smtp-sink\) .*\n\t.*\n", dump, re.MULTILINE)
    assert reverse_path
    assert own
    content = dump[own.end() : -1]
    return Received(
        reverse_path[1].decode(), [path.decode() for path in forward_paths], content.replace(b"\n", b"\r\n")
    )
