"""Conversation: what we say to a client. One method a verb; each gives exactly one reply.

A verb that may have to wait is a coroutine, the others are plain functions. Syntax and order of the commands are
settled before they come here (`moxy.smtp.receiver`); what is decided here is who may, where to, and what then.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from structlog import get_logger

from moxy.delivery import Flow
from moxy.errors import TemporaryFailure
from moxy.inbound.arrival import heed_xclient
from moxy.inbound.conclusion import Conclusion
from moxy.inbound.service import Service
from moxy.inbound.transaction import Transaction
from moxy.mail import Envelope, Recipient, Session
from moxy.smtp import command, replies
from moxy.smtp.address import AddressError, ForwardPath
from moxy.smtp.extension import offering_xclient
from moxy.smtp.parameter import BINARY, EXTENSION_OF, NONE
from moxy.smtp.reply import Replies, Reply

log = get_logger("moxy.inbound")

NOTHING: Final[frozenset[str]] = frozenset()
"""What is offered before EHLO, and to who says HELO."""

Answer = Reply | Replies | Coroutine[Any, Any, Reply | Replies]


class Conversation:
    """The talk with one client, and the transaction it may have open."""

    __slots__ = (
        "_asked", "_bad_commands", "_domains", "_flow", "_service", "_transactions", "distrust", "offered", "session",
        "starttls", "transaction", "unconfirmed",
    )  # fmt: skip

    def __init__(self, service: Service, session: Session, flow: Flow) -> None:
        self._service = service
        self._flow = flow
        self._bad_commands = 0
        self._transactions = 0  # MAIL commands, accepted or not
        self._asked = 0  # recipients asked for in this transaction, accepted or not
        self._domains: set[str] | None = None  # of all recipients asked for, if they are bounded
        self.session = session
        self.distrust: Callable[[], None] | None = None
        """May the client say XCLIENT (T27)? Then what to call when that is over."""
        self.starttls = False
        """Is STARTTLS offered?"""
        self.offered: frozenset[str] = NOTHING
        """The extensions that the last EHLO was answered with."""
        self.transaction: Transaction | None = None
        self.unconfirmed: Conclusion | None = None
        """Of the message whose final dot has come, while the client may not have our verdict."""

    # -- session

    def hello(self, event: command.Hello) -> Reply:
        """HELO, EHLO, LHLO: remember the name; a transaction under way is over (RFC 5321 §4.1.4)."""
        self.end_transaction()
        self.session.hello = event.name
        self.session.extended = event.extended
        if not event.extended:
            self.offered = NOTHING
            return self._service.helo
        self.offered, reply = self._service.offer(self.session, starttls=self.starttls)
        return reply if self.distrust is None else offering_xclient(reply)

    def start_tls(self, _: command.Command) -> Reply:
        """STARTTLS: what comes of it is a matter between the connection and TLS (RFC 3207 §4)."""
        if self.starttls:
            return replies.READY_FOR_TLS
        return replies.TLS_IS_ON if self.session.tls else replies.NOT_IMPLEMENTED

    def xclient(self, event: command.XClient) -> Reply:
        """XCLIENT: from a listed peer, who the client is; it is greeted as if it had connected just now.

        Once the client's address is known it is that client who speaks, and nobody says for it who it is: a proxy may
        pass on all that it says.
        """
        heed_xclient(self.session, event.attributes)
        if self.distrust is not None and "ADDR" in event.attributes:
            self.distrust()
            self.distrust = None
        return self._service.lmtp_greeting if self.session.lmtp else self._service.greeting

    def noop(self, _: command.Command) -> Reply:
        """NOOP."""
        return replies.OK

    def verify(self, _: command.Command) -> Reply:
        """VRFY: we cannot know, and would not tell (T36)."""
        return replies.CANNOT_VERIFY

    def expand(self, _: command.Command) -> Reply:
        """EXPN: we keep no lists."""
        return replies.NOT_IMPLEMENTED

    def help(self, _: command.Command) -> Reply:
        """HELP."""
        return replies.LMTP_HELP if self.session.lmtp else replies.HELP

    def quit(self, _: command.Command) -> Reply:
        """QUIT: answered at once; destinations are left alone after (T35)."""
        self.end_transaction()
        return self._service.goodbye

    def invalid(self, event: command.Invalid) -> Reply:
        """What cannot be obeyed; too many end the session. DATA pipelined behind refusals is no mistake (T3)."""
        if event.deserved in (replies.NO_VALID_RECIPIENTS, replies.LMTP_NO_VALID_RECIPIENTS):
            return event.deserved
        self._bad_commands += 1
        if self._bad_commands > self._service.bounds.bad_commands:
            return replies.closing(self._service.hostname, replies.TOO_MANY_ERRORS)
        if event.deserved.code == replies.CLOSING_CODE:
            return replies.closing(self._service.hostname, event.deserved)
        return event.deserved

    # -- transaction

    def mail(self, event: command.Mail) -> Reply:
        """MAIL: local checks only; destinations hear of it with their first recipient (D1, T6)."""
        service, session = self._service, self.session
        bounds = service.bounds
        self._transactions += 1
        if bounds.transactions and self._transactions > bounds.transactions:
            return replies.closing(service.hostname, replies.TOO_MANY_TRANSACTIONS)
        parameters = NONE
        if event.parameters or event.body or event.prdr:
            if not self._was_offered(event):
                return replies.UNKNOWN_PARAMETER
            parameters = self._believed(event.parameters)
        if event.size > bounds.message_size > 0:
            return replies.MESSAGE_TOO_BIG
        each = event.prdr or session.lmtp
        envelope = Envelope(service.identify(), event.path, event.size, event.body, each, parameters)
        self.transaction = Transaction(service, session, envelope, self._flow)
        self._asked = 0
        return replies.SENDER_OK

    def _was_offered(self, event: command.Mail) -> bool:
        """May this session use what this MAIL asks for?"""
        offered = self.offered
        if (event.prdr and "PRDR" not in offered) or (event.body == BINARY and BINARY not in offered):
            return False
        return not event.parameters or self._were_offered(event.parameters)

    def _were_offered(self, parameters: Mapping[str, str]) -> bool:
        """May this session use all of them? SIZE, BODY and AUTH are understood in any case."""
        needed = (EXTENSION_OF[keyword] for keyword in parameters if keyword in EXTENSION_OF)
        return self.offered.issuperset(needed)

    def _believed(self, parameters: Mapping[str, str]) -> Mapping[str, str]:
        """The parameters, without what they say of the submitter if we do not trust the client (RFC 4954 §5).

        Those are trusted who may relay.
        """
        if "AUTH" in parameters and self._service.relay(self.session.client) is None:
            return {**parameters, "AUTH": "<>"}
        return parameters

    def _refused(self, event: command.Rcpt, envelope: Envelope) -> Reply | None:
        """Why a recipient with parameters or beyond ASCII cannot be asked for here, if so."""
        if not self._were_offered(event.parameters):
            return replies.UNKNOWN_PARAMETER
        ascii_only = event.path.text.isascii() and event.parameters.get("ORCPT", "").isascii()
        return None if ascii_only or envelope.utf8 else replies.NEEDS_SMTPUTF8

    def _too_many_domains(self, path: ForwardPath) -> bool:
        """Does this recipient bring one domain more into the session than it may have (RFC 9422 §4.3)?"""
        bound = self._service.bounds.domains
        if not path.domain:
            return False
        domains = self._domains = self._domains or set()
        if path.domain not in domains and len(domains) >= bound:
            return True
        domains.add(path.domain)
        return False

    async def rcpt(self, event: command.Rcpt) -> Reply:
        """RCPT: find the route, ask the destination while the client waits."""
        transaction = self._open_transaction()
        service, path = self._service, event.path
        self._asked += 1
        if self._asked > service.bounds.recipients:
            return replies.TOO_MANY_RECIPIENTS
        if service.bounds.domains and self._too_many_domains(path):
            return replies.TOO_MANY_DOMAINS
        if event.parameters or not path.text.isascii():
            refusal = self._refused(event, transaction.envelope)
            if refusal is not None:
                return refusal
        try:
            route = await service.routes.lookup(path if path.domain else self._postmaster())
        except TemporaryFailure as failure:
            if service.may_complain("lookup"):
                log.warning("lookup_failed", recipient=path.text, reason=str(failure))
            return replies.LOOKUP_FAILED
        route = route or service.relay(self.session.client)
        if route is None:
            return replies.RELAYING_DENIED
        return await transaction.recipients.ask(Recipient(path, event.parameters), route)

    def _postmaster(self) -> ForwardPath:
        """Whose route the bare <Postmaster> takes (T46)."""
        address = self._service.postmaster or f"postmaster@{self._service.hostname}"
        try:
            return ForwardPath.parse(address, utf8=True)
        except AddressError as error:  # a host name that is no domain
            raise TemporaryFailure(f"{address}: {error}") from error

    def data(self, _: command.Data) -> Answer:
        """DATA: 354 once every destination is ready. Binary content needs BDAT (RFC 3030 §3)."""
        transaction = self._open_transaction()
        return replies.BINARY_BY_BDAT if transaction.envelope.body == BINARY else transaction.data()

    def bdat(self, event: command.Bdat) -> Answer:
        """BDAT: are the octets behind it wanted? The first one asks the destinations, as DATA does."""
        transaction = self._open_transaction()
        event.binary = transaction.envelope.body == BINARY
        return transaction.chunk(event.octets)

    def end_of_chunk(self, _: command.EndOfChunk) -> Answer:
        """A chunk has come, and more are to follow (T14)."""
        return self._open_transaction().refusal or replies.CHUNK_OK

    def content(self, block: bytes) -> None:
        """A clean block of content."""
        self._open_transaction().write(block)

    def flush(self) -> None:
        """No more content for now: let out what there is."""
        if self.transaction is not None:
            self.transaction.flush()

    def fault(self, reply: Reply) -> None:
        """The content is not fit to be delivered; its end will be answered so."""
        self._open_transaction().fail(reply)

    def end_of_data(self, event: command.EndOfData | command.LastChunk) -> Answer:
        """The final dot: the verdict."""
        if self.unconfirmed is not None:
            self.reply_lost()  # the message before this one, if the client has sent ahead and we cannot tell
        transaction = self._open_transaction()
        answer = transaction.finish(event.octets)
        self.unconfirmed = transaction.conclusion
        self.transaction = None
        return answer

    def last_chunk(self, event: command.LastChunk) -> Answer:
        """The last chunk: the verdict, as for the final dot (T14)."""
        if not event.whole_lines:
            self._open_transaction().breaks_off()
        return self.end_of_data(event)

    def reset(self, _: command.Rset) -> Reply:
        """RSET: give the transaction up."""
        self.end_transaction()
        return replies.OK

    def _open_transaction(self) -> Transaction:
        if self.transaction is None:
            raise RuntimeError("no transaction is open")  # the table of states does not let this happen
        return self.transaction

    def end_transaction(self) -> None:
        """Give up whatever is open."""
        if self.transaction is not None:
            self.transaction.abort()
            self.transaction = None

    # -- has the client got our verdict?

    def reply_received(self) -> None:
        """It has (contract D8)."""
        if self.unconfirmed is not None:
            self.unconfirmed.settle()
            self.unconfirmed = None

    def reply_lost(self) -> None:
        """It may not have, and we shall not know."""
        if self.unconfirmed is not None:
            self.unconfirmed.keep()
            self.unconfirmed = None

    def left_waiting(self, *, surely: bool) -> None:
        """It is gone before we had a verdict, or sends no more and may be gone."""
        if self.unconfirmed is not None:
            self.unconfirmed.left_waiting(surely=surely)

    def reply_in_doubt(self) -> None:
        """We shall know in a moment. If it comes again before, it is to be recognised."""
        if self.unconfirmed is not None:
            self.unconfirmed.doubt()

    def broken(self, event: command.Command) -> Reply | Replies:
        """What is answered to a command that we failed to answer."""
        at_the_dot = type(event) in (command.EndOfData, command.LastChunk)
        ended = self.transaction or self.unconfirmed
        return ended.broken() if at_the_dot and ended is not None else replies.INTERNAL_ERROR

    def end(self) -> None:
        """The client is gone."""
        self.end_transaction()
        self.session.end()


VERBS: Final[dict[type[command.Command], Callable[[Conversation, Any], Answer]]] = {
    command.Hello: Conversation.hello,
    command.StartTls: Conversation.start_tls,
    command.XClient: Conversation.xclient,
    command.Mail: Conversation.mail,
    command.Rcpt: Conversation.rcpt,
    command.Data: Conversation.data,
    command.EndOfData: Conversation.end_of_data,
    command.Bdat: Conversation.bdat,
    command.EndOfChunk: Conversation.end_of_chunk,
    command.LastChunk: Conversation.last_chunk,
    command.Rset: Conversation.reset,
    command.Noop: Conversation.noop,
    command.Vrfy: Conversation.verify,
    command.Expn: Conversation.expand,
    command.Help: Conversation.help,
    command.Quit: Conversation.quit,
    command.Invalid: Conversation.invalid,
}
