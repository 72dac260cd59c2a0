"""The supervisor: starts the workers, replaces one that dies, and does what signals ask for.

    SIGTERM, SIGINT   stop: workers let transactions under way finish
    SIGHUP            read the configuration again, and serve by it; a mistake in it changes nothing
    SIGUSR1           open the logs anew (they were renamed)

Why a process of its own: a worker that dies is replaced while the kernel keeps its clients waiting, and a new
configuration is served by new workers, so that nobody's session is cut in the middle. It serves nobody itself: no event
loop, no thread, so that it may fork at any time.

Rules:
- Sockets are bound here and shared by all workers: clients that wait in a queue of the kernel lose nothing when a
  worker ends.
- New workers serve before old ones are asked to go.
- Workers end when the supervisor is gone: each holds one end of a pipe whose other end only the supervisor has.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from structlog import get_logger

from moxy.config.schema import Config
from moxy.errors import MoxyError
from moxy.process import notify, serving
from moxy.process.listeners import Listeners

SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD})
STOP: Final = frozenset({signal.SIGTERM, signal.SIGINT})

RESTART_SECONDS: Final = 1.0
"""A worker is not replaced more often than this: what kills it at once will kill the next one."""

GRACE_SECONDS: Final = 5.0
"""How much longer than its drain a worker may take to end, before it is killed."""

GLANCE: Final = 0.2
"""Seconds between two looks at the clock, while something is to be done at a certain time."""

READY: Final = b"\n"
"""What a worker tells when it serves; anything else is why it cannot."""

Work = Callable[[Config, Sequence[socket.socket], int, Callable[[], None]], None]
"""What a worker does until it is told to stop: with its configuration, its sockets, its lifeline, and what to call when
it serves.
"""

log = get_logger("moxy")


@dataclass(eq=False, slots=True)
class Worker:
    """A child process. `news` is our end of the pipe in which it tells how its start went."""

    pid: int
    config: Config
    news: int


class _Interrupted(Exception):  # noqa: N818 - no error: the operator wants us to stop
    """Told to stop while workers were starting."""


class Supervisor:
    """The workers of `config`, serving on `listeners`. `read` reads the configuration anew for a reload."""

    def __init__(self, config: Config, listeners: Listeners, read: Callable[[], Config], work: Work) -> None:
        self._config = config
        self._listeners = listeners
        self._read = read
        self._work = work
        self._workers: list[Worker] = []
        self._retired: list[Worker] = []
        self._stop_by: float | None = None
        self._forked_at = 0.0
        self._lifeline, self._held = os.pipe()

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until told to stop. `ready` is called when the first client may come.

        Raises MoxyError if the first workers cannot serve.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._workers = self._start(self._config)
        except _Interrupted:
            return
        finally:
            self._end(self._retired)
        self._tell_ready("ready")
        ready()
        while self._stop_by is None or self._workers:
            self._heed(self._next_signal())
            self._reap()
            if self._stop_by is None:
                self._replace()
            elif time.monotonic() > self._stop_by:
                self._kill(self._workers + self._retired, signal.SIGKILL)
        self._end(self._retired)
        log.info("stopped")

    # -- signals

    def _next_signal(self) -> int:
        """The next signal, or 0 after a while if there is something to look after meanwhile."""
        if self._stop_by is None and len(self._workers) == self._config.workers:
            return signal.sigwaitinfo(SIGNALS).si_signo
        received = signal.sigtimedwait(SIGNALS, GLANCE)
        return received.si_signo if received else 0

    def _heed(self, number: int) -> None:
        if number in STOP:
            self._stop()
        elif number == signal.SIGHUP and self._stop_by is None:
            self._reload()
        elif number == signal.SIGUSR1:
            self._kill(self._workers + self._retired, signal.SIGUSR1)

    def _stop(self) -> None:
        notify.stopping()
        self._listeners.close()  # or clients would wait in a queue that nobody serves
        if self._stop_by is None:
            self._stop_by = time.monotonic() + self._config.timeouts.drain + GRACE_SECONDS
        self._kill(self._workers + self._retired, signal.SIGTERM)

    def _reload(self) -> None:
        """New workers for the configuration as it is now; if that fails, all stays as it is."""
        notify.reloading()
        try:
            config = self._read()
            _refuse_what_needs_a_restart(self._config, config)
            with self._listeners.changed(config):
                workers = self._start(config)
        except MoxyError as error:
            log.error("reload_refused", problems=str(error).splitlines())
            notify.ready("serving; the new configuration has mistakes")
        except _Interrupted:
            self._stop()
        else:
            self._kill(self._workers, signal.SIGUSR2)
            self._retired += self._workers
            self._workers, self._config = workers, config
            self._tell_ready("reloaded")

    def _tell_ready(self, event: str) -> None:
        places = [serving.place(listener) for listener in self._listeners.sockets]
        log.info(event, listening=places, workers=[worker.pid for worker in self._workers])
        notify.ready(f"serving on {', '.join(places)}")

    # -- workers

    def _start(self, config: Config) -> list[Worker]:
        """All workers of a configuration, once each of them serves.

        Raises MoxyError, with the words of the one that cannot; the others are then told to stop.
        """
        workers: list[Worker] = []
        try:
            while len(workers) < config.workers:
                workers.append(self._fork(config))
            for worker in workers:
                _await_ready(worker)
        except (MoxyError, _Interrupted, OSError) as error:
            self._kill(workers, signal.SIGTERM)
            self._retired += workers
            if isinstance(error, OSError):
                raise MoxyError(f"cannot start a worker: {error.strerror}") from error
            raise
        return workers

    def _fork(self, config: Config) -> Worker:
        news, telling = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(news)
            self._be_a_worker(config, telling)
        os.close(telling)
        self._forked_at = time.monotonic()
        return Worker(pid, config, news)

    def _be_a_worker(self, config: Config, telling: int) -> None:
        """What a child does; it never returns, since the rest of the program is its parent's."""
        status = 1
        try:
            os.close(self._held)
            self._listeners.close_leaving()
            for worker in self._workers + self._retired:
                os.close(worker.news)
            os.environ.pop("NOTIFY_SOCKET", None)
            self._work(config, self._listeners.sockets, self._lifeline, lambda: _tell(telling, READY))
            status = 0
        except MoxyError as error:
            _tell(telling, str(error).encode(errors="replace"))
        except BaseException:  # noqa: BLE001 - nothing may get past this function
            log.critical("worker_failed", exception=traceback.format_exc())
        finally:
            os._exit(status)  # at once: a name that is being looked up cannot be called off, and would hold us back

    def _reap(self) -> None:
        """Part with the workers that have ended; those nobody told to end are told of."""
        for worker in [*self._workers, *self._retired]:
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._forget(worker, status)

    def _forget(self, worker: Worker, status: int) -> None:
        why = os.read(worker.news, 65536).removeprefix(READY).decode(errors="replace")
        os.close(worker.news)
        status = os.waitstatus_to_exitcode(status)
        wanted = self._stop_by is not None or worker in self._retired
        (self._retired if worker in self._retired else self._workers).remove(worker)
        if not wanted or status < 0:  # below 0: a signal killed it
            log.error("worker_ended", pid=worker.pid, status=status, reason=why)

    def _replace(self) -> None:
        """A new worker for each that has ended; at most one in RESTART_SECONDS."""
        if len(self._workers) < self._config.workers and time.monotonic() - self._forked_at > RESTART_SECONDS:
            with contextlib.suppress(OSError):  # no process to be had now; the next look tries again
                self._workers.append(self._fork(self._config))

    def _end(self, workers: list[Worker]) -> None:
        """Wait for workers that were told to end, for their time; what does not end is killed."""
        patience = (
            time.monotonic() + max((worker.config.timeouts.drain for worker in workers), default=0) + GRACE_SECONDS
        )
        while workers:
            self._reap()
            if time.monotonic() > patience:
                self._kill(workers, signal.SIGKILL)
            if workers:
                signal.sigtimedwait({signal.SIGCHLD}, GLANCE)

    @staticmethod
    def _kill(workers: Iterable[Worker], number: int) -> None:
        for worker in workers:
            os.kill(worker.pid, number)  # it is there at least as a zombie, until we have reaped it


def _tell(telling: int, text: bytes) -> None:
    """Told in one write that fits the pipe. Who should hear of it may be gone."""
    with contextlib.suppress(OSError):
        os.write(telling, text[:60_000])
        os.close(telling)


def _await_ready(worker: Worker) -> None:
    """Wait until `worker` serves. Raises MoxyError with its reason if it does not, `_Interrupted` if we are to stop."""
    while not select.select([worker.news], [], [], GLANCE)[0]:
        if signal.sigpending() & STOP:
            raise _Interrupted
    told = os.read(worker.news, 65536)
    if told != READY:
        raise MoxyError(told.decode(errors="replace") or f"worker {worker.pid} ended before it served")


def _refuse_what_needs_a_restart(old: Config, new: Config) -> None:
    """Raise MoxyError for a change that a process without root cannot make."""
    for key in ("runas", "pid_file"):
        if getattr(old, key) != getattr(new, key):
            raise MoxyError(f"{key}: a change of it needs a restart")
