"""A naive receiver, for comparison: it has the whole stream before it, and looks ahead as far as it likes."""

from __future__ import annotations

import re

from moxy.smtp import replies
from moxy.smtp.command import (
    Bdat,
    Command,
    Data,
    EndOfChunk,
    EndOfData,
    Expn,
    Hello,
    Help,
    Invalid,
    LastChunk,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Verbs,
    Vrfy,
    XClient,
    parse,
)

BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class NaiveReceiver:
    """Where in the stream the client is, and what it may say there."""

    def __init__(self, stream: bytes, verbs: Verbs, *, command_line: int, size: int) -> None:
        self.verbs = verbs
        self._stream = stream
        self._command_line = command_line
        self._size = size
        self._place = 0
        self._greeted = False
        self._chunk: tuple[int, bool] = (0, False)
        self._end_transaction()

    def _end_transaction(self) -> None:
        self._mail: Mail | None = None
        self.recipients = 0
        self.in_chunks = self.unwanted = False
        self._plain = b""

    # -- commands

    def command(self, *, unread: int) -> Command:
        """The command that comes now. `unread`: octets behind it that have come already."""
        end = self._stream.index(b"\n", self._place) + 1
        line, self._place = self._stream[self._place : end], end
        if len(line) > self._command_line:
            return Invalid(replies.LINE_TOO_LONG)
        if not line.endswith(b"\r\n"):
            return Invalid(replies.BARE_LINE_END_IN_COMMAND)
        command = parse(line[:-2], self.verbs)
        if type(command) is StartTls and self._may(command) and unread:
            return Invalid(replies.BEHIND_STARTTLS)
        if self._may(command):
            return command
        if isinstance(command, Bdat):
            if command.octets > self._size:
                return Invalid(replies.CHUNK_TOO_BIG)
            self._place += command.octets
        return Invalid(self._out_of_order(command))

    def _may(self, command: Command) -> bool:
        """RFC 5321 §4.1.4, RFC 3030 §2, RFC 3207 §4 and XCLIENT_README, in other words than the receiver's table."""
        if isinstance(command, Hello | Rset | Noop | Vrfy | Expn | Help | Quit | Invalid):
            return True
        if isinstance(command, XClient):
            return self._mail is None
        if isinstance(command, Mail | StartTls):
            return self._greeted and self._mail is None
        if isinstance(command, Bdat):
            return self._mail is not None
        return not self.in_chunks and (self.recipients > 0 if isinstance(command, Data) else self._mail is not None)

    def _out_of_order(self, command: Command) -> replies.Reply:
        lmtp = b"LHLO" in self.verbs
        if not self._greeted:
            return replies.LHLO_FIRST if lmtp else replies.HELLO_FIRST
        if self._mail is None:
            return replies.MAIL_FIRST
        if self.in_chunks:
            return replies.BDAT_OR_RSET
        if isinstance(command, Data):
            return replies.LMTP_NO_VALID_RECIPIENTS if lmtp else replies.NO_VALID_RECIPIENTS
        return replies.NESTED_MAIL

    def answered(self, command: Command, *, accepted: bool) -> None:
        """It was accepted, or refused: what follows from that."""
        if isinstance(command, EndOfData | LastChunk):
            self._end_transaction()
        elif isinstance(command, Bdat):
            self.in_chunks = True
            self.unwanted = self.unwanted or not accepted
            self._chunk = command.octets, command.last
        elif accepted:
            self._accepted(command)

    def _accepted(self, command: Command) -> None:
        if isinstance(command, Hello | Rset | XClient):
            self._end_transaction()
        if isinstance(command, Hello):
            self._greeted = True
        elif isinstance(command, XClient):
            self._greeted = False
        elif isinstance(command, Mail):
            self._mail = command
        elif isinstance(command, Rcpt):
            self.recipients += 1

    # -- content

    @property
    def binary(self) -> bool:
        """May the content have any octets?"""
        return self._mail is not None and self._mail.body == "BINARYMIME"

    def may_hold(self, content: bytes) -> bool:
        """Can this be the beginning of what follows now, in wire form?"""
        if not self.in_chunks:
            end = (b"\r\n" + self._stream[self._place :]).find(b"\r\n.\r\n")
            return self._stream[self._place :][: None if end < 0 else end].startswith(content)
        plain = self._plain + self._stream[self._place : self._place + self._chunk[0]]
        return stuffed(plain).startswith(content)

    def end_of_data(self) -> tuple[EndOfData, bytes, bool]:
        """The final dot, the content before it in wire form, and whether it may be delivered."""
        wire = b"\r\n" + self._stream[self._place :]
        end = wire.index(b"\r\n.\r\n")
        content = wire[2 : end + 2]
        self._place += end + 3
        octets = len((b"\r\n" + content).replace(b"\r\n.", b"\r\n")) - 2
        return EndOfData(octets), content, not BARE_LINE_END.search(content) and octets <= self._size

    def end_of_chunk(self) -> tuple[EndOfChunk | LastChunk, bytes, bool]:
        """The end of a chunk, the whole content so far in wire form, and whether it may be delivered."""
        octets, last = self._chunk
        assert self._place + octets <= len(self._stream)
        self._plain += self._stream[self._place : self._place + octets]
        self._place += octets
        plain = self._plain
        if not last:
            plain = plain.removesuffix(b"\r")  # nobody knows yet
        fit = not self.unwanted and len(plain) <= self._size and (self.binary or not BARE_LINE_END.search(plain))
        whole_lines = not plain or plain.endswith(b"\r\n")
        return LastChunk(len(plain), whole_lines=whole_lines) if last else EndOfChunk(), stuffed(plain), fit


def stuffed(plain: bytes) -> bytes:
    """Plain content in wire form."""
    return (b"\r\n" + plain).replace(b"\r\n.", b"\r\n..")[2:]
