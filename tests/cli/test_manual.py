"""The manual pages: complete, correct roff, and in man/ as printed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import click
import pytest

from moxy.cli import manual, moxy
from moxy.config.classic import DIRECTIVES
from moxy.config.sections import parts
from support.processes import require_program

MAN = Path(__file__).parents[2] / "man"

pages = pytest.mark.parametrize("name", manual.PAGES)


@pages
def test_the_page_we_ship_is_what_describe_prints(name):
    assert (MAN / name).read_text() == manual.page(name), f"run: moxy describe --man {name} > man/{name}"


def test_no_other_page_is_shipped():
    assert {path.name for path in MAN.iterdir()} == set(manual.PAGES)


@pages
def test_a_page_has_the_sections_that_people_look_for(name):
    sections = re.findall(r'^\.SH "(.*)"$', manual.page(name), re.MULTILINE)
    assert sections[0] == "NAME"
    assert sections[-1] == "SEE ALSO"
    assert {"DESCRIPTION", "EXAMPLES"} < set(sections)
    if name.endswith(".8"):
        assert {"SYNOPSIS", "OPTIONS", "EXIT STATUS"} < set(sections)


@pages
def test_groff_has_nothing_to_complain_of(name):
    done = subprocess.run(
        [require_program("groff"), "-man", "-ww", "-Tutf8", "-z"],
        input=manual.page(name).encode(),
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")


@pages
def test_a_page_reads_as_plain_text(name):
    text = shown(name)
    assert name.rpartition(".")[0] in text
    assert not re.search(r"\\[a-z(\[]", text)
    assert "@" not in text.split()  # every insertion was made


def shown(name):
    """The page as a reader without a terminal's colours sees it."""
    done = subprocess.run(
        [require_program("groff"), "-man", "-Tutf8", "-rLL=200n", "-P-cbou"],
        input=manual.page(name).encode(),
        capture_output=True,
        check=True,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    return done.stdout.decode()


def options_of(command):
    context = click.Context(command, info_name="x", **command.context_settings)
    return [option for option in command.get_params(context) if isinstance(option, click.Option)]


@pytest.mark.parametrize(
    ("name", "command"), [("moxymakedbm.8", "makedbm"), ("moxystats.8", "stats"), ("moxylogalyze.8", "logalyze")]
)
def test_a_tools_page_has_every_option_with_its_help(name, command):
    text = shown(name)
    for option in options_of(moxy.get_command(click.Context(moxy), command)):
        assert all(spelling in text for spelling in option.opts)
        assert (option.help or "").split(" ")[0] in text


def test_the_page_of_moxy_has_every_command_and_option():
    text = shown("moxy.8")
    context = click.Context(moxy, info_name="moxy")
    for name in moxy.list_commands(context):
        assert f"moxy {name}" in text
        command = moxy.get_command(context, name)
        for own in command.commands.values() if isinstance(command, click.Group) else ():
            assert f"moxy {name} {own.name}" in text
            assert all(spelling in text for option in options_of(own) for spelling in option.opts)
        if f"moxy{name}.8" not in manual.PAGES:
            assert all(spelling in text for option in options_of(command) for spelling in option.opts)


def test_the_page_of_moxy_conf_has_every_directive():
    text = manual.page("moxy.conf.5")
    for directive in DIRECTIVES:
        assert f"\n\\fB{directive.name}\\fR\n" in text


def test_the_page_of_moxy_toml_has_every_key():
    text = manual.page("moxy.toml.5")
    for part in parts():
        assert part.key in text
        for key in part.keys:
            assert f"\n\\fB{key.name}\\fR\n" in text
