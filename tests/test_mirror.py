"""tests/ mirrors src/moxy file by file: who reads x/y.py finds its tests in x/test_y.py, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "moxy"

WITHOUT_A_TEST_OF_ITS_OWN = {"__init__.py", "__main__.py"}
"""Only names and the way in: their packages' tests go through them."""

ABOUT_THE_WHOLE = {
    "test_layers.py",
    "test_mirror.py",
    "test_pair.py",
    "test_skips.py",
    "test_dialogues.py",
    "test_promise.py",
    "test_contributing.py",
    "test_agreement.py",
    "test_original.py",
    "test_retries.py",
}
"""Tests that belong to no single file."""

BESIDE_THE_MIRROR = {"interop", "dialogues", "fuzz", "support", "chaos", "conformance"}
"""Directories of tests/ that mirror nothing."""


def expected(sources: Iterable[PurePath]) -> set[PurePath]:
    """The test files that these source files should have."""
    return {path.with_name(f"test_{path.name}") for path in sources if path.name not in WITHOUT_A_TEST_OF_ITS_OWN}


def mirrored(tests: Iterable[PurePath]) -> set[PurePath]:
    """Those of these test files that must each belong to a source file."""
    return {path for path in tests if path.parts[0] not in BESIDE_THE_MIRROR | ABOUT_THE_WHOLE}


def python_files(directory: Path, pattern: str) -> list[PurePath]:
    return [path.relative_to(directory) for path in directory.rglob(pattern)]


def test_every_source_file_has_its_test_file() -> None:
    missing = expected(python_files(SOURCE, "*.py")) - mirrored(python_files(TESTS, "test_*.py"))
    assert not missing, f"tests/ lacks {', '.join(sorted(map(str, missing)))}"


def test_every_test_file_has_its_source_file() -> None:
    orphans = mirrored(python_files(TESTS, "test_*.py")) - expected(python_files(SOURCE, "*.py"))
    assert not orphans, f"src/moxy has nothing for {', '.join(sorted(map(str, orphans)))}"


def test_a_missing_and_an_orphaned_test_file_are_found() -> None:
    sources = [PurePath("smtp/reply.py"), PurePath("smtp/__init__.py"), PurePath("errors.py")]
    tests = [PurePath("test_errors.py"), PurePath("smtp/test_replies.py"), PurePath("interop/test_swaks.py")]
    assert expected(sources) - mirrored(tests) == {PurePath("smtp/test_reply.py")}
    assert mirrored(tests) - expected(sources) == {PurePath("smtp/test_replies.py")}
