"""What happened: every delivery leaves one Record, and sinks write it down.

    record       Record and Outcome: all that a sink ever sees
    recorder     Recorder: hands each record to every sink
    textformat   LineFormat: the original's `log_format`, a record as one line of text
    filelog      FileLog: such lines in a file (`filelog`)
    syslog       SyslogLog: such lines to the local syslog daemon (`syslog`)
    totals       Totals: octets and messages, and how they stand in a GNU dbm file
    totalsfile   TotalsFile: adding to such a file, which is whole at every instant
    gdbmlog      GdbmLog: live totals for each destination (`gdbmlog`)
    linereader   LineReader: a line of a log taken apart again, whatever its format
    patterns     what the words of a line look like
    datereader   dates read back by the format they were written in
    escape       peers' text made harmless for logs
    operatorlog  the other log, for the operator: what Moxy itself has to say

Rules:
- Observing is apart from deciding: a sink sees records and cannot answer. What goes wrong here never reaches the mail.
- `nolog` is no sink at all.
"""

from __future__ import annotations

from typing import Protocol

from moxy.accounting.record import Record


class Sink(Protocol):
    """One place where records are kept. A new kind has these three methods."""

    def record(self, record: Record) -> None:
        """Take one record. Must neither block nor raise; a sink that cannot keep up may drop records and count them."""

    def reopen(self) -> None:
        """Open files anew: they may have been renamed (log rotation)."""

    def close(self) -> None:
        """Write what is still held back, and give back what the sink holds. It gets no more records."""
