"""What the service manager hears, if there is one."""

from __future__ import annotations

import socket
import time

import pytest

from moxy.process import notify


@pytest.fixture
def manager(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(20)
        receiver.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield receiver


def test_it_hears_how_we_are(manager):
    notify.ready("serving")
    assert manager.recv(1000) == b"READY=1\nSTATUS=serving"
    notify.stopping()
    assert manager.recv(1000) == b"STOPPING=1"


def test_a_reload_has_its_time(manager):
    before = time.monotonic_ns() // 1000
    notify.reloading()
    words = dict(line.split("=") for line in manager.recv(1000).decode().splitlines())
    assert words["RELOADING"] == "1"
    assert before <= int(words["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000


def test_a_name_in_the_abstract_namespace_is_understood(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(20)
        receiver.bind("")  # the kernel chooses a name
        name = receiver.getsockname()
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name[1:].decode())
        notify.stopping()
        assert receiver.recv(1000) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "/there/is/none", "/" + "x" * 200])
def test_nobody_is_told_where_nobody_listens(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.ready("serving")


def test_a_manager_that_does_not_listen_does_not_hold_us_up(manager):
    for _ in range(10_000):
        notify.ready("serving")
