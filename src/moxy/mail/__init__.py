"""The nouns of the mail transaction, shared by every layer above: Session, Envelope, Recipient, Route.

Plain values without I/O. RFC 5321 §2.3.1 (envelope), §3.3 (mail transaction).
"""

from moxy.mail.envelope import Envelope, Recipient
from moxy.mail.route import Host, Mode, Route
from moxy.mail.session import Session, TlsFacts

__all__ = ["Envelope", "Host", "Mode", "Recipient", "Route", "Session", "TlsFacts"]
