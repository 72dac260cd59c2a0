"""The original's moxy.conf: how its lines are read, and what they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.config import classic
from moxy.config.classic import DIRECTIVES
from moxy.config.load import loads
from moxy.config.logs import FileLog, GdbmLog, NoLog, SysAndGdbmLog, SyslogLog
from moxy.config.routes import DbmRoutes, FileRoutes, NodbRoutes
from moxy.config.schema import Config
from moxy.config.values import Endpoint
from moxy.errors import ConfigError
from moxy.mail import Host, Mode


def conf(text: str) -> Config:
    return loads(text, "/etc/moxy/moxy.conf", "classic")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        conf(text)
    return [str(problem).removeprefix("/etc/moxy/moxy.conf") for problem in caught.value.problems]


def test_a_complete_file_becomes_the_same_as_its_toml() -> None:
    classic = """
        port            2525
        listen          127.0.0.1, ::1
        hostname        mx.example.org
        banner          "ESMTP at your service"
        runas           nobody
        allowRelayFrom  127.0.0.1, 192.168.*.*
        sendRelayTo     localhost:10025,unix:/run/relay,other.example:25
        dbtype          file
        dbname          /usr/local/moxy/moxy.db
        logtype         filelog
        logfile_name    /var/log/moxy.log
        log_format      "%date: %msize bytes from <%sender> to '%rcpts'"
        log_dateformat  "%d/%m/%y %T %z"
    """
    toml = """
        hostname = "mx.example.org"
        banner = "ESMTP at your service"
        runas = "nobody"
        [listener.mx]
        listen = ["127.0.0.1:2525", "[::1]:2525"]
        [relay]
        allow_from = ["127.0.0.1", "192.168.*.*"]
        send_to = ["localhost:10025", "unix:/run/relay", "other.example:25"]
        [routes.db]
        kind = "file"
        path = "/usr/local/moxy/moxy.db"
        [log.log]
        kind = "filelog"
        path = "/var/log/moxy.log"
        format = "%date: %msize bytes from <%sender> to '%rcpts'"
        date_format = "%d/%m/%y %T %z"
    """
    assert conf(classic) == loads(toml, "/etc/moxy/moxy.toml", "toml")


def test_what_is_left_out_is_as_in_the_original() -> None:
    config = conf("dbname moxy.db")
    assert config.listener["mx"].listen == (Endpoint("0.0.0.0", 25), Endpoint("::", 25))
    assert config.routes == {"db": FileRoutes(kind="file", path=Path("/etc/moxy/moxy.db"), mode=Mode.ALL)}
    assert config.log == {"log": NoLog(kind="nolog")}
    assert config.relay.route is None


def test_nodb_sends_everybody_to_all_of_its_hosts() -> None:
    (table,) = conf("dbtype nodb\nnodb_dest a.example:25, b.example:2525").routes.values()
    assert isinstance(table, NodbRoutes)
    assert (table.hosts, table.mode) == ((Host("a.example", 25), Host("b.example", 2525)), Mode.ALL)


def test_file_names_start_at_the_directory_of_the_file() -> None:
    (log,) = conf("dbname a\nlogtype filelog\nlogfile_name b/moxy.log").log.values()
    assert isinstance(log, FileLog)
    assert log.path == Path("/etc/moxy/b/moxy.log")
    assert log.format == "%date: %msize bytes from <%sender> [%shost] to [%dhost] for '%rcpts'"
    assert log.date_format == "%d/%m/%y %T %z"


@pytest.mark.parametrize(
    ("line", "banner"),
    [
        ("banner ESMTP Moxy", "ESMTP Moxy"),
        ("\t BANNER   ESMTP  Moxy  \r", "ESMTP  Moxy"),
        ("banner ESMTP # not this", "ESMTP"),
        ("banner ESMTP#1", "ESMTP#1"),
        ('banner "ESMTP # this" # not this', "ESMTP # this"),
        ("banner 'say \"hello\"'", 'say "hello"'),
        ('banner "it\'s"', "it's"),
        ("banner Pat's ESMTP", "Pat's ESMTP"),
        ('banner "a"#b', "a"),
        ('banner ""', ""),
        ('banner "\\"', "\\"),
        ("banner = ESMTP", "= ESMTP"),
    ],
)
def test_values_end_where_the_line_a_comment_or_the_quotes_end(line: str, banner: str) -> None:
    assert conf(f"# first\n   # second\n\ndbname moxy.db\n{line}\n").banner == banner


@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        ("port 2525", ["0.0.0.0:2525", "[::]:2525"]),
        ("listen 127.0.0.1", ["127.0.0.1:25"]),
        ("listen *\nport 0", ["*:0"]),
        (
            "port 2525\nlisten ::1,[2001:db8::1], mx.example.org,",
            ["[::1]:2525", "[2001:db8::1]:2525", "mx.example.org:2525"],
        ),
    ],
)
def test_listen_and_port_make_the_endpoints_together(text: str, endpoints: list[str]) -> None:
    assert [str(endpoint) for endpoint in conf(f"dbname moxy.db\n{text}").listener["mx"].listen] == endpoints


def test_words_are_read_in_any_case() -> None:
    assert isinstance(conf("DBTYPE File\nDbName moxy.db\nLogType NOLOG").routes["db"], FileRoutes)


def test_idle_directives_may_stay() -> None:
    config = conf("dbtype file\ndbname a\nnodb_dest not even a host\nlogtype nolog\nlogfile_name b\nlog_format c")
    assert config.log == {"log": NoLog(kind="nolog")}


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        ("syslog", SyslogLog(kind="syslog", format="%msize", date_format="%T")),
        ("gdbmlog", GdbmLog(kind="gdbmlog", path=Path("/b"))),
        ("sys_and_gdbmlog", SysAndGdbmLog(kind="sys_and_gdbmlog", path=Path("/b"), format="%msize", date_format="%T")),
    ],
)
def test_each_kind_of_log_takes_what_it_needs(kind: str, section: object) -> None:
    config = conf(f"dbname a\nlogtype {kind}\nlogfile_name /b\nlog_format %msize\nlog_dateformat %T")
    assert config.log == {"log": section}


def test_a_gdbm_table_has_its_file_by_the_same_directive() -> None:
    assert conf("dbtype dbm\ndbname /a").routes == {"db": DbmRoutes(kind="dbm", path=Path("/a"))}


def test_what_the_machine_needs_can_be_said_as_well() -> None:
    config = conf("dbname a\nworkers 4\npid_file /run/moxy.pid")
    assert (config.workers, config.pid_file) == (4, Path("/run/moxy.pid"))


@pytest.mark.parametrize("line", ['banner "a" "b"', "banner 'a' 'b'", 'banner "a" b'])
def test_one_quoted_value_ends_at_its_next_quote(line: str) -> None:
    (problem,) = problems(f"dbname a\n{line}")
    assert problem.startswith(":2: banner: expected one value in quotes and nothing behind it")


@pytest.mark.parametrize("value", ["four", "0", "-1", "1.5"])
def test_a_number_of_workers_that_is_none_is_told(value: str) -> None:
    (problem,) = problems(f"dbname a\nworkers {value}")
    assert problem.startswith(":2: workers: expected ")
    assert value in problem


def test_all_mistakes_are_told_at_once_by_line_and_directive() -> None:
    text = "prot 25\nport 25\nport 26\nbanner 'x\nlisten 1.2.3.4:5\nallowrelayfrom *\nhostname\nhostname a b"
    found = [problem.split(": ")[:2] for problem in problems(text)]
    assert found == [
        ["", "dbname"],
        [":1", "prot"],
        [":3", "port"],
        [":4", "banner"],
        [":5", "listen"],
        [":6", "allowRelayFrom"],
        [":7", "hostname"],
        [":8", "hostname"],
    ]


def test_a_mistake_that_feeds_several_keys_is_told_once() -> None:
    assert problems("dbname a\nport x") == [":2: port: expected a port from 0 to 65535, not `x`"]


def test_every_directive_leads_to_a_key_of_the_schema() -> None:
    for directive in DIRECTIVES:
        model: Any = Config
        for key in directive.path[:1]:
            assert key in model.model_fields
        assert directive.meaning.endswith(".")


NAMES = st.sampled_from([directive.name for directive in DIRECTIVES])
WORDS = st.sampled_from(
    ["file", "nodb", "filelog", "25", "a.example:25", "127.0.0.1", "10.*", '"', "'x'", "#", ",", "*"]
)
LINES = st.tuples(NAMES | st.text(max_size=5), st.lists(WORDS | st.text(max_size=5), max_size=3).map(" ".join))


@given(st.text() | st.lists(LINES.map(" ".join)).map("\n".join))
def test_any_text_is_a_configuration_or_a_list_of_problems(text: str) -> None:
    parsed = classic.parse(text, "moxy.conf")
    assert all(1 <= problem.line <= text.count("\n") + 1 for problem in parsed.problems)
    try:
        conf(text)
    except ConfigError as error:
        found = error.problems
    else:
        found = []
    assert all(problem.line <= text.count("\n") + 1 for problem in found)


def test_a_unix_socket_is_listened_on_beside_the_port() -> None:
    config = conf("dbname a\nlisten 127.0.0.1, unix:/run/moxy/smtp.sock\nport 26\nspread first")
    assert config.listener["mx"].listen == (Endpoint("127.0.0.1", 26), Endpoint("/run/moxy/smtp.sock", 0))
    assert config.spread == "first"
    (problem,) = problems("dbname a\nlisten unix:moxy.sock")
    assert problem.startswith(":2: listen: expected ")
