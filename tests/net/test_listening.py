"""Listening sockets: bound as asked, all or none, and errors that say where and why."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from moxy.errors import MoxyError
from moxy.net.listening import SocketFile, address_of, bind, bind_unix, place
from support.directories import is_root
from support.ports import LOOPBACK, free_port


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def close(sockets: list[socket.socket]) -> None:
    for opened in sockets:
        opened.close()


def without_ipv6(error: int) -> type[socket.socket]:
    """The sockets of a machine that has no IPv6, as told by this error."""

    class Socket(socket.socket):
        def __init__(self, family: int = socket.AF_INET, *arguments: int) -> None:
            if family == socket.AF_INET6 and error == errno.EAFNOSUPPORT:
                raise OSError(error, "Address family not supported by protocol")
            super().__init__(socket.AF_INET, *arguments)
            self.asked_for = family

        def setsockopt(self, level: int, *arguments: int) -> None:
            if level != socket.IPPROTO_IPV6:
                super().setsockopt(level, *arguments)

        def bind(self, address: tuple[str, int]) -> None:
            if self.asked_for == socket.AF_INET6:
                raise OSError(error, "Cannot assign requested address")
            super().bind(address)

    return Socket


def test_it_listens_on_every_endpoint_without_blocking():
    ports = [free_port(), free_port()]
    sockets = bind([(LOOPBACK, port) for port in ports])
    assert [opened.getsockname() for opened in sockets] == [(LOOPBACK, port) for port in ports]
    for opened in sockets:
        assert not opened.getblocking()
        with socket.create_connection(opened.getsockname()) as client:
            connection, peer = opened.accept()
            assert peer == client.getsockname()
            connection.close()
    close(sockets)


def test_port_0_takes_a_free_port():
    (opened,) = bind([(LOOPBACK, 0)])
    assert opened.getsockname()[1] > 0
    close([opened])


def test_an_endpoint_can_be_bound_again_at_once():
    port = free_port()
    for _ in range(2):
        (opened,) = bind([(LOOPBACK, port)])
        with socket.create_connection((LOOPBACK, port)):
            opened.accept()[0].close()
        opened.close()


def test_a_star_is_every_address_of_both_families():
    port = free_port()
    sockets = bind([("*", port)])
    families = {socket.AF_INET, socket.AF_INET6} if has_ipv6() else {socket.AF_INET}
    assert {opened.family for opened in sockets} == families
    for address in (LOOPBACK, "::1")[: len(families)]:
        socket.create_connection((address, port)).close()
    close(sockets)


@pytest.mark.parametrize("error", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_star_does_without_ipv6_where_there_is_none(monkeypatch, error):
    monkeypatch.setattr(socket, "socket", without_ipv6(error))
    sockets = bind([("*", free_port())])
    assert [opened.getsockname()[0] for opened in sockets] == ["0.0.0.0"]
    close(sockets)


@pytest.mark.parametrize("error", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_an_ipv6_address_is_not_done_without(monkeypatch, error):
    monkeypatch.setattr(socket, "socket", without_ipv6(error))
    with pytest.raises(MoxyError, match=r"cannot listen on \[::1\]:2525: "):
        bind([("::1", 2525)])


def test_a_port_in_use_is_told_and_nothing_stays_open():
    free, taken = free_port(), free_port()
    others = bind([(LOOPBACK, taken)])
    with pytest.raises(MoxyError, match=rf"cannot listen on {LOOPBACK}:{taken}: .*in use"):
        bind([(LOOPBACK, free), (LOOPBACK, taken)])
    close(others)
    close(bind([(LOOPBACK, free)]))


BAD = [("192.0.2.1", 2525), ("not an address", 2525), (LOOPBACK, 70_000), ("2001:db8::1", 2525)]


@pytest.mark.parametrize(("address", "port"), BAD)
def test_an_endpoint_that_cannot_be_had_is_named(address, port):
    with pytest.raises(MoxyError) as error:
        bind([(address, port)])
    shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    assert str(error.value).startswith(f"cannot listen on {shown}: ")


def test_a_privileged_port_says_what_to_do(monkeypatch):
    def refuse(self: socket.socket, address: tuple[str, int]) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(MoxyError, match=r"127\.0\.0\.1:25: Permission denied \(ports below 1024 need root"):
        bind([(LOOPBACK, 25)])


def test_a_place_is_written_as_people_do(tmp_path):
    port = free_port()
    (opened,) = bind([(LOOPBACK, port)])
    assert (place(opened), address_of(opened)) == (f"{LOOPBACK}:{port}", (LOOPBACK, port))
    unix, _ = bind_unix(f"{tmp_path}/a")
    assert (place(unix), address_of(unix)) == (f"unix:{tmp_path}/a", (f"{tmp_path}/a", 0))
    if has_ipv6():
        (other,) = bind([("::1", port)])
        assert place(other) == f"[::1]:{port}"
        other.close()
    close([opened, unix])


# -- Unix sockets


def connects(path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return False
    return True


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_unix_socket_has_the_mode_it_is_to_have(tmp_path, mode):
    path = tmp_path / "a"
    listener, file = bind_unix(str(path), mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert not listener.getblocking()
    assert connects(path)
    listener.close()
    file.remove()
    assert not path.exists()


def test_the_mask_of_the_process_stays_what_it_was(tmp_path):
    before = os.umask(0o027)
    try:
        listener, _ = bind_unix(f"{tmp_path}/a")
        assert os.umask(0o027) == 0o027
        listener.close()
    finally:
        os.umask(before)


@pytest.mark.skipif(not is_root(), reason="only root can give a file away")
def test_a_unix_socket_is_given_to_its_owner(tmp_path):
    listener, _ = bind_unix(f"{tmp_path}/a", owner=(1234, 2345))
    found = (tmp_path / "a").stat()
    assert (found.st_uid, found.st_gid) == (1234, 2345)
    listener.close()


def test_a_dead_socket_is_replaced(tmp_path):
    path = tmp_path / "a"
    dead, file = bind_unix(str(path))
    dead.close()
    assert not connects(path)
    listener, _ = bind_unix(str(path))
    assert connects(path)
    file.remove()  # no longer ours
    assert connects(path)
    listener.close()


def full(path):
    """Somebody who listens at `path`, and whose queue is full."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(0)
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return [listener, client]


def test_a_socket_that_somebody_listens_on_is_left_alone(tmp_path):
    path = tmp_path / "a"
    for others in ([bind_unix(str(path))[0]], full(tmp_path / "full")):
        taken = others[0].getsockname()
        with pytest.raises(MoxyError, match=f"^cannot listen on unix:{taken}: Address already in use$"):
            bind_unix(taken)
        close(others)
        assert Path(taken).exists()


def datagrams(path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    return listener


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_text("precious"), "there is something else than a socket"),
        (lambda path: path.mkdir(), "there is something else than a socket"),
        (lambda path: path.symlink_to(path.parent / "b"), "there is something else than a socket"),
        (lambda path: datagrams(path), "Protocol wrong type for socket"),
    ],
    ids=["file", "directory", "link", "datagrams"],
)
def test_anything_else_is_left_alone(tmp_path, make, reason):
    path = tmp_path / "a"
    made = make(path)
    before = path.lstat()
    with pytest.raises(MoxyError, match=f"^cannot listen on unix:{path}: {reason}"):
        bind_unix(str(path))
    assert path.lstat().st_ino == before.st_ino
    del made


@pytest.mark.parametrize("path", ["{directory}/no/such/a", "{directory}/" + 200 * "a"])
def test_a_path_that_cannot_be_had_is_named(tmp_path, path):
    path = path.format(directory=tmp_path)
    with pytest.raises(MoxyError, match=f"^cannot listen on unix:{path}: "):
        bind_unix(path)


def test_a_file_that_is_gone_is_removed_without_a_word(tmp_path):
    SocketFile(f"{tmp_path}/a", (1, 2, 3)).remove()
