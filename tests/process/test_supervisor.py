"""The supervisor of a running Moxy: workers that die, configurations that change, and the end."""

from __future__ import annotations

import os
import select
import signal
import smtplib
import socket
from contextlib import ExitStack, contextmanager

import pytest

from support.moxy_commands import Sink, written
from support.moxy_process import Moxy, running
from support.ports import LOOPBACK, free_port

ANN, BOB = "ann@client.test", "bob@one.test"

IMPATIENT = (
    "-c",
    "from moxy import cli; from moxy.process import supervisor; supervisor.GRACE_SECONDS = 0.5; cli.main()",
)
"""Moxy, but who does not end has half a second in place of fifteen."""


@pytest.fixture
def sink(directory):
    with Sink(directory) as sink:
        yield sink


@contextmanager
def served(directory, sink, top="", sections="", **about):
    """A running Moxy, with keys for the top and sections for the end of its configuration."""
    configuration, port = written(directory, f"one.test 127.0.0.1:{sink.port}\n", sections)
    configuration.write_text(top + configuration.read_text())
    with running(configuration, port, **about) as moxy:
        yield moxy


def greeting(port):
    with socket.create_connection((LOOPBACK, port), timeout=20) as connection:
        return connection.recv(512).decode()


def deliver(port):
    with smtplib.SMTP(LOOPBACK, port) as client:
        client.sendmail(ANN, BOB, b"Subject: passed\r\n\r\n")


def is_closed(port):
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def change(moxy, old, new):
    """Change the configuration and have it read again."""
    moxy.configuration.write_text(moxy.configuration.read_text().replace(old, new))
    os.kill(moxy.pid, signal.SIGHUP)


def wait_for(moxy, text, times=1):
    moxy.wait_until(lambda: moxy.text().count(text) >= times, f"{times} times {text!r}")


def test_a_worker_that_was_killed_is_replaced(directory, sink):
    with served(directory, sink) as moxy:
        (killed,) = moxy.workers()
        os.kill(killed, signal.SIGKILL)
        moxy.wait_until(lambda: moxy.workers() not in ([killed], []), "another worker")
        deliver(moxy.port)
        assert '"status": -9' in moxy.text()
        assert f'"pid": {killed}' in moxy.text()


def test_clients_who_come_while_there_is_no_worker_are_served_by_the_next(directory, sink):
    with served(directory, sink) as moxy:
        (worker,) = moxy.workers()
        os.kill(worker, signal.SIGSTOP)
        with socket.create_connection((LOOPBACK, moxy.port), timeout=20) as client:
            os.kill(worker, signal.SIGKILL)
            assert client.recv(512).startswith(b"220")


def test_several_workers_serve_at_once(directory, sink):
    with served(directory, sink, top="workers = 3\n") as moxy:
        workers = moxy.wait_until(lambda: len(moxy.workers()) == 3 and moxy.workers(), "three workers")
        for stopped in workers[1:]:
            os.kill(stopped, signal.SIGSTOP)
        deliver(moxy.port)
        for stopped in workers[1:]:
            os.kill(stopped, signal.SIGCONT)
        os.kill(workers[0], signal.SIGSTOP)
        deliver(moxy.port)
        os.kill(workers[0], signal.SIGCONT)


def test_workers_share_the_bound_on_sessions(directory, sink):
    with (
        served(directory, sink, top="workers = 2\n", sections="[limits]\nsessions = 2\n") as moxy,
        ExitStack() as stack,
    ):
        wanted = {"220": 2, "421": 1}
        heard = {"220": 0, "421": 0}

        def enough():
            client = stack.enter_context(socket.create_connection((LOOPBACK, moxy.port), timeout=20))
            heard[client.recv(512).decode()[:3]] += 1
            return all(heard[code] >= wanted[code] for code in wanted)

        moxy.wait_until(enough, "a session for each worker, and one too many")
        assert heard["220"] == 2


def test_a_new_configuration_is_served_while_old_sessions_go_on(directory, sink):
    with served(directory, sink, top='banner = "ESMTP old"\n') as moxy:
        (old,) = moxy.workers()
        with smtplib.SMTP(LOOPBACK, moxy.port) as session:
            session.ehlo()
            change(moxy, "ESMTP old", "ESMTP new")
            wait_for(moxy, '"reloaded"')
            moxy.wait_until(lambda: "ESMTP new" in greeting(moxy.port), "the new banner")
            session.sendmail(ANN, BOB, b"Subject: of an old session\r\n\r\n")
            sink.wait_for("of an old session")
            assert old in moxy.workers()
        moxy.wait_until(lambda: old not in moxy.workers(), "the old worker to end")
        assert len(moxy.workers()) == 1


def test_an_old_session_that_does_not_end_is_told_to(directory, sink):
    with served(directory, sink, sections='[timeouts]\ndrain = "100ms"\n') as moxy:
        session = smtplib.SMTP(LOOPBACK, moxy.port)
        session.ehlo()
        os.kill(moxy.pid, signal.SIGHUP)
        assert session.getreply()[0] == 421
        moxy.wait_until(lambda: len(moxy.workers()) == 1, "the old worker to end")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[routes.table]", "[rotes.table]", "unknown key `rotes`; did you mean `routes`?"),
        ('path = "moxy.db"', 'path = "other.db"', "other.db: cannot be read: No such file or directory"),
        (
            'hostname = "mx.moxy.test"',
            'hostname = "mx.moxy.test"\npid_file = "x.pid"',
            "pid_file: a change needs a restart",
        ),
    ],
)
def test_a_new_configuration_with_a_mistake_changes_nothing(directory, sink, old, new, complaint):
    with served(directory, sink) as moxy:
        workers = moxy.workers()
        change(moxy, old, new)
        wait_for(moxy, "reload_refused")
        assert complaint in moxy.text()
        moxy.wait_until(lambda: moxy.workers() == workers, "the old worker alone")
        deliver(moxy.port)
        change(moxy, new, old)
        wait_for(moxy, '"reloaded"')
        deliver(moxy.port)


def test_a_configuration_that_is_a_pipe_holds_nobody_up(directory, sink):
    with served(directory, sink) as moxy:
        moxy.configuration.rename(directory / "kept.toml")
        os.mkfifo(moxy.configuration)
        os.kill(moxy.pid, signal.SIGHUP)
        wait_for(moxy, "reload_refused")
        deliver(moxy.port)


def test_workers_are_replaced_while_new_ones_take_long_to_start(directory, sink):
    with served(directory, sink) as moxy:
        (old,) = moxy.workers()
        os.mkfifo(directory / "slow.db")  # whoever reads it waits for somebody who writes
        change(moxy, 'path = "moxy.db"', 'path = "slow.db"')
        moxy.wait_until(lambda: len(moxy.workers()) == 2, "a new worker")
        os.kill(old, signal.SIGKILL)
        moxy.wait_until(lambda: len(moxy.workers()) == 2 and old not in moxy.workers(), "another one as before")
        deliver(moxy.port)
        table = directory / "slow.db"
        with table.open("w") as text:
            text.write((directory / "moxy.db").read_text())
            (directory / "moxy.db").rename(table)
        wait_for(moxy, '"reloaded"')
        moxy.wait_until(lambda: len(moxy.workers()) == 1, "the new worker alone")
        deliver(moxy.port)


def test_a_new_port_is_opened_and_an_old_one_closed(directory, sink):
    other = free_port()
    with served(directory, sink) as moxy:
        change(moxy, f'"{LOOPBACK}:{moxy.port}"', f'"{LOOPBACK}:{other}"')
        wait_for(moxy, '"reloaded"')
        deliver(other)
        moxy.wait_until(lambda: is_closed(moxy.port), "the old port to be closed")


def test_a_port_in_use_is_no_new_port_and_the_old_ones_stay(directory, sink):
    with socket.create_server((LOOPBACK, 0)) as taken, served(directory, sink) as moxy:
        used = taken.getsockname()[1]
        change(moxy, f'"{LOOPBACK}:{moxy.port}"', f'"{LOOPBACK}:{free_port()}", "{LOOPBACK}:{used}"')
        wait_for(moxy, f"cannot listen on {LOOPBACK}:{used}: Address already in use")
        deliver(moxy.port)


def test_the_number_of_workers_may_change(directory, sink):
    with served(directory, sink, top="workers = 1\n") as moxy:
        change(moxy, "workers = 1", "workers = 2")
        wait_for(moxy, '"reloaded"')
        moxy.wait_until(lambda: len(moxy.workers()) == 2, "two workers alone")
        deliver(moxy.port)


def test_the_operators_log_follows_the_new_configuration(directory, sink):
    with served(directory, sink, sections='[operator_log]\nstyle = "json"\n') as moxy:
        change(moxy, 'style = "json"', 'style = "human"')
        moxy.wait_until(lambda: "] reloaded " in moxy.text(), "a line for people")


def test_many_reloads_in_a_row_lose_no_client(directory, sink):
    with served(directory, sink) as moxy:
        for _ in range(5):
            os.kill(moxy.pid, signal.SIGHUP)
            deliver(moxy.port)
        wait_for(moxy, '"reloaded"')
    sink.wait_for(": passed", 5)


def test_workers_end_when_their_supervisor_is_gone(directory, sink):
    configuration, port = written(directory, f"one.test 127.0.0.1:{sink.port}\n")
    with Moxy(configuration, port) as moxy:
        moxy.wait_for_greeting(port)
        (worker,) = moxy.workers()
        handle = os.pidfd_open(worker)
        moxy.stop(signal.SIGKILL)
        sink.wait_until(lambda: select.select([handle], [], [], 0)[0], "the worker to end")
        os.close(handle)


def test_a_worker_that_does_not_end_is_killed(directory, sink):
    with served(directory, sink, sections='[timeouts]\ndrain = "100ms"\n', program=IMPATIENT) as moxy:
        os.kill(moxy.workers()[0], signal.SIGSTOP)
        assert moxy.stop() == 0
        assert '"status": -9' in moxy.text()


def test_an_old_worker_that_does_not_end_is_killed(directory, sink):
    with served(directory, sink, sections='[timeouts]\ndrain = "100ms"\n', program=IMPATIENT) as moxy:
        (old,) = moxy.workers()
        os.kill(old, signal.SIGSTOP)
        os.kill(moxy.pid, signal.SIGHUP)
        wait_for(moxy, '"reloaded"')
        moxy.wait_until(lambda: old not in moxy.workers(), "the old worker to end")
        deliver(moxy.port)
        assert f'"pid": {old}, "status": -9' in moxy.text()


def test_a_stop_while_a_new_worker_starts_is_heeded(directory, sink):
    with served(directory, sink) as moxy:
        os.kill(moxy.pid, signal.SIGHUP)
        os.kill(moxy.pid, signal.SIGTERM)
        assert moxy.wait() == 0
        assert "worker_ended" not in moxy.text()


def test_the_service_manager_is_told(directory, sink):
    configuration, port = written(directory, f"one.test 127.0.0.1:{sink.port}\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(str(directory / "notify"))
        (directory / "notify").chmod(0o777)
        with running(configuration, port, {"NOTIFY_SOCKET": str(directory / "notify")}) as moxy:
            assert manager.recv(4096).decode() == f"READY=1\nSTATUS=serving on {LOOPBACK}:{port}"
            os.kill(moxy.pid, signal.SIGHUP)
            assert manager.recv(4096).decode().startswith("RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(4096).startswith(b"READY=1")
            change(moxy, "[routes", "[rotes")
            told = [manager.recv(4096) for _ in range(2)]
            assert told[-1] == b"READY=1\nSTATUS=serving as before; the new configuration was refused"
            moxy.stop()
            assert manager.recv(4096) == b"STOPPING=1"
