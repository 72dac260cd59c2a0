"""As many descriptors as can be had, and sessions that fit them."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack

import pytest
from structlog.testing import capture_logs

from moxy.config.limits import Limits
from moxy.config.schema import Config
from moxy.process import descriptors
from support.moxy_commands import arguments, environment, written
from support.ports import LOOPBACK
from support.processes import Running


@pytest.fixture
def limits(monkeypatch):
    """Limits that can be changed without changing those of the tests."""
    limits = [100, 400]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, new: limits.__setitem__(slice(None), new))
    return limits


def test_all_that_the_system_allows_is_taken(limits):
    descriptors.raise_limit()
    assert limits == [400, 400]


@pytest.mark.parametrize(("wanted", "fitting"), [(10, 10), (75, 75), (76, 75), (10_000, 75), (1, 1)])
def test_a_quarter_is_left_for_everything_else(limits, wanted, fitting):
    assert descriptors.fitting_sessions(wanted) == fitting


@pytest.mark.parametrize(("sessions", "workers", "told"), [(75, 1, []), (76, 1, [75]), (150, 2, []), (400, 2, [150])])
def test_it_is_told_if_fewer_fit_than_wanted(limits, sessions, workers, told):
    config = Config(limits=Limits(sessions=sessions), workers=workers)
    with capture_logs() as events:
        descriptors.warn_of_few(config)
    assert [event["sessions"] for event in events] == told


def test_clients_that_are_too_many_for_the_descriptors_hear_so(directory):
    """Without the bound they would be accepted and closed in silence."""
    configuration, port = written(directory, "one.test 127.0.0.1:9\n")
    few = ["sh", "-c", 'ulimit -n 128; exec "$@"', "sh", *arguments("-c", str(configuration))]
    with Running(few, directory / "out", environment()) as moxy, ExitStack() as stack:
        moxy.wait_for_greeting(port)
        clients = [stack.enter_context(socket.create_connection((LOOPBACK, port), timeout=20)) for _ in range(120)]
        greetings = [client.recv(512)[:3] for client in clients]
        assert "few_descriptors" in moxy.text()
    assert set(greetings) == {b"220", b"421"}
