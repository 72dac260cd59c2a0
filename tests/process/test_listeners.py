"""The listening sockets, from one configuration to the next."""

from __future__ import annotations

import socket

import pytest

from moxy.config.load import loads
from moxy.errors import MoxyError
from moxy.process import serving
from moxy.process.listeners import Listeners
from support.ports import free_port


def configured(*places):
    listed = ", ".join(f'"{place}"' for place in places)
    return loads(f"[listener.a]\nlisten = [{listed}]\n", "x", "toml")


def places(listeners):
    return [serving.place(listener) for listener in listeners.sockets]


@pytest.fixture
def ports():
    return f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"


def is_bound(place):
    host, _, port = place.partition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return True
    return False


def test_every_endpoint_is_bound(ports):
    listeners = Listeners(configured(*ports))
    assert places(listeners) == list(ports)
    listeners.close()


def test_port_0_is_a_new_port_each_time():
    config = loads('[listener.a]\nlisten = ["127.0.0.1:0"]\n[listener.b]\nlisten = ["127.0.0.1:0"]\n', "x", "toml")
    listeners = Listeners(config)
    assert len(set(places(listeners))) == 2
    listeners.close()


def test_all_are_bound_or_none(ports):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(MoxyError, match="Address already in use"):
            Listeners(configured(ports[0], used))
    assert not is_bound(ports[0])


def test_what_two_configurations_share_stays_open(ports):
    one, two, three = ports
    listeners = Listeners(configured(one, two))
    kept = listeners.sockets[1]
    with listeners.changed(configured(two, three)):
        assert places(listeners) == [two, three]
    assert listeners.sockets[0] is kept
    assert places(listeners) == [two, three]
    assert not is_bound(one)
    listeners.close()
    assert not is_bound(two)


def test_a_process_of_the_new_configuration_parts_with_what_leaves(ports):
    listeners = Listeners(configured(ports[0]))
    with listeners.changed(configured(ports[1])):
        assert is_bound(ports[0])
        listeners.close_leaving()
        assert not is_bound(ports[0])
    listeners.close()


def test_what_fails_changes_nothing(ports):
    one, two, three = ports
    listeners = Listeners(configured(one, two))
    before = listeners.sockets
    with pytest.raises(RuntimeError), listeners.changed(configured(two, three)):
        raise RuntimeError
    assert listeners.sockets == before
    assert is_bound(one)
    assert not is_bound(three)
    listeners.close()


def test_a_new_place_that_is_taken_changes_nothing(ports):
    listeners = Listeners(configured(ports[0]))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(MoxyError), listeners.changed(configured(ports[1], used)):
            raise AssertionError("never reached")
    assert places(listeners) == [ports[0]]
    assert not is_bound(ports[1])
    listeners.close()
