"""AnonymousDelivery: the destination does not hear who the client is (`identity = "none"`).

Our trace field is the same for all destinations of a transaction; towards this one it is cut where it names the client.
"""

from __future__ import annotations

from moxy.message.trace import without_origin
from moxy.outbound.relay import RelayDelivery
from moxy.smtp.reply import Reply


class AnonymousDelivery(RelayDelivery):
    """One message on its way, without a word of who sent it to us."""

    __slots__ = ("_begun",)

    _begun: bool

    async def data(self) -> Reply:
        """Ask to send content; see `moxy.delivery.Delivery`."""
        self._begun = False
        return await super().data()

    def write(self, block: bytes) -> None:
        """Pass content on; see `moxy.delivery.Delivery`."""
        if not self._begun:
            self._begun = True
            block = without_origin(block)
        super().write(block)
