"""The listening sockets, from one configuration to the next."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from moxy.config.load import loads
from moxy.errors import MoxyError
from moxy.net import listening
from moxy.process.listeners import Listeners
from moxy.process.privileges import identity
from support.certificates import issue
from support.directories import UNPRIVILEGED, is_root
from support.ports import free_port


def configured(*places):
    listed = ", ".join(f'"{place}"' for place in places)
    return loads(f"[listener.a]\nlisten = [{listed}]\n", "x", "toml")


def places(listeners):
    return [listening.place(listener.socket) for listener in listeners.all]


def with_tls(directory, *places, chain="mx.pem"):
    listed = ", ".join(f'"{place}"' for place in places)
    text = f'[listener.a]\nlisten = [{listed}]\ntls = "starttls"\n[certificate.mx]\nchain = "{chain}"\nkey = "mx.key"\n'
    return loads(text, str(directory / "moxy.toml"), "toml")


def test_each_socket_has_the_tls_of_its_listener_but_for_unix_sockets(ports, tmp_path):
    issue("mx.test").write(tmp_path, "mx")
    config = with_tls(tmp_path, ports[0], ports[1], f"unix:{tmp_path}/s")
    listeners = Listeners(config)
    assert [listener.tls for listener in listeners.all] == [None] * 3, "root has not read them"
    listeners.read_certificates(config)
    first, second, local = [listener.tls for listener in listeners.all]
    assert first is second
    assert (first.implicit, local) == (False, None)
    listeners.close()


def test_certificates_that_cannot_be_used_change_nothing(ports, tmp_path):
    issue("mx.test").write(tmp_path, "mx")
    config = with_tls(tmp_path, ports[0])
    listeners = Listeners(config)
    listeners.read_certificates(config)
    (before,) = listeners.all
    missing = with_tls(tmp_path, ports[0], ports[1], chain="nothing.pem")
    with pytest.raises(MoxyError, match=r"nothing\.pem: cannot be read"), listeners.changed(missing):
        pass
    assert listeners.all == [before]
    assert not is_bound(ports[1])
    with pytest.raises(ZeroDivisionError), listeners.changed(with_tls(tmp_path, ports[0])):
        _ = listeners.all[0].tls is before.tls or 1 / 0
    assert listeners.all == [before]
    with listeners.changed(configured(ports[0])):
        pass
    assert listeners.all[0].tls is None
    listeners.close()


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
    kept = listeners.all[1].socket
    with listeners.changed(configured(two, three)):
        assert places(listeners) == [two, three]
    assert listeners.all[0].socket is kept
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
    before = listeners.all
    with pytest.raises(RuntimeError), listeners.changed(configured(two, three)):
        raise RuntimeError
    assert listeners.all == before
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


# -- protocols, and Unix sockets


def spoken(listeners):
    return [(listening.place(listener.socket), listener.lmtp) for listener in listeners.all]


def two(smtp, lmtp, more=""):
    return loads(
        f'[listener.a]\nlisten = ["{smtp}"]\n[listener.b]\nlisten = ["{lmtp}"]\nprotocol = "lmtp"\n{more}', "x", "toml"
    )


def test_each_socket_has_the_protocol_of_its_listener(ports, tmp_path):
    listeners = Listeners(two(ports[0], f"unix:{tmp_path}/a"))
    assert spoken(listeners) == [(ports[0], False), (f"unix:{tmp_path}/a", True)]
    listeners.close()


def test_each_socket_knows_the_proxies_of_its_listener(ports):
    listeners = Listeners(two(ports[0], ports[1], '[listener.c]\nlisten = ["127.0.0.1:0"]\nproxy_from = ["10.*"]\n'))
    assert [len(listener.proxy_from) for listener in listeners.all] == [0, 0, 1]
    assert not any(listener.xclient_from for listener in listeners.all)
    listeners.close()


def test_two_listeners_on_port_0_have_their_own_protocols():
    listeners = Listeners(two("127.0.0.1:0", "127.0.0.1:0"))
    assert [listener.lmtp for listener in listeners.all] == [False, True]
    assert len(set(places(listeners))) == 2
    listeners.close()


def test_a_socket_that_stays_may_change_its_protocol(ports):
    one, other, _ = ports
    listeners = Listeners(two(one, other))
    kept = [listener.socket for listener in listeners.all]
    with pytest.raises(RuntimeError), listeners.changed(two(other, one)):
        raise RuntimeError
    assert spoken(listeners) == [(one, False), (other, True)]
    with listeners.changed(two(other, one)):
        pass
    assert spoken(listeners) == [(other, False), (one, True)]
    assert {listener.socket for listener in listeners.all} == set(kept)
    listeners.close()


def inode(path):
    return path.lstat().st_ino


def test_the_file_of_a_unix_socket_goes_with_who_made_it(tmp_path):
    path = tmp_path / "new" / "a"
    listeners = Listeners(configured(f"unix:{path}"))
    assert path.is_socket()
    listeners.close()
    assert not path.exists()
    assert path.parent.exists()


def test_a_unix_socket_survives_a_reload_and_gets_its_new_mode(tmp_path):
    path = tmp_path / "a"
    listeners = Listeners(configured(f"unix:{path}"))
    before = inode(path)
    with listeners.changed(loads(f'[listener.z]\nlisten = ["unix:{path}"]\nsocket_mode = "0600"', "x", "toml")):
        pass
    assert inode(path) == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listeners.close()


def test_a_worker_parts_with_a_unix_socket_and_its_file_stays_until_the_reload_is_done(tmp_path):
    old, new = tmp_path / "a", tmp_path / "b"
    listeners = Listeners(configured(f"unix:{old}"))
    with pytest.raises(RuntimeError), listeners.changed(configured(f"unix:{new}")):
        raise RuntimeError
    assert old.is_socket()
    assert not new.exists()
    with listeners.changed(configured(f"unix:{new}")):
        child = os.fork()
        if child == 0:
            listeners.close_leaving()
            os._exit(0)
        os.waitpid(child, 0)
        assert old.is_socket()
    assert not old.exists()
    listeners.close()
    assert not new.exists()


def test_where_one_cannot_be_bound_no_file_stays(tmp_path):
    (tmp_path / "b").write_text("precious")
    with pytest.raises(MoxyError, match="something else than a socket"):
        Listeners(configured(f"unix:{tmp_path}/a", f"unix:{tmp_path}/b"))
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b").read_text() == "precious"


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MoxyError, match=f"^cannot listen on unix:{tmp_path}/file/a/b: "):
        Listeners(configured(f"unix:{tmp_path}/file/a/b"))


@pytest.mark.skipif(not is_root(), reason="only root can give a file away")
def test_who_will_serve_owns_socket_and_directory(tmp_path):
    user = identity(UNPRIVILEGED)
    listeners = Listeners(configured(f"unix:{tmp_path}/new/a"), user)
    for path in (tmp_path / "new", tmp_path / "new" / "a"):
        assert (path.stat().st_uid, path.stat().st_gid) == (user.uid, user.gid)
    listeners.close()
