"""What all tests share: directories other users can read, and the rule that CI skips nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import idna.uts46data  # noqa: F401 - loaded now, or the first test that needs it misses Hypothesis' deadline
import pytest

from support.directories import open_directory

pytest_plugins = ["pytester"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has what it runs in the background ignore Ctrl-C, and every program of a test would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A new directory that every user may read, for tests with programs that change their user."""
    with open_directory() as path:
        yield path


def skipped(config: pytest.Config) -> list[pytest.TestReport]:
    """The tests skipped so far, if that matters: on a developer's machine a program may be missing, in CI none may."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or reporter is None:
        return []
    return reporter.stats.get("skipped", [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    names = [report.nodeid for report in skipped(config)]
    if names:
        terminalreporter.line(f"CI=true, and yet {len(names)} skipped, so this run fails: {', '.join(names)}", red=True)
