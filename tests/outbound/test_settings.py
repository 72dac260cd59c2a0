"""How a destination's hosts are spoken with."""

from __future__ import annotations

from dataclasses import asdict

from moxy.config.schema import Delivery
from moxy.outbound.settings import Settings


def test_the_defaults_are_those_of_the_configuration() -> None:
    assert asdict(Settings()) == Delivery().model_dump()


def test_a_lease_that_its_identity_forbids_is_not_to_be_had() -> None:
    """T25."""
    for identity in ("xclient", "proxy-v1", "proxy-v2", "helo"):
        assert Settings(identity=identity, lease="transaction").lease == "session"  # type: ignore[arg-type]
    for identity in ("none", "header", "xforward"):
        assert Settings(identity=identity).lease == "transaction"  # type: ignore[arg-type]
