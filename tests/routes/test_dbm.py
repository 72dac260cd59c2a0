"""DbmTable: what it answers, and what it does while others change its file."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from moxy.errors import ConfigError, TemporaryFailure
from moxy.gdbm import Access, GdbmFile, Locked
from moxy.gdbm import library as libgdbm
from moxy.mail.route import Host, Mode, Route
from moxy.routes import dbm as module
from moxy.routes.compiled import stored_value, write_table
from moxy.routes.dbm import DbmTable, entry_problems
from moxy.routes.file import FileTable
from moxy.routes.order import normal_key
from moxy.routes.tabletext import read_entries
from moxy.smtp.address import ForwardPath
from support.gdbmtool import Holder, gdbmtool, store

ALPHA = Route((Host("alpha", 1),), Mode.FAILOVER, "alpha")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "moxy.gdbm"


@pytest.fixture
def logged() -> Iterator[list]:
    with capture_logs() as events:
        yield events


def made(path: Path, entries: dict[str, str]) -> DbmTable:
    write_table(path, entries.items())
    return DbmTable(path)


def ask(table: DbmTable, address: str) -> int | None:
    """The port that the route leads to, which in these tests tells the entry; None without a route."""
    route = asyncio.run(table.lookup(ForwardPath.parse(address)))
    return route.hosts[0].port if route else None


ORDER = {
    "joe@a.example.org": "m:1",
    "a.example.org": "m:2",
    ".example.org": "m:3",
    ".org": "m:4",
    "example.org": "m:5",
    '"j d"@example.org': "m:6",
    "[192.0.2.1]": "m:7",
}


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("joe@a.example.org", 1),
        ('"joe"@A.EXAMPLE.ORG', 1),
        ("Joe@a.example.org", 2),
        ("joe@b.example.org", 3),
        ("joe@other.org", 4),
        ("joe@example.org", 5),
        (r'"j\ d"@example.org', 6),
        ("joe@[192.0.2.1]", 7),
        ("joe@[192.0.2.2]", None),
        ("joe@example.net", None),
    ],
)
def test_the_most_specific_entry_wins(path: Path, address: str, port: int | None) -> None:
    assert ask(made(path, ORDER), address) == port


def test_the_star_takes_what_nobody_else_takes(path: Path) -> None:
    table = made(path, ORDER | {"*": "m:99"})
    assert [ask(table, address) for address in ("joe@example.net", "postmaster", "joe@example.org")] == [99, 99, 5]


def test_a_match_names_its_entry(path: Path) -> None:
    table = made(path, ORDER)
    assert table.match(ForwardPath.parse("joe@b.Example.org")) == (".example.org", Route((Host("m", 3),)))
    assert table.match(ForwardPath.parse("joe@example.net")) is None
    assert str(table) == str(path)


def test_mode_and_destinations_come_from_the_configuration(path: Path) -> None:
    made(path, {"a.org": "m:2, [::1]", "b.org": "alpha"})
    table = DbmTable(path, Mode.BALANCE, {"alpha": ALPHA})
    expected = Route((Host("m", 2), Host("::1", 25)), Mode.BALANCE)
    assert asyncio.run(table.lookup(ForwardPath.parse("x@a.org"))) == expected
    assert asyncio.run(table.lookup(ForwardPath.parse("x@b.org"))) is ALPHA


def test_equal_values_share_one_route_and_few_are_remembered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VALUES_REMEMBERED", 2)
    table = made(path, {"a.org": "m:1", "b.org": "m:1", "c.org": "m:2", "d.org": "m:3"})
    a, b = (asyncio.run(table.lookup(ForwardPath.parse(f"x@{domain}"))) for domain in ("a.org", "b.org"))
    assert a is b
    assert [ask(table, f"x@{domain}") for domain in ("c.org", "d.org", "a.org")] == [2, 3, 1]


@pytest.mark.parametrize("nul", [False, True])
def test_files_of_other_programs_are_understood(path: Path, nul: bool) -> None:
    store(path, ORDER, nul=nul)
    table = DbmTable(path)
    assert [ask(table, f"joe@{domain}") for domain in ("a.example.org", "b.example.org", "example.net")] == [1, 3, None]
    assert ask(table, '"j d"@example.org') == 6


def test_an_empty_table_knows_nobody(path: Path) -> None:
    assert ask(made(path, {}), "joe@example.org") is None


# The start


HINT = "(moxymakedbm makes one of a text; the text itself is `file`)"


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", f"no gdbm file, or a damaged one: Empty database {HINT}"),
        (b"example.org m:25\n" * 99, f"no gdbm file, or a damaged one: Bad magic number {HINT}"),
    ],
)
def test_what_cannot_be_used_is_a_mistake_at_the_start(path: Path, octets: bytes | None, told: str) -> None:
    if octets is not None:
        path.write_bytes(octets)
    with pytest.raises(ConfigError) as caught:
        DbmTable(path)
    assert str(caught.value) == f"{path}: {told}"


def test_a_missing_library_is_a_mistake_at_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(path, {})
    monkeypatch.setattr(libgdbm, "NAME", "libgdbm-that-is-nowhere.so.6")
    libgdbm.library.cache_clear()
    with pytest.raises(ConfigError, match="apt-get install libgdbm6"):
        DbmTable(path)
    libgdbm.library.cache_clear()


def test_a_writer_does_not_keep_moxy_from_starting(path: Path) -> None:
    made(path, {"a.org": "m:1"})
    with Holder(path):
        table = DbmTable(path)
    assert ask(table, "x@a.org") == 1


def test_nothing_is_open_before_the_first_lookup_and_after_the_last(path: Path) -> None:
    def held() -> list[str]:
        descriptors = [str(descriptor) for descriptor in Path("/proc/self/fd").iterdir()]
        return [name for name in descriptors if os.path.lexists(name) and os.path.realpath(name) == str(path)]

    table = made(path, {"a.org": "m:1"})
    assert held() == []
    ask(table, "x@a.org")
    assert len(held()) == 1
    table.close()
    assert held() == []


# While others change the file


def test_every_change_counts_for_the_very_next_lookup(path: Path) -> None:
    table = made(path, {"a.org": "m:1", "b.org": "m:1"})
    for port in range(2, 12):
        store(path, {"a.org": f"m:{port}"})
        assert ask(table, "x@a.org") == port
    gdbmtool(path, 'delete "a.org"', 'store "c.org" "m:3"')
    assert [ask(table, f"x@{domain}") for domain in ("a.org", "b.org", "c.org")] == [None, 1, 3]


def test_a_change_that_leaves_no_trace_in_the_files_times_counts(path: Path) -> None:
    table = made(path, {"a.org": "m:1"})
    status = path.stat()
    assert ask(table, "x@a.org") == 1
    store(path, {"a.org": "m:2"})
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert ask(table, "x@a.org") == 2


def test_a_file_that_took_the_place_of_the_old_one_counts(path: Path) -> None:
    table = made(path, {"a.org": "m:1"})
    for port in range(2, 5):
        write_table(path, [("a.org", f"m:{port}")])
        assert ask(table, "x@a.org") == port


def test_others_may_write_whenever_no_lookup_is_going_on(path: Path) -> None:
    table = made(path, {"a.org": "m:1"})
    ask(table, "x@a.org")
    GdbmFile(path, Access.WRITE).close()


def test_a_lookup_waits_for_a_writer(path: Path) -> None:
    table = made(path, {"a.org": "m:1"})

    async def scenario(writer: Holder) -> Route | None:
        lookup = asyncio.create_task(table.lookup(ForwardPath.parse("x@a.org")))
        await asyncio.sleep(0)
        assert not lookup.done()
        writer.run('store "a.org" "m:2"')
        writer.release()
        return await lookup

    with Holder(path) as writer:
        with pytest.raises(Locked):
            table.match(ForwardPath.parse("x@a.org"))
        assert asyncio.run(scenario(writer)) == Route((Host("m", 2),))


def test_a_writer_that_does_not_end_is_not_knowing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCKED_SECONDS", 0.01)
    table = made(path, {"a.org": "m:1"})
    with Holder(path), pytest.raises(TemporaryFailure, match="another process holds it"):
        ask(table, "x@b.org")


def test_a_table_that_is_replaced_all_the_time_is_always_whole(path: Path) -> None:
    """Old or new, and never half: each version has both domains, at one port."""
    table = made(path, {"a.org": "m:1", "b.org": "m:1"})
    enough = threading.Event()

    def replace() -> None:
        port = 1
        while not enough.is_set():
            port = port % 60000 + 1
            write_table(
                path, [("b.org", f"m:{port}"), *[(f"{number}.org", "m:1") for number in range(50)], ("a.org", "m:1")]
            )

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        ports = {ask(table, "x@b.org") for _ in range(300)}
        assert all(ask(table, "x@a.org") == 1 for _ in range(300))
    finally:
        enough.set()
        writer.join()
    assert None not in ports
    assert len(ports) > 1


# What cannot be used


def test_a_vanished_file_leaves_the_last_one_in_use_and_is_told_once(path: Path, logged: list) -> None:
    table = made(path, {"a.org": "m:1"})
    ask(table, "x@a.org")
    path.unlink()
    assert [ask(table, "x@a.org") for _ in range(3)] == [1, 1, 1]
    assert ask(table, "x@b.org") is None
    assert [(event["event"], event["file"], event["problems"], event["log_level"]) for event in logged] == [
        ("table_kept", str(path), ["cannot be read: No such file or directory"], "error")
    ]
    write_table(path, [("a.org", "m:2")])
    assert ask(table, "x@a.org") == 2
    path.unlink()
    assert ask(table, "x@a.org") == 2
    assert len(logged) == 2


def test_a_damaged_new_file_leaves_the_last_one_in_use(path: Path, tmp_path: Path, logged: list) -> None:
    table = made(path, {"a.org": "m:1"})
    ask(table, "x@a.org")
    (tmp_path / "new").write_text("a.org m:2\n")
    (tmp_path / "new").rename(path)
    assert [ask(table, "x@a.org") for _ in range(3)] == [1, 1, 1]
    assert [event["problems"] for event in logged] == [["no gdbm file, or a damaged one: Unexpected end of file"]]


def test_damage_in_place_is_not_knowing(path: Path) -> None:
    table = made(path, {"a.org": "m:1"})
    ask(table, "x@a.org")
    os.truncate(path, 5000)
    with pytest.raises(TemporaryFailure, match="a damaged one"):
        ask(table, "x@a.org")


def test_a_damaged_bucket_is_not_knowing(path: Path) -> None:
    table = made(path, {f"d{number}.org": "m:1" for number in range(1000)})
    path.write_bytes(path.read_bytes()[:12288] + bytes(range(256)) * 1000)
    with pytest.raises(TemporaryFailure, match="damaged"):
        _ = [ask(table, f"x@d{number}.org") for number in range(1000)]


def test_a_file_that_vanished_before_the_first_lookup_is_not_knowing(path: Path) -> None:
    table = made(path, {"a.org": "m:1"})
    path.unlink()
    with pytest.raises(TemporaryFailure, match="No such file"):
        ask(table, "x@a.org")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"m:x", "bad port `x`: expected a number from 1 to 65535"),
        (b"", "expected host:port, or several with commas between"),
        (b"\xff", "expected UTF-8"),
        (b"\x1b[2J", "expected a host name"),
    ],
)
def test_a_value_that_is_none_is_not_knowing_and_names_its_key(path: Path, value: bytes, told: str) -> None:
    table = made(path, {"a.org": "m:1"})
    with GdbmFile(path, Access.WRITE) as file:
        file.store(b"b.org", value)
    with pytest.raises(TemporaryFailure) as caught:
        ask(table, "x@b.org")
    assert str(caught.value).startswith(f"{path}: b.org: ")
    assert told in str(caught.value)
    assert str(caught.value).isprintable()
    assert ask(table, "x@a.org") == 1


# moxy check


def problems(path: Path, **options: object) -> list[str]:
    return [str(problem).removeprefix(f"{path}: ") for problem in entry_problems(path, **options)]


def test_a_right_file_has_no_problems(path: Path) -> None:
    made(path, ORDER | {"*": "alpha"})
    assert problems(path, destinations={"alpha": ALPHA}) == []


def test_every_wrong_entry_is_told(path: Path) -> None:
    made(path, {"A.org": "m:1", "b.org": "m:x", "c..org": "m:1", "alpha.org": "alhpa", '"j"@d.org': "m:1"})
    with GdbmFile(path, Access.WRITE) as file:
        file.store(b"\xff", b"m:1")
    assert sorted(problems(path, destinations={"alpha": ALPHA})) == [
        '"j"@d.org: is not found in this spelling: expected `j@d.org`',
        "A.org: is not found in this spelling: expected `a.org`",
        "alpha.org: no destination is called `alhpa`; did you mean `alpha`? (a host of that name needs a port)",
        "b.org: bad port `x`: expected a number from 1 to 65535",
        "c..org: expected a domain, `.domain`, user@domain or `*`",
        "\ufffd: expected UTF-8",
    ]


@pytest.mark.parametrize("nul", [False, True])
def test_keys_with_and_without_nul_in_one_file_are_told(path: Path, nul: bool) -> None:
    store(path, {f"{letter}.org": "m:1" for letter in "abcdefgh"}, nul=nul)
    assert problems(path) == []
    with GdbmFile(path, Access.READ) as file:
        first = file.first_key()
    assert first
    with GdbmFile(path, Access.WRITE) as file:
        file.store(b"z.org" if nul else b"z.org\0", b"m:1")
    assert any("some keys end in NUL and some do not" in problem for problem in problems(path))


def test_problems_are_told_up_to_a_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBLEMS_LIMIT", 3)
    made(path, {f"{number}.org": "m:x" for number in range(10)})
    assert len(problems(path)) == 4
    assert problems(path)[-1] == "too many mistakes, the rest was not read"


def test_a_file_that_cannot_be_read_is_one_problem(path: Path) -> None:
    assert problems(path) == ["cannot be read: No such file or directory"]
    path.write_text("a.org m:1")
    assert problems(path) == ["no gdbm file, or a damaged one: Unexpected end of file"]


# Properties

LABEL = st.sampled_from(["a", "B", "c-d", "ü", "xn--tda"])
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
ADDRESS = st.builds("{}@{}".format, st.sampled_from(["joe", "Joe", '"joe"', '"j d"', '"#1"']), DOMAIN)
KEY = st.one_of(DOMAIN, DOMAIN.map(".{}".format), ADDRESS, st.just("*"))


@given(
    st.lists(KEY, unique_by=normal_key, max_size=20),
    st.lists(ADDRESS, min_size=1, max_size=10),
)
def test_the_same_text_answers_alike_as_a_file_and_as_a_gdbm_file(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], addresses: list[str]
) -> None:
    text = tmp_path_factory.getbasetemp() / "alike.db"
    text.write_text("".join(f"{key} m:{number}, n\n" for number, key in enumerate(keys, 1)))
    entries, mistakes = read_entries(text.read_bytes().splitlines(), str(text), stored_value)
    assert not mistakes
    compiled = text.with_suffix(".gdbm")
    write_table(compiled, entries.items())
    file, dbm = FileTable(text), DbmTable(compiled)
    for address in addresses:
        path = ForwardPath.parse(address, utf8=True)
        assert file.match(path) == dbm.match(path)
    assert list(entry_problems(compiled)) == []
    dbm.close()
