"""`moxy describe`."""

from __future__ import annotations

from click.testing import CliRunner

from moxy.cli.describe import describe
from moxy.config import describe as description


def test_the_commented_configuration_is_printed() -> None:
    result = CliRunner().invoke(describe, [])
    assert result.exit_code == 0
    assert result.stdout == description.describe()


def test_the_reference_page_is_printed() -> None:
    result = CliRunner().invoke(describe, ["--reference"])
    assert result.exit_code == 0
    assert result.stdout == description.reference()
