"""Every reply that Moxy itself ever sends, named, in one table. All others are a destination's own words.

(One more, IMPOSSIBLE_ANSWER, stands in `reply` beside `pass_on`, which gives it in place of such words.)

Rules:
- The texts are short, kind and plain, and hold no host name. 220, 221 and 421 begin with ours on the wire (RFC 5321
  §4.2): `greeting` and `closing` put it there, and they are not to be sent without.
- Every reply has an enhanced status code, except 3xx, the greeting and the answers to HELO and EHLO (RFC 2034 §4).

RFC 5321 §4.2.2 to §4.3.2 (codes); RFC 3030 §2 (BDAT); RFC 3463 §3 (enhanced status codes); T1 to T55 are the traps of
the contract.
"""

from __future__ import annotations

from typing import Final

from moxy.smtp.reply import Reply

CLOSING_CODE: Final = 421
"""The code that says: and now I close the connection (RFC 5321 §3.8)."""


def greeting(hostname: str, banner: str) -> Reply:
    """The first reply of a session (RFC 5321 §3.1): our name, then the operator's banner."""
    return Reply(220, "", f"{hostname} {banner}".rstrip())


def hello(hostname: str) -> Reply:
    """The answer to HELO (RFC 5321 §4.1.1.1). That to EHLO names extensions: see `extension.Offer`."""
    return Reply(250, "", hostname)


def closing(hostname: str, reply: Reply) -> Reply:
    """`reply`, a 221 or 421 of the table, with our name in front of its text (RFC 5321 §4.2.2)."""
    first, *others = reply.lines
    return Reply(reply.code, reply.status, f"{hostname} {first}", *others)


def bad_address(status: str, text: str) -> Reply:
    """The refusal of a path, from an AddressError's status and text (RFC 5321 §4.1.1.2, §4.1.1.3)."""
    return Reply(501, status, text)


def bad_hello(text: str) -> Reply:
    """The refusal of the argument of HELO or EHLO, from an AddressError's text (RFC 5321 §4.1.1.1)."""
    return Reply(501, "5.4", text)


# Good answers
OK: Final = Reply(250, "0.0", "OK")  # RFC 5321 §4.1.1.5 (RSET), §4.1.1.9 (NOOP)
SENDER_OK: Final = Reply(250, "1.0", "Sender OK")  # RFC 5321 §4.1.1.2
RECIPIENT_OK: Final = Reply(250, "1.5", "Recipient OK")  # RFC 5321 §4.1.1.3
MESSAGE_ACCEPTED: Final = Reply(250, "6.0", "Message accepted")  # RFC 5321 §4.1.1.4
ALREADY_ACCEPTED: Final = Reply(250, "6.0", "Message accepted before")  # contract D7, D8
START_MAIL_INPUT: Final = Reply(354, "", "Start mail input; end with <CRLF>.<CRLF>")  # RFC 5321 §4.1.1.4
READY_FOR_TLS: Final = Reply(220, "0.0", "Ready to start TLS")  # RFC 3207 §4
CHUNK_OK: Final = Reply(250, "0.0", "Chunk received")  # RFC 3030 §2; T14
CANNOT_VERIFY: Final = Reply(252, "5.0", "Addresses are checked when mail is sent to them")  # RFC 5321 §3.5.3; T36
HELP: Final = Reply(214, "0.0", "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT")  # RFC 5321 §4.1.1.8
LMTP_HELP: Final = Reply(214, "0.0", "Commands: LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT")  # RFC 2033 §4.1

# Around the replies for each recipient, where the client asked for them (PRDR: draft-hall-prdr, as Exim speaks it)
PRDR_BEGINS: Final = Reply(353, "", "A reply for each recipient follows")
PRDR_ALL: Final = Reply(250, "6.0", "Message accepted for all recipients")
PRDR_SOME: Final = Reply(250, "6.0", "Message accepted for some recipients")
PRDR_NONE: Final = Reply(450, "0.0", "Message accepted for no recipient")

# We close the connection; sent through `closing`
BYE: Final = Reply(221, "0.0", "Goodbye")  # RFC 5321 §4.1.1.10
SHUTTING_DOWN: Final = Reply(CLOSING_CODE, "3.2", "Shutting down, please try again")  # RFC 5321 §3.8
TOO_MANY_SESSIONS: Final = Reply(CLOSING_CODE, "3.2", "Too many connections, please try again later")  # RFC 5321 §7.8
TOO_MANY_TRANSACTIONS: Final = Reply(CLOSING_CODE, "3.2", "Too many messages, please connect again")  # RFC 9422 §4.1
TOO_MANY_ERRORS: Final = Reply(CLOSING_CODE, "7.0", "Too many errors")  # RFC 5321 §7.8
TIMEOUT: Final = Reply(CLOSING_CODE, "4.2", "Waited too long for you")  # RFC 5321 §4.5.3.2.7
TOO_SLOW: Final = Reply(CLOSING_CODE, "4.2", "The message comes too slowly")  # RFC 5321 §4.5.3.2; T39
WRONG_PROTOCOL: Final = Reply(CLOSING_CODE, "7.0", "This is a mail server, not a web server")  # RFC 5321 §7.8
BEHIND_STARTTLS: Final = Reply(CLOSING_CODE, "7.0", "Nothing may follow STARTTLS but TLS")  # RFC 3207 §4.2, §6; T32
CHUNK_TOO_BIG: Final = Reply(CLOSING_CODE, "5.1", "BDAT is out of order, and too big to be read into nothing")  # T13
BAD_CHUNK: Final = Reply(CLOSING_CODE, "5.4", "BDAT needs a size, or nobody knows what follows")  # RFC 3030 §2

# Commands ill-formed
UNKNOWN_COMMAND: Final = Reply(500, "5.1", "Command not recognized")  # RFC 5321 §4.2.4
NOT_IMPLEMENTED: Final = Reply(502, "5.1", "Command not implemented")  # RFC 5321 §4.2.4
LINE_TOO_LONG: Final = Reply(500, "5.2", "Line too long")  # RFC 5321 §4.5.3.1.9; T40
BARE_LINE_END_IN_COMMAND: Final = Reply(500, "5.2", "A command must end with CRLF")  # RFC 5321 §2.3.8; T29
SYNTAX_MAIL: Final = Reply(501, "5.2", "Please write MAIL FROM:<address>")  # RFC 5321 §4.1.1.2
SYNTAX_RCPT: Final = Reply(501, "5.2", "Please write RCPT TO:<address>")  # RFC 5321 §4.1.1.3
ARGUMENT_EXPECTED: Final = Reply(501, "5.4", "This command needs an argument")  # RFC 5321 §4.1.1
NO_ARGUMENT_EXPECTED: Final = Reply(501, "5.4", "This command takes no argument")  # RFC 5321 §4.1.1
BAD_PARAMETERS: Final = Reply(501, "5.4", "Parameters not understood")  # RFC 5321 §4.1.1.11
BAD_ATTRIBUTES: Final = Reply(501, "5.4", "Attributes not understood")  # XCLIENT_README
UNKNOWN_PARAMETER: Final = Reply(555, "5.4", "Parameter not recognized")  # RFC 5321 §4.1.1.11
NEEDS_SMTPUTF8: Final = Reply(553, "6.7", "The address has non-ASCII characters, which need SMTPUTF8")  # RFC 6531 §3.5

# Commands out of order (RFC 5321 §4.1.4)
HELLO_FIRST: Final = Reply(503, "5.1", "Please send EHLO first")
LHLO_FIRST: Final = Reply(503, "5.1", "Please send LHLO first")
MAIL_FIRST: Final = Reply(503, "5.1", "Please send MAIL first")
NESTED_MAIL: Final = Reply(503, "5.1", "A mail transaction is open already")
TLS_IS_ON: Final = Reply(503, "5.1", "TLS is on already")  # RFC 3207 §4
BDAT_OR_RSET: Final = Reply(503, "5.1", "After BDAT please send BDAT or RSET")  # RFC 3030 §2
BINARY_BY_BDAT: Final = Reply(503, "5.1", "Please send BODY=BINARYMIME by BDAT")  # RFC 3030 §3
NO_VALID_RECIPIENTS: Final = Reply(554, "5.1", "No valid recipients")  # RFC 5321 §3.3; RFC 2920 §3.1; T3
LMTP_NO_VALID_RECIPIENTS: Final = Reply(503, "5.1", "No valid recipients")  # RFC 2033 §4.2

# Mail that we do not take
RELAYING_DENIED: Final = Reply(550, "7.1", "Relaying denied")  # RFC 5321 §3.6.2; RFC 3463 §3.8
TOO_MANY_RECIPIENTS: Final = Reply(452, "5.3", "Too many recipients, please send the others after")  # §4.5.3.1.10
# 451 where one might expect 452: after a 5xx to content Exim (4.96) bounces those whom 452 put off, too.
TOO_MANY_DOMAINS: Final = Reply(451, "5.3", "Too many domains, please send the others after")  # RFC 9422 §4.3
SPLIT: Final = Reply(451, "5.3", "One at a time please; send this recipient again")  # contract D7, D9
MESSAGE_TOO_BIG: Final = Reply(552, "3.4", "Message too big")  # RFC 1870 §6.1, §6.3
SIZE_REFUSED_AT_RCPT: Final = Reply(550, "3.4", "Message too big for this recipient")  # RFC 1870 §6.4, but 550: T11
NO_8BITMIME: Final = Reply(550, "6.3", "This recipient's server takes no 8-bit content")  # RFC 6152 §3; T9
NO_BINARYMIME: Final = Reply(550, "6.3", "This recipient's server takes no binary content")  # RFC 3030 §3; T12
NO_SMTPUTF8: Final = Reply(550, "6.7", "This recipient's server takes no internationalized mail")  # RFC 6531 §3.5; T10
NO_REQUIRETLS: Final = Reply(550, "7.30", "This recipient's server cannot be reached as REQUIRETLS asks")  # T15
BARE_LINE_END: Final = Reply(554, "6.0", "The message has a bare CR or LF; lines must end with CRLF")  # §2.3.8; T29
NO_LAST_LINE_END: Final = Reply(554, "6.0", "The message does not end with CRLF, and cannot pass here")  # T12
TOO_MANY_HOPS: Final = Reply(554, "4.6", "Mail loop: too many hops")  # RFC 5321 §6.3; T44
LOOP_TO_SELF: Final = Reply(554, "4.6", "Mail loop: the destination is this server itself")  # RFC 5321 §6.3; T44

# What a destination lacks that could do without: it is not offered again while that is so (contract T8)
NO_DSN: Final = Reply(451, "3.3", "This recipient's server gives no delivery reports, please try again")  # T16
NO_DELIVERBY: Final = Reply(451, "3.3", "This recipient's server takes no delivery time, please try again")
NO_FUTURERELEASE: Final = Reply(451, "3.3", "This recipient's server holds no mail back, please try again")
NO_MT_PRIORITY: Final = Reply(451, "3.3", "This recipient's server takes no priorities, please try again")

# Mail that we cannot pass on now
LOOKUP_FAILED: Final = Reply(451, "4.3", "Destination lookup failed, please try again later")  # RFC 3463 §3.5; T49
DESTINATION_UNREACHABLE: Final = Reply(451, "4.1", "Destination not reached, please try again later")  # RFC 3463 §3.5
DESTINATION_LOST: Final = Reply(451, "4.2", "Connection to the destination lost, please try again later")  # T20
DESTINATION_SILENT: Final = Reply(451, "4.2", "The destination did not answer, please try again later")  # T20, T37
DESTINATION_BUSY: Final = Reply(451, "3.2", "The destination is busy, please try again later")  # RFC 3463 §3.4
DESTINATION_GARBLED: Final = Reply(451, "5.0", "The destination's answer makes no sense, please try again later")  # T42
IDENTITY_REFUSED: Final = Reply(451, "3.5", "The destination is not set up for us, please try again later")  # T25, T26
TLS_NOT_OFFERED: Final = Reply(451, "7.4", "The destination offers no encryption, please try again later")  # T34
TLS_FAILED: Final = Reply(451, "7.5", "No secure connection to the destination, please try again later")  # T34
NOT_LET_IN: Final = Reply(451, "7.0", "The destination does not let us in, please try again later")  # RFC 4954 §6
NOT_LET_IN_NOW: Final = Reply(451, "7.0", "The destination lets nobody in now, please try again later")  # RFC 4954 §6
UNDER_WAY: Final = Reply(451, "3.0", "This message is being delivered already, please try again later")  # RFC 1047; T17
MIXED_VERDICTS: Final = Reply(451, "3.0", "The destinations disagree, please try again later")  # contract D3, D7
ABORTED: Final = Reply(451, "4.2", "The client gave the transaction up")  # on no wire; why a delivery was ended
INTERNAL_ERROR: Final = Reply(451, "3.0", "Something went wrong here, please try again later")  # RFC 5321 §4.2.2
