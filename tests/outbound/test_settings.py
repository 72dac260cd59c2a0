"""How a destination's hosts are spoken with."""

from __future__ import annotations

from dataclasses import asdict

from moxy.config.schema import Delivery
from moxy.outbound.settings import Login, Settings


def test_the_defaults_are_those_of_the_configuration() -> None:
    ours, theirs = asdict(Settings()), Delivery().model_dump()
    assert {key: theirs[key] for key in ours if key in theirs} == {key: ours[key] for key in ours if key in theirs}
    assert set(ours) - set(theirs) == {"encryption", "login"}


def test_a_secret_is_in_no_repr() -> None:
    login = Login("moxy", "hunter2", ("PLAIN",))
    assert "hunter2" not in repr(Settings(login=login))
    assert Settings(login=login) != Settings(login=Login("moxy", "other", ("PLAIN",)))


def test_a_lease_that_its_identity_forbids_is_not_to_be_had() -> None:
    """T25."""
    for identity in ("xclient", "proxy-v1", "proxy-v2", "helo"):
        assert Settings(identity=identity, lease="transaction").lease == "session"  # type: ignore[arg-type]
    for identity in ("none", "header", "xforward"):
        assert Settings(identity=identity).lease == "transaction"  # type: ignore[arg-type]
