"""Where mail goes: route tables answer one question, "what is the destination of this forward-path?"

    RouteTable   the question, below
    order        the search order and the spelling of keys: one for every kind of table
    hosts        "host:port,host:port", as people write it
    wording      how a complaint quotes what somebody wrote
    tabletext    the text of a table: lines of a key and its destination
    static       always the same route (`nodb`)
    file         a text table, followed while it changes (`file`)
    dbm          a table in a GNU dbm file, changed while we run (`dbm`)
    compiled     such a file made from the text, and turned back into text
    chained      several tables, the first that knows
    relay        who may send to domains that no table knows, and through which host

Rules:
- Three answers (contract T49): a `Route`; `None`, "I know that there is none"; `TemporaryFailure`, "I don't know".
  A table that cannot be asked must never say `None`: the sender would be refused for good.
- The search order is most specific first, the same in every table (`order.candidates`): the full address, its domain,
  the nearest parent domain (`.example.org` stands for all sub-domains of example.org, not for example.org itself),
  and `*`. Domains are compared without regard to case, U-labels as A-labels, local parts octet for octet
  (contract T48).
- Tables know nothing of clients, policy or connections.
"""

from __future__ import annotations

from typing import Protocol

from moxy.mail.route import Route
from moxy.smtp.address import ForwardPath


class RouteTable(Protocol):
    """One source of routes. A new kind of table has these three methods, and nothing else is asked of it."""

    async def lookup(self, path: ForwardPath) -> Route | None:
        """The route of `path`, or None where this table knows that it has none.

        Raises TemporaryFailure where the table cannot tell now; the client is then answered 451 and comes again.
        """

    def refresh(self) -> None:
        """Notice changes of the table's source. Called about once a second: one `stat` is what it may cost."""

    def close(self) -> None:
        """Give back what the table holds. It is not asked again."""
