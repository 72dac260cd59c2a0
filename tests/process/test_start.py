"""From a configuration to a Moxy that serves, or to one clear line that says why not."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import stat
from pathlib import Path

import pytest

from moxy.config.load import loads
from moxy.errors import MoxyError
from moxy.process import start
from moxy.process.listeners import Listeners
from support.directories import is_root, make_writable
from support.moxy_commands import Command, Sink, as_unprivileged, moxy, written
from support.moxy_process import running
from support.ports import free_port

needs_root = pytest.mark.skipif(not is_root(), reason="only root may do that at all")
TABLE = "one.test 127.0.0.1:9\n"


def refused(configuration, *options):
    """The one line in which Moxy says why it does not start."""
    result = moxy("-c", str(configuration), *options)
    assert result.returncode == 1
    assert result.stdout == b""
    (line,) = result.stderr.decode().splitlines()
    return line


def test_it_serves_as_the_configuration_says(directory):
    with Sink(directory) as sink, running(*written(directory, f"one.test 127.0.0.1:{sink.port}\n")) as running_moxy:
        with smtplib.SMTP("127.0.0.1", running_moxy.port) as client:
            client.sendmail("ann@a.test", "bob@one.test", b"Subject: it works\r\n\r\n")
        sink.wait_for("it works")


@needs_root
def test_root_without_runas_is_refused(directory):
    configuration, _ = written(directory, TABLE)
    configuration.write_text(configuration.read_text().replace("runas", "#"))
    assert refused(configuration) == (
        "moxy: Moxy does not run as root: name an unprivileged user with `runas`, for example `runas nobody`"
    )


@needs_root
def test_an_unknown_user_is_refused(directory):
    configuration, _ = written(directory, TABLE)
    configuration.write_text(configuration.read_text().replace('"nobody"', '"no-such-user"'))
    assert refused(configuration) == "moxy: runas: there is no user `no-such-user` on this machine"


def test_a_port_in_use_is_refused(directory):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        configuration, _ = written(directory, TABLE, port=port)
        assert refused(configuration) == f"moxy: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_a_table_that_cannot_be_used_is_refused(directory):
    configuration, _ = written(directory, "one.test\n")
    assert refused(configuration).startswith(f"moxy: {directory}/moxy.db:1: ")


def test_a_log_that_cannot_be_opened_is_refused(directory):
    log = directory / "no" / "such" / "log"
    configuration, _ = written(directory, TABLE, f'[log.mail]\nkind = "filelog"\npath = "{log}"\n')
    assert refused(configuration) == f"moxy: cannot open the log {log}: No such file or directory"


@needs_root
def test_a_low_port_is_bound_before_root_is_given_up(directory):
    port = free_low_port()
    with running(*written(directory, TABLE, port=port)) as running_moxy:
        assert running_moxy.port == port


def free_low_port():
    """One that nobody uses now: 1023 and below are for well-known services, of which a test machine runs few."""
    for port in range(1023, 600, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no low port is free")


def test_others_than_root_are_told_why_a_low_port_is_refused():
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1023:
        return  # this machine gives low ports to everybody
    config = loads('[listener.a]\nlisten = ["127.0.0.1:1023"]\n', "x", "toml")

    def check():
        with pytest.raises(MoxyError, match="ports below 1024 need root"):
            Listeners(config)

    as_unprivileged(check)


def test_the_port_of_every_listener_can_be_told_on_the_command_line():
    config = loads('[listener.a]\nlisten = ["127.0.0.1:1", "[::1]:1"]\n[listener.b]\nlisten = ["*:2"]\n', "x", "toml")
    changed = start.with_port(config, 2525)
    assert [str(end) for section in changed.listener.values() for end in section.listen] == [
        "127.0.0.1:2525",
        "[::1]:2525",
        "*:2525",
    ]


LMTP = """
[listener.near]
listen = ["unix:{socket}"]
protocol = "lmtp"
"""


def with_lmtp(directory, port):
    """The configuration of a Moxy before a server on `port` of loopback, with its own port, and its socket for LMTP."""
    home = make_writable(directory / "run")
    socket = home / "lmtp.sock"
    configuration, own_port = written(directory, f"one.test 127.0.0.1:{port}\n", LMTP.format(socket=socket))
    return configuration, own_port, socket


def sent(socket, *options):
    result = moxy("send", "--server", f"unix:{socket}", "--lmtp", "--to", "bob@one.test", *options)
    assert result.returncode == 0, result.stderr
    return result.stdout.decode()


def test_both_protocols_are_served_side_by_side_also_after_a_reload(directory):
    (directory / "run").mkdir()
    with Sink(directory) as sink:
        configuration, port, socket = with_lmtp(directory, sink.port)
        with running(configuration, port) as served:
            assert stat.S_IMODE(socket.stat().st_mode) == 0o660
            served.wait_until(lambda: f'"unix:{socket}"' in served.text(), "the word where it listens")
            dialogue = sent(socket, "--subject", "one", "--to", "eve@one.test")
            assert "C: LHLO " in dialogue
            assert "accepted for 2 of 2 recipients" in dialogue
            before = socket.stat().st_ino
            os.kill(served.pid, signal.SIGHUP)
            served.wait_until(lambda: '"reloaded"' in served.text(), "the reload")
            sent(socket, "--subject", "two")
            assert socket.stat().st_ino == before
            with smtplib.SMTP("127.0.0.1", port) as client:
                client.sendmail("ann@a.test", "bob@one.test", b"Subject: three\r\n\r\n")
            text = configuration.read_text()
            configuration.write_text(text.replace(str(socket), f"{socket}.new"))
            os.kill(served.pid, signal.SIGHUP)
            served.wait_until(lambda: served.text().count('"reloaded"') == 2, "the second reload")
            assert not socket.exists()
            sent(f"{socket}.new", "--subject", "four")
        assert not list(socket.parent.iterdir())
        for subject in ("one", "two", "three", "four"):
            sink.wait_for(f": {subject}")


def test_the_socket_of_a_moxy_that_was_killed_is_taken_over_and_that_of_a_living_one_is_not(directory):
    (directory / "run").mkdir()
    configuration, _, socket = with_lmtp(directory, 9)
    with Command(directory, "-c", str(configuration)) as killed:
        killed.wait_for('"ready"')
        assert refused(configuration, "-p", str(free_port())) == (
            f"moxy: cannot listen on unix:{socket}: Address already in use"
        )
        killed.stop(signal.SIGKILL)
    assert socket.is_socket()
    with Command(directory, "-c", str(configuration)) as moxy_again:
        moxy_again.wait_for('"ready"')
        assert moxy_again.stop() == 0
    assert not socket.exists()


def test_what_is_no_socket_stays(directory):
    (directory / "run").mkdir()
    configuration, _, socket = with_lmtp(directory, 9)
    socket.write_text("precious")
    assert refused(configuration) == f"moxy: cannot listen on unix:{socket}: there is something else than a socket"
    assert socket.read_text() == "precious"


def test_ports_told_on_the_command_line_are_smtps():
    config = loads(
        '[listener.a]\nlisten = ["127.0.0.1:1", "unix:/a"]\n'
        '[listener.b]\nlisten = ["127.0.0.1:24"]\nprotocol = "lmtp"\n',
        "x",
        "toml",
    )
    changed = start.with_port(config, 2525)
    assert [[str(end) for end in section.listen] for section in changed.listener.values()] == [
        ["127.0.0.1:2525", "unix:/a"],
        ["127.0.0.1:24"],
    ]
