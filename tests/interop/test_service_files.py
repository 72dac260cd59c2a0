"""etc/systemd/moxy.service and etc/logrotate.d/moxy: what the programs that read them make of them."""

from __future__ import annotations

import configparser
import re
import smtplib
from pathlib import Path

import pytest

from moxy.cli import manual
from moxy.config.schema import Config
from support.moxy_process import Moxy, running_moxy
from support.ports import LOOPBACK
from support.processes import require_program, run_to_end
from support.smtpsink import SmtpSink

pytestmark = pytest.mark.interop

ETC = Path(__file__).parents[2] / "etc"
UNIT = ETC / "systemd" / "moxy.service"


def unit() -> configparser.ConfigParser:
    """The unit, by section and key; of a key that stands twice, the last."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(UNIT.read_text())
    return parser


def test_moxy_tells_that_it_is_ready_and_is_reloaded_by_a_signal() -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["KillMode"] == "mixed"


def test_systemd_waits_longer_than_moxy_drains() -> None:
    assert int(unit()["Service"]["TimeoutStopSec"]) > Config().timeouts.drain * 2


def test_it_is_never_root_and_can_only_open_low_ports() -> None:
    service = unit()["Service"]
    assert service["User"] == "moxy"
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert service["NoNewPrivileges"] == "yes"


def test_its_user_is_the_one_of_the_sysusers_file() -> None:
    lines = (ETC / "systemd" / "moxy.sysusers").read_text().splitlines()
    assert [line.split()[:2] for line in lines if not line.startswith("#")] == [["u", unit()["Service"]["User"]]]


def test_its_manual_pages_exist() -> None:
    named = re.findall(r"man:([\w.]+)\((\d)\)", unit()["Unit"]["Documentation"])
    assert named
    assert {".".join(page) for page in named} <= set(manual.PAGES)


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/moxy", "/bin/true"))
    done = run_to_end([require_program("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", str(copy)])
    assert (done.returncode, done.stdout) == (0, "")


def test_systemd_finds_little_that_the_service_could_do() -> None:
    analyze = require_program("systemd-analyze")
    done = run_to_end([analyze, "security", "--offline=true", "--no-pager", "--threshold=20", str(UNIT)])
    assert done.returncode == 0, done.stdout  # 20 is an exposure of 2.0 on the scale from 0 to 10


def test_after_a_rotation_moxy_writes_to_the_new_file(directory: Path) -> None:
    with SmtpSink(directory) as sink, running_moxy(directory, f"one.test {sink.address}\n") as moxy:
        send(moxy)
        (first,) = moxy.wait_until(moxy.records, "a record")
        moxy.record_file.chmod(0o640)
        rotate(directory, moxy)
        moxy.wait_until(moxy.record_file.exists, "a new file")
        send(moxy)
        (second,) = moxy.wait_until(moxy.records, "a record in the new file")
        old, new = moxy.record_file.with_name("moxy.log.1"), moxy.record_file
        assert old.read_text() == f"{first}\n"
        assert second
        assert belongs(new) == belongs(old)


def belongs(file: Path) -> tuple[int, int, int]:
    """Whose a file is, and who else may do what with it."""
    status = file.stat()
    return status.st_uid, status.st_gid, status.st_mode


def send(moxy: Moxy) -> None:
    with smtplib.SMTP(LOOPBACK, moxy.port, "client.test") as client:
        client.sendmail("sender@sender.test", "ann@one.test", b"Subject: to be counted\r\n\r\n")


def rotate(directory: Path, moxy: Moxy) -> None:
    """What logrotate does once a week, with the paths of this test."""
    (directory / "moxy.pid").write_text(f"{moxy.pid}\n")
    text = (ETC / "logrotate.d" / "moxy").read_text()
    text = text.replace("/var/log/moxy/moxy.log", str(moxy.record_file))
    text = text.replace("/run/moxy/moxy.pid", str(directory / "moxy.pid"))
    configuration = directory / "logrotate"
    configuration.write_text(text)
    configuration.chmod(0o644)
    done = run_to_end(
        [require_program("logrotate"), "--force", "--state", str(directory / "state"), str(configuration)]
    )
    assert (done.returncode, done.stdout) == (0, "")
