"""Sizes and times of the protocol itself (RFC 5321 §4.5.3). Octets and seconds.

What an operator may change lives in the configuration and is handed to the machines; these are the floors and
ceilings that the machines hold on their own.
"""

from __future__ import annotations

from typing import Final

COMMAND_LINE: Final = 4096
"""Longest command line with its CRLF. RFC 5321 §4.5.3.1.4 asks for 512 and room for extensions' parameters."""

REPLY_LINE: Final = 512
"""Longest reply line that we send, CRLF included (RFC 5321 §4.5.3.1.5)."""

MESSAGE_SIZE: Final = 50 << 20
"""Default for the largest message, announced as SIZE (RFC 1870)."""

RECIPIENTS: Final = 1000
"""Default for recipients a transaction; never under 100 (RFC 5321 §4.5.3.1.8)."""

ANNOUNCED: Final = 999_999
"""The largest number that a limit can be announced with: six digits (RFC 9422 §4)."""

PARALLEL_RECIPIENTS: Final = 100
"""RCPT commands of one client that may wait for their answers at once (RFC 2920 lets a client send any number)."""
