"""Reading a configuration file: a Config, or every mistake in it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.config import load as loading
from moxy.config.load import find_config, load, loads
from moxy.config.routes import FileRoutes
from moxy.config.schema import Config
from moxy.errors import ConfigError, Problem

BAD = Path(__file__).parent / "bad"
ETC = Path(__file__).parents[2] / "etc"


@pytest.mark.parametrize("path", sorted(BAD.glob("*.[ct]*")), ids=lambda path: path.name)
def test_each_mistake_is_told_as_expected(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(path)
    told = "".join(f"{problem}\n".replace(str(path), path.name, 1) for problem in caught.value.problems)
    assert told == path.with_suffix(".expected").read_text()


def test_every_bad_file_has_its_expectation_and_the_other_way_round() -> None:
    files = [path for path in BAD.iterdir() if path.suffix in (".toml", ".conf")]
    expectations = [path for path in BAD.iterdir() if path.suffix == ".expected"]
    assert len(files) >= 30
    assert sorted(path.stem for path in files) == sorted(path.stem for path in expectations)


@pytest.mark.parametrize("name", ["moxy.conf", "moxy.toml"])
def test_the_files_we_ship_load(name: str) -> None:
    config = load(ETC / name)
    assert config.routes == ({"db": FileRoutes(kind="file", path=ETC / "moxy.db")} if name == "moxy.conf" else {})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("moxy.toml", 'banner = "x"'),
        ("MOXY.TOML", 'banner = "x"'),
        ("moxy.conf", "banner x\ndbname y"),
        ("moxy", "banner x\ndbname y"),
    ],
)
def test_the_ending_of_the_name_decides_the_format(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert load(tmp_path / name).banner == "x"


def test_a_byte_order_mark_and_foreign_line_ends_do_no_harm(tmp_path: Path) -> None:
    for name, text in [("moxy.toml", 'banner = "x"\r\n'), ("moxy.conf", "banner x\r\ndbname y\r\n")]:
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert load(tmp_path / name).banner == "x"


def test_paths_start_at_the_directory_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("moxy.toml").write_text('pid_file = "run/moxy.pid"\n[routes.a]\nkind = "file"\npath = "../moxy.db"')
    config = load(Path("moxy.toml"))
    assert config.pid_file == tmp_path / "run/moxy.pid"
    assert config.routes == {"a": FileRoutes(kind="file", path=tmp_path / "../moxy.db")}


def test_the_host_name_is_the_machine_s_where_none_is_set() -> None:
    config = loads("", "moxy.toml", "toml")
    assert config.hostname == socket.getfqdn()
    assert config.postmaster == f"postmaster@{socket.getfqdn()}"
    named = loads('hostname = "mx.example"', "moxy.toml", "toml")
    assert (named.hostname, named.postmaster) == ("mx.example", "postmaster@mx.example")
    assert loads('postmaster = "root@b.example"', "moxy.toml", "toml").postmaster == "root@b.example"


def test_a_machine_without_a_usable_name_must_be_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: "not a name")
    with pytest.raises(ConfigError, match="hostname: not set, and the machine's own will not do"):
        loads("", "moxy.toml", "toml")
    assert loads('hostname = "mx.example"', "moxy.toml", "toml").hostname == "mx.example"


def problem_of(path: Path) -> Problem:
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    return problem


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert str(problem_of(tmp_path / "none.toml")).endswith("none.toml: cannot be read: No such file or directory")
    assert problem_of(tmp_path).message == "cannot be read: Is a directory"
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    assert problem_of(tmp_path / "loop.toml").message == "cannot be read: Too many levels of symbolic links"
    assert problem_of(tmp_path / "moxy\0.toml").message.startswith("cannot be read: ")


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "moxy.conf").write_bytes(b"dbname x\n\nbanner Caf\xe9\n")
    assert problem_of(tmp_path / "moxy.conf") == Problem(str(tmp_path / "moxy.conf"), 3, "", "not UTF-8 text")


def test_problems_come_in_the_order_of_their_lines() -> None:
    text = '[limits]\nhops = 0\n[timeouts]\nhelo = 1\n[relay]\nsend_to = ["a b"]\nbogus = 1\n'
    with pytest.raises(ConfigError) as caught:
        loads(text, "moxy.toml", "toml")
    assert [problem.line for problem in caught.value.problems] == [2, 4, 6, 7]
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)


def test_the_first_file_that_exists_is_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = files = tuple(tmp_path / name for name in ("a", "b", "c"))
    monkeypatch.setattr(loading, "CONFIG_FILES", files)
    with pytest.raises(ConfigError, match=f"none of {first}, {second}, {third} exists"):
        find_config()
    third.touch()
    assert find_config() == third
    second.touch()
    assert find_config() == second


WORDS = [
    "listener",
    "mx",
    "listen",
    "limits",
    "hops",
    "timeouts",
    "routes",
    "kind",
    "file",
    "nodb",
    "dbm",
    "hosts",
    "path",
]
WORDS += [
    "destination",
    "relay",
    "allow_from",
    "send_to",
    "log",
    "filelog",
    "format",
    "hostname",
    "a.example:25",
    "*",
    "5m",
]
KEYS = st.sampled_from(WORDS) | st.text(max_size=3)
SCALARS = KEYS.map(repr) | st.sampled_from(
    ["1", "-1", "0.5", "nan", "true", "1979-05-27", '"5m"', '"*:25"', '"\\u0000"']
)
LISTS = st.lists(SCALARS, max_size=3).map(lambda entries: f"[{', '.join(entries)}]")
TABLES = st.lists(st.tuples(KEYS, SCALARS | LISTS)).map(
    lambda pairs: "{" + ", ".join(f"'{key}' = {value}" for key, value in pairs) + "}"
)
STATEMENTS = st.one_of(
    st.lists(KEYS, min_size=1, max_size=3).map(lambda keys: f"[{'.'.join(keys)}]"),
    st.tuples(KEYS, SCALARS | LISTS | TABLES).map(" = ".join),
)


@given(st.lists(STATEMENTS).map("\n".join))
def test_any_toml_is_a_configuration_or_a_list_of_problems(text: str) -> None:
    try:
        loads(text, "moxy.toml", "toml")
    except ConfigError as error:
        problems = error.problems
    else:
        return
    assert problems
    assert all(0 <= problem.line <= text.count("\n") + 1 for problem in problems)
    assert all(character.isprintable() for problem in problems for character in problem.message)


@given(st.binary(), st.sampled_from([".toml", ".conf"]))
def test_any_octets_are_a_configuration_or_a_list_of_problems(octets: bytes, ending: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=ending) as file:
        file.write(octets)
        file.flush()
        with suppress(ConfigError):
            assert isinstance(load(Path(file.name)), Config)


def test_reading_a_configuration_needs_neither_terminal_nor_event_loop() -> None:
    program = (
        "import sys, moxy.config.load; print([name for name in ('rich', 'click', 'asyncio') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_what_is_no_regular_file_or_too_large_is_told(tmp_path: Path) -> None:
    large, pipe = tmp_path / "large.toml", tmp_path / "pipe.toml"
    large.write_bytes(b"#" * (loading.OCTETS_LIMIT + 1))
    os.mkfifo(pipe)
    for path, told in ((large, "it is larger than 4MiB"), (pipe, "it is no regular file"), (tmp_path, "")):
        with pytest.raises(ConfigError, match=f"cannot be read: {told}"):
            load(path)


def test_a_number_that_python_does_not_print_is_told_too() -> None:
    with pytest.raises(ConfigError, match="workers: expected at most 256, not a huge number"):
        loads("workers = 0x" + "f" * 5000, "moxy.toml", "toml")
