"""Arguments read by the parsers of the rest of Moxy."""

import click
import pytest
from click.testing import CliRunner

from moxy.cli.arguments import checked, each_checked, printable, size


@click.command()
@click.option("--one", callback=checked(size))
@click.option("--many", multiple=True, callback=each_checked(size))
def command(one, many):
    click.echo(f"{one} {many}")


def test_an_option_is_what_its_parser_makes_of_it():
    assert CliRunner().invoke(command, ["--one", "10k", "--many", "1", "--many", "2k"]).output == "10000 (1, 2000)\n"


def test_an_option_left_out_is_left_alone():
    assert CliRunner().invoke(command, []).output == "None ()\n"


@pytest.mark.parametrize("option", ["--one", "--many"])
def test_a_mistake_names_the_option(option):
    result = CliRunner().invoke(command, [option, "much"])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': expected a number of octets" in result.output


@pytest.mark.parametrize(
    ("text", "octets"), [("0", 0), ("10", 10), ("10k", 10_000), ("10K", 10_000), ("2M", 2 * 10**6), ("5MiB", 5 * 2**20)]
)
def test_a_size_is_written_as_people_do(text, octets):
    assert size(text) == octets


@pytest.mark.parametrize("text", ["", "k", "-1", "1" * 5000, "10x"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError):
        size(text)


def test_printable_text_has_neither_line_ends_nor_escapes():
    assert printable("grüße") == "grüße"
    for text in ("a\nb", "a\x1b[31m", "\udcff"):
        with pytest.raises(ValueError):
            printable(text)
