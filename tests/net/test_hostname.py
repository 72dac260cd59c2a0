import socket

from moxy.net.hostname import own_hostname


def test_the_own_name_is_the_systems() -> None:
    assert own_hostname() == socket.getfqdn()
    assert own_hostname()
