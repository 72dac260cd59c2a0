"""FileTable: what it answers, and how it follows its file."""

import asyncio
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from moxy.errors import ConfigError
from moxy.mail.route import Host, Mode, Route
from moxy.net.filestamp import RESTED_SECONDS
from moxy.routes import file as module
from moxy.routes.file import FileTable
from moxy.smtp.address import ForwardPath


class Table:
    """A table file whose versions all have times of their own, long ago."""

    def __init__(self, path):
        self.path = path
        self.time = 1_000_000_000

    def write(self, text):
        self.path.write_bytes(text.encode() if isinstance(text, str) else text)
        self.age()

    def age(self):
        self.time += 1
        os.utime(self.path, (self.time, self.time))


@pytest.fixture
def source(tmp_path):
    return Table(tmp_path / "moxy.db")


@pytest.fixture
def logged():
    with capture_logs() as events:
        yield events


def ask(table, address):
    """The port that the route leads to, which in these tests tells the entry; None without a route."""
    route = asyncio.run(table.lookup(ForwardPath.parse(address)))
    return route.hosts[0].port if route else None


def loaded(table):
    """Wait for the thread that reads a large table."""
    for thread in threading.enumerate():
        if thread.name == f"table {table.path}":
            thread.join(30)


ORDER = """
joe@a.example.org  m:1
a.example.org      m:2
.example.org       m:3
.org               m:4
example.org        m:5
"j d"@example.org  m:6
[192.0.2.1]        m:7
"""


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("joe@a.example.org", 1),
        ('"joe"@A.EXAMPLE.ORG', 1),
        ("Joe@a.example.org", 2),
        ("jane@a.example.org", 2),
        ("joe@b.example.org", 3),
        ("joe@b.a.example.org", 3),
        ("joe@other.org", 4),
        ("joe@example.org", 5),
        ('"j d"@example.org', 6),
        (r'"j\ d"@example.org', 6),
        ("joe@[192.0.2.1]", 7),
        ("joe@[192.0.2.2]", None),
        ("joe@example.net", None),
        ("joe@org", None),
    ],
)
def test_the_most_specific_entry_wins(source, address, port):
    source.write(ORDER)
    assert ask(FileTable(source.path), address) == port


def test_the_star_takes_what_nobody_else_takes(source):
    source.write(ORDER + "* m:99\n")
    table = FileTable(source.path)
    assert ask(table, "joe@example.net") == 99
    assert ask(table, "postmaster") == 99
    assert ask(table, "joe@example.org") == 5


def test_a_match_names_its_entry(source):
    source.write(ORDER)
    table = FileTable(source.path)
    assert table.match(ForwardPath.parse("joe@b.Example.org")) == (".example.org", Route((Host("m", 3),)))
    assert table.match(ForwardPath.parse("joe@example.net")) is None
    assert str(table) == str(source.path)


def test_mode_and_destinations_come_from_the_configuration(source):
    alpha = Route((Host("alpha", 1),), Mode.FAILOVER, "alpha")
    source.write("a.org m:2\nb.org alpha\n")
    table = FileTable(source.path, Mode.BALANCE, {"alpha": alpha})
    assert asyncio.run(table.lookup(ForwardPath.parse("x@a.org"))).mode is Mode.BALANCE
    assert asyncio.run(table.lookup(ForwardPath.parse("x@b.org"))) is alpha


def test_an_empty_table_knows_nobody(source):
    source.write("")
    assert ask(FileTable(source.path), "joe@example.org") is None


def test_a_missing_table_is_a_mistake_at_the_start(source):
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        FileTable(source.path)


def test_a_directory_is_no_table(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        FileTable(tmp_path)


def test_all_mistakes_are_told_at_the_start(source):
    source.write("a.org\nb..org m:25\n")
    with pytest.raises(ConfigError) as caught:
        FileTable(source.path)
    assert [problem.line for problem in caught.value.problems] == [1, 2]


# Following the file


@pytest.mark.parametrize("inline", [True, False])
def test_a_change_takes_effect_at_the_next_refresh(source, inline, monkeypatch, logged):
    if not inline:
        monkeypatch.setattr(module, "INLINE_OCTETS", 0)
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    source.write("a.org m:2\nb.org m:3\n")
    assert ask(table, "x@a.org") == 1
    table.refresh()
    loaded(table)
    assert (ask(table, "x@a.org"), ask(table, "x@b.org")) == (2, 3)
    assert [(event["event"], event["entries"]) for event in logged] == [("table_loaded", 2)]


def test_a_file_that_took_the_place_of_the_old_one_is_read(source, tmp_path):
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    other = tmp_path / "new"
    other.write_text("a.org m:2\n")
    os.utime(other, (source.time, source.time))  # same time and size: only the inode differs
    other.replace(source.path)
    table.refresh()
    assert ask(table, "x@a.org") == 2


def test_an_unchanged_file_is_not_read_again(source, monkeypatch):
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    monkeypatch.setattr(module, "read_table", lambda *arguments: pytest.fail("read again"))
    table.refresh()


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("broken", ["a.org m:x\n", b"\xff\xfe", "a.org m:1\na.org m:2\n"])
def test_a_broken_new_version_leaves_the_old_one_in_use_and_is_told_once(source, broken, inline, monkeypatch, logged):
    if not inline:
        monkeypatch.setattr(module, "INLINE_OCTETS", 0)
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    source.write(broken)
    for _ in range(3):
        table.refresh()
        loaded(table)
    assert ask(table, "x@a.org") == 1
    (event,) = logged
    assert (event["event"], event["mistakes"], event["log_level"]) == ("table_kept", 1, "error")
    assert event["problems"][0].startswith(f"{source.path}:")
    source.write("a.org m:2\n")
    table.refresh()
    loaded(table)
    assert ask(table, "x@a.org") == 2


def test_another_broken_version_is_told_again(source, logged):
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    for broken in ("a.org m:x\n", "a.org m:y\n"):
        source.write(broken)
        table.refresh()
    assert [event["event"] for event in logged] == ["table_kept", "table_kept"]


def test_the_same_mistake_is_told_again_after_it_was_mended(source, logged):
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    for version in ("a.org m:x\n", "a.org m:2\n", "a.org m:x\n"):
        source.write(version)
        table.refresh()
    assert [event["event"] for event in logged] == ["table_kept", "table_loaded", "table_kept"]


def test_a_vanished_file_leaves_the_table_in_use_and_is_told_once(source, logged):
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    source.path.unlink()
    for _ in range(3):
        table.refresh()
    assert ask(table, "x@a.org") == 1
    assert [event["event"] for event in logged] == ["table_kept"]
    source.write("a.org m:2\n")
    table.refresh()
    assert ask(table, "x@a.org") == 2


def test_a_file_that_cannot_be_opened_is_tried_every_time_and_told_once(source, logged):
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    source.path.unlink()
    source.path.mkdir()
    os.utime(source.path, (5, 5))
    for _ in range(3):
        table.refresh()
    assert ask(table, "x@a.org") == 1
    assert [event["event"] for event in logged] == ["table_kept"]


def test_a_file_in_the_writing_is_left_until_it_has_rested(source, monkeypatch):
    source.write("a.org m:1\nb.org m:1\n")
    table = FileTable(source.path)
    source.path.write_text("a.org m:2\n")
    modified = source.path.stat().st_mtime
    monkeypatch.setattr(module.time, "time", lambda: modified + RESTED_SECONDS / 2)
    table.refresh()
    assert (ask(table, "x@a.org"), ask(table, "x@b.org")) == (1, 1)
    monkeypatch.setattr(module.time, "time", lambda: modified + RESTED_SECONDS * 2)
    table.refresh()
    assert (ask(table, "x@a.org"), ask(table, "x@b.org")) == (2, None)


def test_a_file_from_the_future_is_read(source):
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    source.path.write_text("a.org m:2\n")
    os.utime(source.path, (2**32, 2**32))
    table.refresh()
    assert ask(table, "x@a.org") == 2


@pytest.mark.parametrize("half", ["a.org m:3\n", "a.org m:x\n"])
def test_a_file_that_changes_while_it_is_read_is_not_used_but_read_again(source, half, monkeypatch, logged):
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    source.write(half)
    read_table = module.read_table

    def read_while_written(lines, *arguments):
        result = read_table(lines, *arguments)
        source.write("a.org m:2\n")
        return result

    monkeypatch.setattr(module, "read_table", read_while_written)
    table.refresh()
    assert ask(table, "x@a.org") == 1
    monkeypatch.setattr(module, "read_table", read_table)
    table.refresh()
    assert ask(table, "x@a.org") == 2
    assert [event["event"] for event in logged] == ["table_loaded"]


class Gate:
    """Holds the reading thread at its first nap until it is opened."""

    def __init__(self, monkeypatch):
        self.reached = threading.Event()
        self.opened = threading.Event()
        monkeypatch.setattr(module, "INLINE_OCTETS", 0)
        monkeypatch.setattr(module.time, "sleep", self.wait)

    def wait(self, seconds):
        self.reached.set()
        self.opened.wait(30)


def test_a_large_table_is_read_beside_the_mail_and_by_one_thread_only(source, monkeypatch):
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    gate = Gate(monkeypatch)
    source.write("a.org m:2\n")
    table.refresh()
    assert gate.reached.wait(30)
    table.refresh()
    assert sum(thread.name == f"table {source.path}" for thread in threading.enumerate()) == 1
    assert ask(table, "x@a.org") == 1
    gate.opened.set()
    loaded(table)
    assert ask(table, "x@a.org") == 2


def test_a_closed_table_takes_no_newer_version(source, monkeypatch, logged):
    source.write("a.org m:1\n")
    table = FileTable(source.path)
    gate = Gate(monkeypatch)
    source.write("a.org m:2\n")
    table.refresh()
    table.close()
    gate.opened.set()
    loaded(table)
    assert ask(table, "x@a.org") == 1
    assert not logged


# Properties

LABEL = st.sampled_from(["a", "B", "c-d"])
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
ADDRESS = st.builds("{}@{}".format, st.sampled_from(["joe", "Joe", '"joe"', '"j d"']), DOMAIN)
KEY = st.one_of(DOMAIN, DOMAIN.map(".{}".format), ADDRESS, st.just("*"))


def reference(keys, address):
    """The rule in words, without any cleverness: the entries that match, and of these the most specific."""
    path = ForwardPath.parse(address)
    best, rank = None, (-1, 0)
    for number, key in enumerate(keys, 1):
        if "@" in key:
            fits, specific = ForwardPath.parse(key) == path, (3, 0)
        elif key == "*":
            fits, specific = True, (0, 0)
        elif key.startswith("."):
            fits, specific = path.domain.endswith(key.lower()), (1, len(key))
        else:
            fits, specific = path.domain == key.lower(), (2, 0)
        if fits and specific > rank:
            best, rank = number, specific
    return best


@given(
    st.lists(KEY, unique_by=lambda key: ForwardPath.parse(key).key if "@" in key else key.lower(), max_size=20),
    st.lists(ADDRESS, min_size=1, max_size=10),
)
def test_lookups_agree_with_a_naive_reference(tmp_path_factory, keys, addresses):
    path = tmp_path_factory.getbasetemp() / "reference.db"
    path.write_text("".join(f"{key} m:{number}\n" for number, key in enumerate(keys, 1)))
    table = FileTable(path)
    for address in addresses:
        assert ask(table, address) == reference(keys, address)


def mistakes(path):
    """What is wrong with the table; None if nothing is."""
    try:
        FileTable(path)
    except ConfigError as error:
        return error.problems
    return None


@given(st.text() | st.binary())
def test_any_text_is_a_table_or_a_list_of_mistakes(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.db"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    assert mistakes(path) != []


def test_the_different_routes_of_a_table_can_be_listed_up_to_a_bound(source):
    source.write("one.test a.test:25\ntwo.test a.test:25\nthree.test b.test:25\n")
    table = FileTable(source.path)
    assert [str(route.hosts[0]) for route in table.routes] == ["a.test:25", "b.test:25"]
    source.write("".join(f"d{number}.test h{number}.test\n" for number in range(module.ROUTES_LISTED + 9)))
    table.refresh()
    assert len(table.routes) == module.ROUTES_LISTED
