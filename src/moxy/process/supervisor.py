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
- New workers serve before old ones are asked to go; who does not go in time is killed.
- Workers end when the supervisor is gone: each holds one end of a pipe whose other end only the supervisor has.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from structlog import get_logger

from moxy.config.schema import Config
from moxy.errors import MoxyError
from moxy.net import listening
from moxy.net.listening import Listener
from moxy.process import notify
from moxy.process.listeners import Listeners

SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD})
STOP: Final = frozenset({signal.SIGTERM, signal.SIGINT})
BLOCKED: Final = SIGNALS | {signal.SIGUSR2}
"""A worker may be told to retire before it can heed that; it has this from us, until it can."""

START_SECONDS: Final = 120.0
"""How long a worker may take until it serves: a text table of many millions of lines is read in less."""

RESTART_SECONDS: Final = 1.0
"""A worker is not replaced more often than this: what kills it at once will kill the next one."""

GRACE_SECONDS: Final = 15.0
"""How much longer than its drain a worker may take to end, before it is killed."""

GLANCE: Final = 0.2
"""Seconds between two looks at the clock, while something is to be done at a certain time."""

READY: Final = b"\n"
"""What a worker tells when it serves; anything else is why it cannot."""

Work = Callable[[Config, Sequence[Listener], int, Callable[[], None]], None]
"""What a worker does until it is told to stop: with its configuration, its listeners, its lifeline, and what to call
when it serves.
"""

log = get_logger("moxy")


@dataclass(eq=False, slots=True)
class Worker:
    """A child process. `news` is our end of the pipe in which it tells how its start went, or why it failed; `serves`
    that we have heard it does.

    `end_by` is when it is killed if it has not ended; None while nobody has told it to.
    """

    pid: int
    config: Config
    news: int
    serves: bool = False
    end_by: float | None = None


def hold_signals() -> None:
    """Have signals wait until somebody heeds them, from before there is anything that one could destroy."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)


class _Interrupted(Exception):  # noqa: N818 - no error: the operator wants us to stop
    """A signal to stop has come while workers were starting. It is still to be heeded."""


class Supervisor:
    """The workers of `config`, serving on `listeners`. For a reload, `read` reads the configuration anew, and `adopt`
    has this process go by it, too.
    """

    def __init__(
        self,
        config: Config,
        listeners: Listeners,
        read: Callable[[], Config],
        adopt: Callable[[Config], None],
        work: Work,
    ) -> None:
        self._config = config
        self._listeners = listeners
        self._read = read
        self._adopt = adopt
        self._work = work
        self._workers: list[Worker] = []
        self._stopping = False
        self._forked_at = 0.0
        self._lifeline, self._held = os.pipe()

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until told to stop. `ready` is called when the first client may come. Signals must be held.

        Raises MoxyError if the first workers cannot serve.
        """
        try:
            with contextlib.suppress(_Interrupted):
                self._serve(ready)
            notify.stopping()
        finally:
            self._end()
        log.info("stopped")

    def _serve(self, ready: Callable[[], None]) -> None:
        self._start(self._config)
        self._tell_ready("ready")
        ready()
        while not self._stopping:
            self._look_after()

    def _end(self) -> None:
        """Have all workers end, and wait for that."""
        self._stopping = True
        self._listeners.close()  # or clients would wait in a queue that nobody serves
        self._dismiss(self._workers, signal.SIGTERM)
        while self._workers:
            self._look_after()

    def _look_after(self) -> None:
        """Do what the next signal asks for, and see to the workers."""
        self._heed(self._next_signal())
        self._reap()
        self._kill_overdue()
        if not self._stopping:
            self._replace()

    # -- signals

    def _next_signal(self) -> int:
        """The next signal, or 0 after a while if there is something to look after meanwhile."""
        if not self._stopping and len(self._serving) == len(self._workers) == self._config.workers:
            return signal.sigwaitinfo(SIGNALS).si_signo
        received = signal.sigtimedwait(SIGNALS, GLANCE)
        return received.si_signo if received else 0

    def _heed(self, number: int) -> None:
        if number in STOP:
            self._stopping = True
        elif number == signal.SIGHUP and not self._stopping:
            self._reload()
        elif number == signal.SIGUSR1:
            _signal_all(self._workers, signal.SIGUSR1)

    def _reload(self) -> None:
        """New workers for the configuration as it is now; if that fails, all stays as it is."""
        notify.reloading()
        before = self._serving
        try:
            config = self._read()
            _refuse_what_needs_a_restart(self._config, config)
            with self._listeners.changed(config):
                self._start(config)
        except MoxyError as error:
            self._dismiss_newer(before)
            log.error("reload_refused", problems=str(error).splitlines())
            notify.ready("serving as before; the new configuration was refused")
        except _Interrupted:
            return
        except Exception:
            self._dismiss_newer(before)
            log.exception("reload_failed")  # a bug of ours; who serves goes on
            notify.ready("serving as before; the new configuration could not be read")
        else:
            self._dismiss(self._serving, signal.SIGUSR2)  # as they are now: some may have been replaced meanwhile
            self._config = config
            self._adopt(config)
            self._tell_ready("reloaded")

    def _dismiss_newer(self, before: list[Worker]) -> None:
        """Who was replaced while new workers started has got their sockets, which are closed again."""
        self._dismiss([worker for worker in self._serving if worker not in before], signal.SIGUSR2)

    def _tell_ready(self, event: str) -> None:
        places = [listening.place(listener.socket) for listener in self._listeners.all]
        log.info(event, listening=places, workers=[worker.pid for worker in self._serving])
        notify.ready(f"serving on {', '.join(places)}")

    # -- workers

    @property
    def _serving(self) -> list[Worker]:
        """Those of the configuration in force that nobody has told to end."""
        return [worker for worker in self._workers if worker.end_by is None and worker.config is self._config]

    def _start(self, config: Config) -> None:
        """Return when all workers of a configuration serve.

        Raises MoxyError, with the words of the one that cannot; the others are then told to stop.
        """
        workers: list[Worker] = []
        try:
            while len(workers) < config.workers:
                workers.append(self._fork(config))
            for worker in workers:
                self._await_ready(worker)
        except BaseException:
            self._dismiss(workers, signal.SIGTERM)
            raise

    def _await_ready(self, worker: Worker) -> None:
        """Wait until `worker` serves, and look after the others meanwhile.

        Raises MoxyError with its reason if it does not, `_Interrupted` if we are to stop.
        """
        give_up = time.monotonic() + START_SECONDS
        while not _has_news(worker, GLANCE):
            if signal.sigpending() & STOP:
                raise _Interrupted
            if time.monotonic() > give_up:
                raise MoxyError(f"worker {worker.pid} did not come to serve in {START_SECONDS:g} s")
            if worker.config is not self._config:  # a reload: those of the old configuration still serve
                self._reap(starting=worker.config)
                self._replace()
        told = os.read(worker.news, 65536)
        if told != READY:
            raise MoxyError(told.decode(errors="replace") or f"worker {worker.pid} ended before it served")
        worker.serves = True

    def _fork(self, config: Config) -> Worker:
        """A new worker, which may not serve yet. Raises MoxyError where the system gives us no process."""
        self._forked_at = time.monotonic()
        try:
            news, telling = os.pipe()
            try:
                pid = os.fork()
            except OSError:
                os.close(news)
                os.close(telling)
                raise
        except OSError as error:
            raise MoxyError(f"cannot start a worker: {error.strerror}") from error
        if pid == 0:
            os.close(news)
            self._be_a_worker(config, telling)
        os.close(telling)
        worker = Worker(pid, config, news)
        self._workers.append(worker)
        return worker

    def _be_a_worker(self, config: Config, telling: int) -> None:
        """What a child does; it never returns, since the rest of the program is its parent's."""
        status = 1
        try:
            os.close(self._held)
            self._listeners.close_leaving()
            for worker in self._workers:
                os.close(worker.news)
            os.environ.pop("NOTIFY_SOCKET", None)
            self._work(config, self._listeners.all, self._lifeline, lambda: _tell(telling, READY))
            status = 0
        except MoxyError as error:
            _tell(telling, str(error).encode(errors="replace"))
        except BaseException:  # noqa: BLE001 - nothing may get past this function
            log.critical("worker_failed", exception=traceback.format_exc())
        finally:
            os._exit(status)  # at once: a name that is being looked up cannot be called off, and would hold us back

    def _dismiss(self, workers: Iterable[Worker], number: int) -> None:
        """Tell workers to end: when their transactions are done (SIGTERM), or their sessions before (SIGUSR2). Who has
        not come to serve yet has neither, and may not even hear of it.
        """
        drains = 2 if number == signal.SIGUSR2 else 1
        for worker in workers:
            patience = drains * worker.config.timeouts.drain + GRACE_SECONDS if _has_told(worker) else 0
            worker.end_by = time.monotonic() + patience
        _signal_all(workers, number)

    def _reap(self, starting: Config | None = None) -> None:
        """Part with the workers that have ended, but for those that start for a configuration and are waited for. Those
        nobody told to end are told of.
        """
        for worker in tuple(self._workers):
            if worker.config is starting and worker.end_by is None:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._forget(worker, os.waitstatus_to_exitcode(status))

    def _forget(self, worker: Worker, status: int) -> None:
        why = os.read(worker.news, 65536).removeprefix(READY).decode(errors="replace")
        os.close(worker.news)
        self._workers.remove(worker)
        told_to = self._stopping or worker.end_by is not None
        if not told_to or status < 0:  # below 0: a signal killed it
            log.error("worker_ended", pid=worker.pid, status=status, reason=why)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        overdue = [worker for worker in self._workers if worker.end_by is not None and worker.end_by < now]
        _signal_all(overdue, signal.SIGKILL)

    def _replace(self) -> None:
        """A new worker for each that has ended; at most one in RESTART_SECONDS."""
        if len(self._serving) < self._config.workers and time.monotonic() - self._forked_at > RESTART_SECONDS:
            try:
                self._fork(self._config)
            except MoxyError as error:
                log.error("worker_not_replaced", reason=str(error))


def _signal_all(workers: Iterable[Worker], number: int) -> None:
    for worker in workers:
        os.kill(worker.pid, number)  # it is there at least as a zombie, until we have reaped it


def _tell(telling: int, text: bytes) -> None:
    """Told in one write that fits the pipe. Who should hear of it may be gone."""
    with contextlib.suppress(OSError):
        os.write(telling, text[:60_000])


def _has_told(worker: Worker) -> bool:
    """Whether it serves, or has failed: there is news of it then."""
    return worker.serves or _has_news(worker, 0)


def _has_news(worker: Worker, seconds: float) -> bool:
    news = select.poll()
    news.register(worker.news, select.POLLIN)
    return bool(news.poll(1000 * seconds))


def _refuse_what_needs_a_restart(old: Config, new: Config) -> None:
    """Raise MoxyError for a change that a process without root cannot make."""
    changed = [key for key in ("runas", "pid_file") if getattr(old, key) != getattr(new, key)]
    if changed:
        raise MoxyError(f"{', '.join(changed)}: a change needs a restart")
