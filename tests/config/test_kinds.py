"""Kinds of other packages: found by their entry points, imported only when named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from moxy.config import kinds
from moxy.config.load import loads
from moxy.errors import ConfigError, MoxyError

MODULE = """
from moxy.config.types import File, Section
from moxy.errors import MoxyError

class Table:
    class Settings(Section):
        path: File
        size: int = 1

    def __init__(self, settings):
        if settings.size == 2:
            raise RuntimeError("size 2")
        if settings.size == 3:
            raise MoxyError("in words")
        self.settings = settings

class Clay(Table):
    class Settings(Section):
        def model_post_init(self, context):
            raise TypeError("no such thing")

class Log(Table):
    def __init__(self, settings, later):
        super().__init__(settings)
        self.later = later

no_class = 1
"""
ENTRY_POINTS = """
[moxy.routes]
wood = a_package_of_others:Table
file = a_package_of_others:Table
stone = a_package_of_others:no_class
clay = a_package_of_others:Clay
air = a_package_of_others:missing
[moxy.logs]
paper = a_package_of_others:Log
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    (tmp_path / "a_package_of_others.py").write_text(MODULE)
    information = tmp_path / "a_package_of_others-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: a-package-of-others\nVersion: 1\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    kinds._entry_points.cache_clear()
    yield
    kinds._entry_points.cache_clear()
    sys.modules.pop("a_package_of_others", None)


def config(text):
    return loads(text, "/etc/moxy/moxy.toml", "toml")


def problems(text):
    with pytest.raises(ConfigError) as raised:
        config(text)
    return [str(problem).removeprefix("/etc/moxy/moxy.toml:") for problem in raised.value.problems]


def test_a_section_of_a_foreign_kind_is_checked_and_kept():
    section = config('[routes.a]\nkind = "wood"\npath = "x"\n').routes["a"]
    assert isinstance(section, kinds.Foreign)
    assert section.settings.path == Path("/etc/moxy/x")
    assert section.made().settings is section.settings


def test_a_log_is_given_what_does_things_later():
    section = config('[log.a]\nkind = "paper"\npath = "x"\n').log["a"]
    assert section.made(print).later is print


def test_a_package_is_imported_only_if_it_is_named():
    config('[routes.a]\nkind = "file"\npath = "x"\n')
    assert kinds.installed("routes") == ["air", "clay", "file", "stone", "wood"]
    assert "a_package_of_others" not in sys.modules


def test_our_own_kinds_cannot_be_replaced():
    assert not isinstance(config('[routes.a]\nkind = "file"\npath = "x"\n').routes["a"], kinds.Foreign)


KINDS = "`file`, `dbm`, `nodb`, `air`, `clay`, `stone` or `wood`"
WOD = f"2: routes.a.kind: expected {KINDS}, not `wod`; did you mean `wood`?"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('kind = "wood"', "1: routes.a.path: is missing, and has no default"),
        ('kind = "wood"\npath = "x"\nsize = "1"', "4: routes.a.size: expected a whole number, not `1`"),
        ('kind = "wood"\npath = "x"\nsice = 1', "4: routes.a.sice: unknown key `sice`; did you mean `size`?"),
        ('kind = "wod"', WOD),
        ('kind = "clay"', "2: routes.a.kind: `clay` cannot be used: TypeError: no such thing"),
        ('kind = "stone"', "2: routes.a.kind: `stone` cannot be used: a_package_of_others:no_class has no `Settings`"),
    ],
)  # fmt: skip
def test_mistakes_are_told_like_those_of_our_own(keys, told):
    assert problems(f"[routes.a]\n{keys}\n") == [told]


def test_what_cannot_be_imported_is_told():
    (problem,) = problems('[routes.a]\nkind = "air"\n')
    assert problem.startswith("2: routes.a.kind: `air` cannot be loaded from a_package_of_others:missing: ")


def test_mistakes_of_foreign_and_own_sections_are_told_together():
    found = problems('[routes.a]\nkind = "wood"\n[routes.b]\nkind = "file"\n[limits]\nhops = 0\n')
    assert [problem.split(":")[1] for problem in found] == [" routes.a.path", " routes.b.path", " limits.hops"]


def test_whatever_its_making_raises_has_words():
    with pytest.raises(MoxyError, match="`wood` cannot be used: RuntimeError: size 2"):
        config('[routes.a]\nkind = "wood"\npath = "x"\nsize = 2\n').routes["a"].made()
    with pytest.raises(MoxyError, match=r"^in words$"):
        config('[routes.a]\nkind = "wood"\npath = "x"\nsize = 3\n').routes["a"].made()


def test_settings_are_read_with_their_surroundings():
    assert list(kinds.settings_of("routes", "wood").model_fields) == ["path", "size"]
    with pytest.raises(ValidationError):
        kinds.read("routes", "wood", {"size": 1}, None)
