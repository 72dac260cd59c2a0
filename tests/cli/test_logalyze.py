"""`moxylogalyze`, from its options to what it prints."""

import gzip
import io
import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from moxy import __version__
from moxy.accounting.filelog import FileLog
from moxy.accounting.record import Outcome, Record
from moxy.accounting.textformat import LineFormat
from moxy.cli import logalyze as command
from moxy.cli.logalyze import logalyze

FORMAT = "%date: %msize bytes from <%sender> [%shost] to [%dhost] for '%rcpts'"
DATE = "%d/%m/%y %T %z"


def line(
    sender="joe@example.org", client="192.0.2.1", host="a.example:25", recipients="ann@example.net", size=1000, day=1
):
    return f"{day:02}/11/23 12:00:00 +0000: {size} bytes from <{sender}> [{client}] to [{host}] for '{recipients}'\n"


LOG = (
    line()
    + line(sender="eve@example.com", client="192.0.2.9", host="b.example:2525", size=200, day=2)
    + line(
        sender="",
        client="2001:db8::1",
        host="b.example:25",
        recipients='"a, b"@example.net,bob@example.net',
        size=30,
        day=3,
    )
)


@pytest.fixture(autouse=True)
def no_configuration_of_this_machine(monkeypatch):
    monkeypatch.setattr(command, "CONFIG_FILES", ())


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "moxy.log"
    path.write_text(LOG)
    return path


def run(*arguments, stdin=None):
    return CliRunner().invoke(logalyze, [str(argument) for argument in arguments], input=stdin)


def said(*arguments, stdin=None):
    """What it prints where all is well."""
    result = run(*arguments, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()


def test_the_total_of_a_log(path):
    assert said(path) == ["1,230 octets in 3 messages to 4 recipients"]
    assert said(path, path) == ["2,460 octets in 6 messages to 8 recipients"]
    assert said("-", stdin=LOG) == ["1,230 octets in 3 messages to 4 recipients"]


@pytest.mark.parametrize("option", ["-l", "--listby"])
@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("from", ["joe@example.org", "eve@example.com", "<>"]),
        ("ip", ["192.0.2.1", "192.0.2.9", "2001:db8::1"]),
        ("dest", ["a.example:25", "b.example:2525", "b.example:25"]),
        ("rcpt", ["ann@example.net", '"a,', "bob@example.net"]),
        ("rcpt-domain", ["example.net"]),
        ("from-domain", ["example.org", "example.com", "<>"]),
        ("day", ["2023-11-01", "2023-11-02", "2023-11-03"]),
    ],
)
def test_a_table_for_each_listing(path, option, by, names):
    lines = said(option, by, path)
    assert [line.split()[0] for line in lines[1:-1]] == names
    assert lines[-1].split() == ["total", "1,230", "3", "100.0%"]


@pytest.mark.parametrize(
    ("options", "octets"),
    [
        (["--from", "joe@EXAMPLE.org"], 1000),
        (["--from", "<>"], 30),
        (["--from", "*@example.*"], 1200),
        (["-i", "192.0.2.1"], 1000),
        (["--ip", "192.0.2.*"], 1200),
        (["--ip", "2001:db8::/32", "--ip", "192.0.2.9"], 230),
        (["-d", "b.example:25"], 30),
        (["--dest", "b.example"], 230),
        (["--rcpt", '"a, b"@example.net'], 30),
        (["--dest", "b.example", "--from", "eve@*"], 200),
        (["--dest", "a.example", "--from", "eve@*"], 0),
        (["--since", "2023-11-02T12:00Z"], 230),
        (["--until", "2023-11-02T12:00Z"], 1000),
        (["--since", "2023-11-02", "--until", "2023-11-03"], 200),
        (["--since", "1h"], 0),
    ],
)
def test_matches_choose_what_is_added_up(path, options, octets):
    assert said(*options, path)[0].startswith(f"{octets:,} octets in ")


def test_matches_and_a_listing_go_together(path):
    assert [line.split()[0] for line in said("-l", "dest", "--from", "eve@*", path)] == [
        "destination",
        "b.example:2525",
        "total",
    ]


def test_the_form_of_the_answer(path):
    assert json.loads("".join(said("-l", "dest", "--top", "1", "--json", path)))["destinations"] == [
        {"destination": "a.example:25", "octets": 1000, "messages": 1}
    ]
    assert said("-l", "ip", "--csv", "--sort", "name", path)[1] == "192.0.2.1,1000,1"
    assert said("-H", path) == ["1.2 KiB in 3 messages to 4 recipients"]
    assert said("-l", "dest", "--sort", "name", "--top", "2", path)[3].split()[:3] == ["1", "more", "200"]


def test_verbose_shows_what_matches_and_what_does_not_fit(path):
    path.write_text(LOG + "nonsense \x1b[2J\n" + "Nov 20 12:00:00 host cron[1]: hello\n")
    result = run("-v", "--from", "<>", path)
    assert result.stdout.splitlines() == [LOG.splitlines()[2], "30 octets in 1 message to 2 recipients"]
    assert result.stderr.splitlines() == [
        "nonsense \\x1b[2J",
        "1 line does not fit the format",
        "1 line is of other programs",
    ]
    assert json.loads(run("-v", "--json", "--from", "<>", path).stdout)["total"]["octets"] == 30
    assert "does not fit the format (-v shows them)" in run(path).stderr
    assert run("-v", path).stdout.count("\n") == 1  # without a choice every line matches


def test_files_that_cannot_be_read_do_not_keep_the_others_from_it(path, tmp_path):
    (tmp_path / "cut.gz").write_bytes(gzip.compress(LOG.encode() * 1000, 0)[:-9])
    result = run(tmp_path / "missing", path, tmp_path / "cut.gz", tmp_path, path)
    assert result.exit_code == 1
    assert [line.partition(": cannot be read: ")[0] for line in result.stderr.splitlines()[:3]] == [
        f"{tmp_path}/missing",
        f"{tmp_path}/cut.gz",
        f"{tmp_path}",
    ]
    assert int(result.stdout.split()[3].replace(",", "")) > 2000


def test_logs_of_syslog_and_packed_ones(tmp_path):
    log = "".join(f"Nov 20 12:00:00 host moxy[{number}]: {text}\n" for number, text in enumerate(LOG.splitlines()))
    (tmp_path / "mail.log.1.gz").write_bytes(gzip.compress(log.encode()))
    (tmp_path / "mail.log").write_text("2026-11-20T12:00:00.5+00:00 host moxy[1]: " + line().rstrip("\n"))
    assert said(tmp_path / "mail.log.1.gz", tmp_path / "mail.log") == ["2,230 octets in 4 messages to 5 recipients"]


def test_the_formats_of_options(tmp_path):
    (tmp_path / "log").write_text("2023-11-20,joe@example.org,5\n2023-11-21,joe@example.org,6\r\n")
    options = ["--format", "%date,%sender,%msize", "--date-format", "%F"]
    assert said(*options, "--since", "2023-11-21", tmp_path / "log") == ["6 octets in 1 message"]


CONFIG = """
hostname = "mx.example.org"
[log.system]
kind = "syslog"
format = "%msize|%sender"
[log.mail]
kind = "filelog"
path = "mail.log"
format = "%sender %msize %date"
date_format = "%F"
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "mail.log").write_text("joe@example.org 5 2023-11-20\n")
    path = tmp_path / "moxy.toml"
    path.write_text(CONFIG)
    return path


def test_the_log_file_of_the_configuration_is_read_in_its_format(config, monkeypatch):
    assert said("-c", config) == ["5 octets in 1 message"]
    monkeypatch.setattr(command, "CONFIG_FILES", (config.with_name("missing"), config))
    assert said("-l", "day")[1].split() == ["2023-11-20", "5", "1", "100.0%"]
    assert said("--format", "%sender 5 %msize-11-20")[0] == "2,023 octets in 1 message"


def test_another_log_of_the_configuration(config, tmp_path):
    (tmp_path / "syslog").write_text("Nov 20 12:00:00 host moxy[1]: 7|a@b\n")
    assert said("-c", config, "--log", "system", tmp_path / "syslog") == ["7 octets in 1 message"]
    result = run("-c", config, "--log", "system")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "name a LOGFILE" in result.stderr


def test_the_original_s_configuration_does_as_well(tmp_path):
    (tmp_path / "moxy.conf").write_text(
        'hostname mx.example.org\ndbname moxy.db\nlogtype filelog\nlogfile_name moxy.log\nlog_format "%msize %rcpts"\n'
    )
    (tmp_path / "moxy.log").write_text("5 a@b\n")
    assert said("-c", tmp_path / "moxy.conf") == ["5 octets in 1 message to 1 recipient"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a LOGFILE"),
        (["--log", "x", "f"], "no [log.x]"),
        (["--json", "--csv", "f"], "exclude each other"),
        (["--format", "%sender", "f"], "the format has no %msize"),
        (["--format", "%sender%msize", "f"], "%sender and %msize cannot be told apart"),
        (["--date-format", "%Q", "f"], "`%Q`, which cannot be read back"),
        (["--format", "%msize", "--rcpt", "a@b", "f"], "--rcpt: the format has no %rcpts"),
        (["--format", "%msize", "--from", "a@b", "f"], "--from: the format has no %sender"),
        (["--format", "%msize", "-i", "::1", "f"], "--ip: the format has no %shost"),
        (["--format", "%msize", "-l", "dest", "f"], "--listby dest: the format has no %dhost"),
        (["--from", "joe", "f"], "expected an address"),
        (["--since", "soon", "f"], "expected a date or a time"),
        (["--listby", "size", "f"], "'size' is not one of"),
        (["--top", "0", "f"], "0 is not in the range"),
        (["--format", "a\nb", "f"], "expected one line"),
    ],
)
def test_what_cannot_be_answered_is_wrong_usage(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_time_is_asked_of_lines_that_have_none(tmp_path):
    (tmp_path / "log").write_text("5\n")
    result = run("--format", "%msize", "--since", "3d", tmp_path / "log")
    assert result.stdout == "0 octets in 0 messages\n"
    assert result.stderr == "1 line has no date that can be read\n"


def test_help_and_version():
    assert said("-V") == said("--version") == [f"Moxy {__version__}"]
    assert said("-h") == said("--help")
    assert "--listby" in "\n".join(said("-h"))


@pytest.mark.parametrize("arguments", [["-c", "missing.toml", "-"], ["missing.log"]])
def test_what_is_missing_is_told_in_a_line(tmp_path, arguments):
    process = subprocess.run(
        [sys.executable, "-P", "-m", "moxy", "logalyze", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert "cannot be read: No such file" in process.stderr


HOSTILE = [
    "\"a> [9.9.9.9] to [evil:1] for 'x'\"@example.org",
    '"\\"> [9.9.9.9] to [evil:1] for \'"@example.org',
    "o'brien@example.org",
    '"%msize %s"@example.org',
    '"x\\\\"@[IPv6:2001:db8::1]',
    '"\x1b[2J\n1: 5 bytes from <"@example.org',
    "",
]


def test_no_sender_and_no_recipient_changes_the_totals(tmp_path):
    path = tmp_path / "moxy.log"
    log = FileLog(path, LineFormat(FORMAT, DATE))
    sizes = range(1, 1 + 10 * len(HOSTILE))
    for size in sizes:
        sender = HOSTILE[size % len(HOSTILE)]
        names = [name for name in HOSTILE[: 1 + size % len(HOSTILE)] if name]
        log.record(
            Record(float(size), "s", "t", "192.0.2.1", 1, "h", sender, "a.example:25", names, size, Outcome.DELIVERED)
        )
    log.close()
    assert said("-l", "dest", path)[1].split() == ["a.example:25", f"{sum(sizes):,}", str(len(sizes)), "100.0%"]
    assert said("-l", "ip", path)[1].split()[0] == "192.0.2.1"
    assert len(said("-l", "from", path)) == len(HOSTILE) + 2
    for name in HOSTILE[:2]:
        assert said("--from", name, path)[0].split()[3] == "10"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_large_logs_have_a_progress_bar_on_a_terminal_only(path, monkeypatch, capsys):
    monkeypatch.setattr(command, "LARGE", 1)
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    logalyze.main([str(path)], standalone_mode=False)
    assert f"{len(LOG)}/{len(LOG)} bytes" in sys.stderr.getvalue()
    assert capsys.readouterr().out == "1,230 octets in 3 messages to 4 recipients\n"
    assert run(path).stderr == ""


def test_a_hundred_thousand_lines_take_a_second_or_little_more(tmp_path):
    path = tmp_path / "moxy.log"
    path.write_text("".join(line(sender=f"user{number % 10_000}@example.org") for number in range(100_000)))
    started = time.process_time()
    assert said("-l", "from", "--rcpt", "ann@*", path)[-1].split()[1] == "100,000,000"
    assert time.process_time() - started < 5  # 0.5 s on a quiet machine
