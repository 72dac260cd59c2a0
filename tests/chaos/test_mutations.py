"""The test of the proof: Moxy broken on purpose, and each mistake found."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest

from chaos.mutations import ALL, MUTATIONS, Mutation
from chaos.run import expanded, find, play_all
from support.scenario import scenario


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mistake_is_found(mutation: Mutation) -> None:
    assert mutation.found_as & set(find(mutation).faults)


@scenario
async def test_the_same_scenarios_find_nothing_where_there_is_no_mistake() -> None:
    scenarios = await expanded(ALL)
    result = await play_all(scenarios, max(len(one.scripts) for one in scenarios))
    assert not result.faults, result.first


def test_a_mutation_of_what_is_there_no_more_is_told() -> None:
    lost = replace(MUTATIONS[0], seam="inbound.commit:in_vain")
    with (
        pytest.raises(LookupError, match=r"a mutation has lost its seam: there is no moxy\.inbound\.commit:in_vain"),
        lost.applied(),
    ):
        pass


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_undone(mutation: Mutation) -> None:
    module, _, path = mutation.seam.partition(":")
    with mutation.applied():
        wrong = _at(module, path)
    assert _at(module, path) is not wrong


def _at(module: str, path: str) -> object:
    found: object = import_module(f"moxy.{module}")
    for part in path.split("."):
        found = vars(found)[part]
    return found
