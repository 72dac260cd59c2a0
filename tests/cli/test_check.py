"""`moxy check`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moxy.cli import check as command
from moxy.cli.check import check

ETC = Path(__file__).parents[2] / "etc"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(check, [str(argument) for argument in arguments])


def test_a_right_configuration_is_summed_up(tmp_path: Path) -> None:
    (tmp_path / "moxy.db").write_text("example.org a.example:25\n.example.net beta\n")
    path = tmp_path / "moxy.toml"
    path.write_text(
        """
        hostname = "mx.example.org"
        [listener.mx]
        listen = ["0.0.0.0:25", "[::]:25"]
        [listener.inside]
        listen = ["unix:/run/moxy/lmtp.sock"]
        protocol = "lmtp"
        [routes.domains]
        kind = "file"
        path = "moxy.db"
        [routes.others]
        kind = "nodb"
        hosts = ["beta"]
        [destination.beta]
        hosts = ["b.example"]
        [relay]
        allow_from = ["127.0.0.1", "10.*"]
        send_to = ["localhost:10025"]
        [log.mail]
        kind = "filelog"
        path = "moxy.log"
        [log.none]
        kind = "nolog"
        """
    )
    result = run("-c", path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{path}: ok",
        "  host name mx.example.org",
        "  listener mx: 0.0.0.0:25, [::]:25",
        "  listener inside: unix:/run/moxy/lmtp.sock, LMTP",
        f"  routes domains: file {tmp_path}/moxy.db, 2 entries",
        "  routes others: everybody to beta",
        "  relay: from 127.0.0.1, 10.* through localhost:10025",
        f"  log mail: lines in {tmp_path}/moxy.log",
        "  ledger: 72 hours in systemd's StateDirectory, else in a temporary file",
    ]


def test_what_is_hardly_wanted_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "moxy.toml"
    (tmp_path / "moxy.db").touch()
    path.write_text(
        """
        hostname = "mx"
        [routes.domains]
        kind = "file"
        path = "moxy.db"
        [log.mail]
        kind = "filelog"
        path = "moxy.log"
        format = "%sendr %sender%shost %msize"
        """
    )
    result = run("-c", path)
    assert result.exit_code == 0
    *others, last = [line for line in result.stdout.splitlines() if line.startswith("note: ")]
    assert others == [
        "note: the host name is `mx`; senders expect a full one, such as `mx.example.org`",
        "note: the table domains is empty",
        "note: log mail: the format has `%sendr`, which stays as it is; did you mean `sender`?",
    ]
    assert last.startswith("note: log mail: moxylogalyze will not be able to read it: %sender and %shost cannot be")


def test_who_may_say_who_a_client_is_is_told_and_noted_where_it_is_anybody(tmp_path: Path) -> None:
    path = tmp_path / "moxy.toml"
    path.write_text(
        """
        hostname = "mx.example.org"
        [listener.mx]
        proxy_from = ["192.0.2.10", "10.0.0.1"]
        xclient_from = ["::/0"]
        [relay]
        allow_from = ["10.0.0.1"]
        send_to = ["localhost:10025"]
        [ledger]
        hours = 0
        """
    )
    lines = run("-c", path).stdout.splitlines()
    assert "  listener mx: PROXY from 192.0.2.10, 10.0.0.1" in lines
    assert "  listener mx: XCLIENT from ::/0" in lines
    assert [line for line in lines if line.startswith("note: ")] == [
        "note: listener mx: by `xclient_from` anybody may say who he is, and relay as one who may",
        "note: the proxy 10.0.0.1 may relay itself; where it names no client, who comes through it may, too",
    ]


def test_a_configuration_that_does_little_says_so(tmp_path: Path) -> None:
    (tmp_path / "moxy.toml").touch()
    result = run("--config", tmp_path / "moxy.toml")
    assert result.exit_code == 0
    assert "routes: none, mail from clients that may not relay is refused" in result.stdout
    assert "relay: for nobody" in result.stdout
    assert "log: none" in result.stdout


def test_every_mistake_of_a_configuration_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "moxy.conf"
    path.write_text("prot 25\nlogtype filelog\n")
    result = run("-c", path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{path}: dbname: is missing, and has no default",
        f"{path}:1: prot: unknown directive `prot`; did you mean `port`?",
        f"{path}:2: logfile_name: is missing, and has no default",
    ]


def test_every_mistake_of_every_table_is_printed(tmp_path: Path) -> None:
    for name in ("one.db", "two.db"):
        (tmp_path / name).write_text("example.org a.example:25\nexample.net a.example:x\nexample.com :\n")
    path = tmp_path / "moxy.toml"
    tables = [f'[routes.{name}]\nkind = "file"\npath = "{name}.db"\n' for name in ("one", "two", "three")]
    path.write_text("".join(tables))
    result = run("-c", path)
    assert result.exit_code == 1
    places = [line.split(": ")[0] for line in result.stderr.splitlines()]
    expected = ["one.db:2", "one.db:3", "two.db:2", "two.db:3", "three.db"]
    assert places == [str(tmp_path / place) for place in expected]


def test_the_classic_files_we_ship_are_right_also_with_their_examples_in_force(tmp_path: Path) -> None:
    assert run("-c", ETC / "moxy.conf").exit_code == 0
    for name in ("moxy.conf", "moxy.db"):
        (tmp_path / name).write_text(re.sub(r"^#(?=[^ \n])", "", (ETC / name).read_text(), flags=re.MULTILINE))
    result = run("-c", tmp_path / "moxy.conf")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "relay: from 127.0.0.1, 192.168.1.* through localhost:10025" in result.stdout


def test_without_a_file_the_usual_places_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_config", lambda: tmp_path / "nowhere.toml")
    result = run()
    assert result.exit_code == 1
    assert result.stderr == f"{tmp_path}/nowhere.toml: cannot be read: No such file or directory\n"


def test_a_user_and_a_directory_that_are_not_there_are_told(tmp_path: Path) -> None:
    (tmp_path / "moxy.db").write_text("a.test mail.a.test\n")
    configuration = tmp_path / "moxy.conf"
    configuration.write_text(
        "runas nobody-of-that-name\ndbname moxy.db\nlogtype filelog\nlogfile_name missing/moxy.log\n"
    )
    result = run("-c", configuration)
    assert result.exit_code == 1
    assert "there is no user `nobody-of-that-name`" in result.stderr
    assert f"there is no directory {tmp_path}/missing" in result.stderr


def test_where_the_ledger_is_and_what_stands_in_its_way_is_told(directory: Path) -> None:
    configuration = directory / "moxy.toml"

    def told(ledger: str, runas: str = "") -> list[str]:
        configuration.write_text(f'hostname = "mx.example.org"\nrunas = "{runas}"\n[ledger]\n{ledger}')
        result = run("-c", configuration)
        assert result.exit_code == 0
        return [line.strip() for line in result.stdout.splitlines() if "ledger" in line]

    assert told("hours = 0") == ["ledger: none"]
    assert told('hours = 1\npath = "a.db"') == [f"ledger: 1 hour in {directory}/a.db"]
    assert told('path = "missing/a.db"') == [
        f"ledger: 72 hours in {directory}/missing/a.db",
        f"note: ledger: there is no directory {directory}/missing, so nothing is remembered",
    ]
    directory.chmod(0o755)
    (note,) = told('path = "a.db"', "65534:65534")[1:]
    assert note == f"note: ledger: 65534:65534 may not write in {directory}, so nothing is remembered"
    directory.chmod(0o777)
    assert told('path = "a.db"', "65534:65534")[1:] == []
