"""The sections about where mail goes."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from moxy.config.routes import DbmRoutes, FileRoutes, NodbRoutes, Routes
from moxy.mail import Host, Mode, Route

SECTION = TypeAdapter(Routes)


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ({"kind": "file", "path": "/a"}, FileRoutes),
        ({"kind": "dbm", "path": "/a"}, DbmRoutes),
        ({"kind": "nodb", "hosts": ["a:1"]}, NodbRoutes),
    ],
)
def test_the_kind_chooses_the_keys(section, model):
    found = SECTION.validate_python(section)
    assert type(found) is model
    assert found.mode is Mode.ALL  # as in the original


def test_a_kind_has_only_its_own_keys():
    with pytest.raises(ValidationError):
        SECTION.validate_python({"kind": "dbm", "hosts": ["a:1"]})


def test_kinds_differ():
    kinds = [get_args(model.model_fields["kind"].annotation) for model in (FileRoutes, DbmRoutes, NodbRoutes)]
    assert len(set(kinds)) == 3


def test_one_route_for_everybody():
    assert NodbRoutes(kind="nodb", hosts=(Host("a", 1),)).route({}) == Route((Host("a", 1),), Mode.ALL)
