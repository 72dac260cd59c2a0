"""What is written reads back the same, the bound holds, and trouble of any kind leaves all or nothing."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moxy.ledger import State
from moxy.ledger.database import Damaged, LedgerError, opened
from moxy.ledger.store import Store, Wanted
from support.ledgers import NOW, RECIPIENT, SENDER, entry, program


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def store(path):
    store = Store(path, 1000)
    yield store
    store.close()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
entries = st.builds(
    entry,
    texts,
    st.sampled_from(State),
    destination=texts,
    host=texts,
    reverse_path=texts,
    digest=st.binary(min_size=32, max_size=32),
    size=st.integers(0, 2**63 - 1),
    apart=st.booleans(),
    client=texts,
    hello=texts,
    time=st.floats(0, 1e12),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(entries, max_size=5))
def test_what_was_written_reads_back_the_same(written):
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "ledger.db", 1000)
        store.change(written)
        expected = {entry.key: entry for entry in written}
        assert {entry.key: entry for entry in store.select(Wanted())} == expected
        for one in written:
            about = [known for known in expected.values() if known.open and known.key[1:3] == one.key[1:3]]
            assert sorted(store.recall(one.reverse_path, one.forward_path), key=repr) == sorted(about, key=repr)
        store.close()


class Machine(RuleBasedStateMachine):
    """A store, and a dictionary that says what must be in it. Two processes would be two stores: so here are two."""

    LIMIT = 40

    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name) / "ledger.db"
        self.stores = [Store(path, self.LIMIT), Store(path, self.LIMIT)]
        self.model = {}

    @rule(which=st.integers(0, 1), names=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=6))
    def write(self, which, names):
        written = [entry(f"{name}@x.test", digest=digest, host=str(len(self.model))) for name, digest in names]
        self.stores[which].change(written)
        for one in written:
            self.model.pop(one.key, None)
            self.model[one.key] = one

    @rule(which=st.integers(0, 1), name=st.sampled_from("abc"), digest=st.integers(0, 3))
    def confirm(self, which, name, digest):
        key = entry(f"{name}@x.test", digest=digest).key
        self.stores[which].change([key])
        if key in self.model:
            self.model[key] = replace(self.model[key], state=State.CONFIRMED)

    @rule(which=st.integers(0, 1), name=st.sampled_from("abc"))
    def forget(self, which, name):
        gone = [key for key in self.model if key[2] == f"{name}@x.test"]
        assert self.stores[which].forget(Wanted(recipient=f"{name.upper()}@x.test")) == len(gone)
        for key in gone:
            del self.model[key]

    @rule(which=st.integers(0, 1))
    def tidy(self, which):
        self.stores[which].tidy()
        self.stores[which].check()

    @rule(which=st.integers(0, 1))
    @precondition(lambda self: self.model)
    def come_back(self, which):
        path = self.stores[which].path
        self.stores[which].close()
        self.stores[which] = Store(path, self.LIMIT)

    @invariant()
    def both_have_what_must_be_there(self):
        for store in self.stores:
            assert store.select(Wanted()) == list(self.model.values())
            for name in "abc":
                known = [one for one in self.model.values() if one.open and one.forward_path == f"{name}@x.test"]
                assert sorted(store.recall(SENDER, f"{name}@x.test"), key=repr) == sorted(known, key=repr)

    def teardown(self):
        for store in self.stores:
            store.close()
        self.directory.cleanup()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_entries_are_chosen_by_what_is_given(store):
    store.change(
        [
            entry("bob@one.test"),
            entry("eve@two.test", destination="two"),
            entry("eve@two.test", destination="two", reverse_path="", digest=2),
            entry("bob@one.test", State.CONFIRMED, digest=3),
        ]
    )

    def count(**wanted):
        return len(store.select(Wanted(**wanted)))

    assert count() == 4
    assert count(recipient="bob@one.test") == 2
    assert count(recipient="BOB@One.test") == 2
    assert count(sender="") == 1
    assert count(destination="two") == 2
    assert count(only_open=True) == 3
    assert count(recipient="bob@one.test", only_open=True) == 1
    assert count(destination="two", sender=SENDER, recipient="eve@two.test") == 1
    assert store.forget(Wanted(destination="two", sender="")) == 1
    assert store.forget(Wanted()) == 3


def test_a_recall_is_about_one_pair_and_what_is_open(store):
    there = [entry(), entry(digest=2, state=State.UNKNOWN), entry(digest=3, state=State.UNDELIVERED)]
    others = [entry("eve@one.test"), entry(reverse_path=""), entry(digest=4, state=State.CONFIRMED)]
    store.change(there + others)
    assert sorted(store.recall(SENDER, RECIPIENT), key=repr) == sorted(there, key=repr)


def test_newer_entries_are_those_written_since(store):
    store.change([entry(digest=1), entry(digest=2)])
    first, second = store.newer(0, 10)
    assert store.newer(0, 1) == [first]
    assert store.newer(first[0], 10) == [second]
    assert store.newer(second[0], 10) == []
    store.change([entry(digest=1)])
    ((_, *pair, matters),) = store.newer(second[0], 10)
    assert (pair, matters) == ([SENDER, RECIPIENT], 1)


def test_a_place_in_the_order_is_never_given_twice(path, store):
    store.change([entry(digest=1), entry(digest=2)])
    last = store.newer(0, 10)[-1][0]
    store.forget(Wanted())
    store.close()
    again = Store(path, 1000)
    again.change([entry(digest=3)])
    assert [row[0] for row in again.newer(last, 10)] == [last + 1]
    again.close()


def test_what_is_too_old_goes(store):
    store.change([entry(digest=1, time=NOW - 10), entry(digest=2, time=NOW), entry(digest=3, time=NOW + 10)])
    store.expire(NOW)
    assert [one.time for one in store.select(Wanted())] == [NOW, NOW + 10]


@pytest.mark.parametrize("limit", [1, 2, 15, 16, 100])
@pytest.mark.parametrize("at_once", [1, 7])
def test_there_are_never_more_than_the_bound_and_the_oldest_go(path, limit, at_once):
    stores = [Store(path, limit), Store(path, limit)]
    for number in range(0, 3 * limit + 20, at_once):
        stores[number % 2].change([entry(digest=number + offset) for offset in range(at_once)])
        digests = [int.from_bytes(one.digest) for one in stores[0].select(Wanted())]
        assert len(digests) <= limit
        newest = number + at_once - 1
        kept = min(newest + 1, limit - limit // 16)
        assert digests[-kept:] == list(range(newest - kept + 1, newest + 1))
    for store in stores:
        store.close()


def test_a_change_is_made_as_a_whole_or_not_at_all(store):
    store.change([entry(digest=1)])
    with pytest.raises(OverflowError):
        store.change([entry(digest=2), entry(digest=1).key, entry(digest=3, size=2**63)])
    assert store.select(Wanted()) == [entry(digest=1)]
    store.change([entry(digest=2)])  # and it goes on
    assert len(store.select(Wanted())) == 2


@pytest.mark.parametrize(
    "column", ["state = 'eaten'", "digest = x'00'", "digest = 'text'", "host = x'ff'", "size = 'a'"]
)
def test_a_row_that_none_of_us_has_written_is_damage(path, column):
    store = Store(path, 1000)
    store.change([entry()])
    other = opened(path).connection
    other.execute(f"UPDATE entries SET {column}")
    other.close()
    with pytest.raises(Damaged, match="makes no sense"):
        store.select(Wanted())
    store.close()


def test_text_that_is_no_text_is_damage(path):
    store = Store(path, 1000)
    store.change([entry()])
    other = opened(path).connection
    other.execute("UPDATE entries SET reverse_path = CAST(x'ff' AS TEXT)")
    other.close()
    with pytest.raises(Damaged):
        store.newer(0, 10)
    store.close()


def test_one_that_was_set_aside_or_removed_has_moved(path):
    store = Store(path, 1000)
    assert not store.moved
    path.rename(path.with_name("other"))
    assert store.moved
    new = Store(path, 1000)
    assert store.moved
    assert not new.moved
    path.unlink()
    assert new.moved
    new.close()
    store.close()


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_one_without_what_belongs_to_it_is_damaged(path, suffix):
    store = Store(path, 1000)
    path.with_name(path.name + suffix).unlink()
    with pytest.raises(Damaged, match="is gone"):
        store.moved  # noqa: B018
    store.close()


def test_what_is_tidied_is_in_the_file_itself(path, store):
    store.change([entry(hello="a-name-to-be-found")])
    store.tidy()
    assert b"a-name-to-be-found" in path.read_bytes()


damages = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=200)), max_size=4)


@functools.cache
def image(which):
    """The files of a ledger: with everything in the file itself, or with everything still in the -wal."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.db"
        store = Store(path, 1000)
        store.change([entry(f"user{number}@one.test", digest=number) for number in range(60)])
        if not which:
            store.close()
        return {file.name: file.read_bytes() for file in path.parent.iterdir()}


@settings(max_examples=100, deadline=None)
@given(damages, st.one_of(st.none(), st.floats(0, 1)), st.sampled_from(["", "-wal"]))
def test_whatever_is_in_the_files_nothing_but_our_errors_comes_of_it(overwrites, length, which):
    files = image(which)
    octets = bytearray(files[f"ledger.db{which}"])
    for where, what in overwrites:
        place = int(where * len(octets))
        octets[place : place + len(what)] = what
    if length is not None:
        del octets[int(length * len(octets)) :]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.db"
        for file, content in (files | {f"ledger.db{which}": bytes(octets)}).items():
            (path.parent / file).write_bytes(content)
        with contextlib.suppress(LedgerError):
            use(Store(path, 1000))


def use(store):
    """All that can be done with it."""
    for work in (
        lambda: store.select(Wanted()),
        lambda: store.newer(0, 1000),
        lambda: store.recall(SENDER, "user7@one.test"),
        lambda: store.change([entry("user7@one.test", digest=7), entry(digest=99), entry(digest=98).key]),
        lambda: store.expire(NOW + 1),
        store.check,
        store.tidy,
        store.close,
    ):
        with contextlib.suppress(LedgerError):
            work()


FULL = """
import json, resource, sys
from pathlib import Path
from moxy.ledger.database import Damaged, LedgerError
from moxy.ledger.store import Store, Wanted
from support.ledgers import entry

store = Store(Path(sys.argv[1]), 10_000)
store.change([entry(digest=0)])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
wrong, kept = [], 1
for number in range(1, 300):
    try:
        store.change([entry(digest=number)])
        kept += 1
    except LedgerError as error:
        wrong.append(type(error).__name__)
there = len(store.select(Wanted()))
try:
    store.tidy()
except LedgerError as error:
    wrong.append(type(error).__name__)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
again = Store(Path(sys.argv[1]), 10_000)
again.check()
again.change([entry(digest=999)])
print(json.dumps([sorted(set(wrong)), len(wrong), kept, there, len(again.select(Wanted()))]))
"""


@pytest.mark.parametrize("room", [40_000, 100_000])
def test_a_full_disk_is_trouble_and_no_damage_and_nothing_is_lost_but_what_found_no_room(path, room):
    process = program(FULL, path, room)
    told, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints.decode()
    wrong, times, kept, there, later = json.loads(told)
    assert wrong == ["LedgerError"]
    assert times > 10
    assert there == kept
    assert later == kept + 1


def test_a_file_of_long_ago_is_read_on_and_on(path):
    """Opened and closed again and again, as by one worker after the other."""
    for number in range(20):
        store = Store(path, 1000)
        store.change([entry(digest=number)])
        store.close()
    assert list(path.parent.iterdir()) == [path]
    store = Store(path, 1000, make=False, readonly=True)
    assert len(store.select(Wanted())) == 20
    with pytest.raises(LedgerError):
        store.change([entry(digest=99)])
    store.close()
