"""Plain text made into roff: it reads as it stood, and nothing in it becomes a macro."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moxy.cli import roff
from support.processes import require_program


def lines(text):
    return list(roff.page(text, lambda word, argument: iter([f"({word}: {argument})"])))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# EXIT STATUS", ['.SH "EXIT STATUS"']),
        ("## a part", ['.SS "a part"']),
        ("one\ntwo", [".PP", "one two"]),
        ("one\n\ntwo", [".PP", "one", ".PP", "two"]),
        ("SIGHUP\n: read it\nagain", [".TP", "SIGHUP", "read it again"]),
        ("    moxy -d\n      ls", [".PP", ".RS 4", ".nf", r"moxy \-d", r"  ls", ".fi", ".RE"]),
        ("@options moxystats", ["(options: moxystats)"]),
        (".SH fooled", [".PP", r"\&.SH fooled"]),
        ("'so fooled", [".PP", r"\(aqso fooled"]),
        ("    .so fooled", [".PP", ".RS 4", ".nf", r"\&.so fooled", ".fi", ".RE"]),
    ],
)
def test_each_kind_of_paragraph_has_its_macros(text, expected):
    assert lines(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a well-known name", "a well-known name"),
        ("`dbtype file` may stay", r"\fBdbtype file\fR may stay"),
        ("--no-pipelining and -c", r"\fB\-\-no\-pipelining\fR and \fB\-c\fR"),
        ("see moxy.conf(5)", r"see \fBmoxy.conf\fR(5)"),
        ("the file (5 lines)", "the file (5 lines)"),
        ("`'\"^~`", r"\fB\(aq\(dq\(ha\(ti\fR"),
        (r"`\x41`", r"\fB\ex41\fR"),
        ("RFC 5321 §4.5.3", r"RFC 5321 \[u00A7]4.5.3"),
    ],
)
def test_literals_options_and_pages_are_bold_and_can_be_copied(text, expected):
    assert roff.prose(text) == expected


def test_a_paragraph_is_broken_between_words_only():
    paragraph = list(roff.paragraph("word " * 100 + "`a literal`"))
    assert max(map(len, paragraph)) <= 110
    assert " ".join(paragraph[1:]) == "word " * 100 + r"\fBa literal\fR"


@pytest.mark.interop
@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=0xFF, exclude_characters="`\x7f\xad\xa0"), min_size=1))
@example(".SH x")
@example("'\\fB\\&\\n(.x")
def test_groff_gives_a_literal_back_as_it_stood(text):
    require_program("groff")
    words = " ".join(text.split())
    if not words or words.strip() != words:
        return
    source = "\n".join([*roff.title("x", "1", "x"), ".SH X", *roff.example([f"    {words}"])]) + "\n"
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou"], input=source.encode(), capture_output=True, check=True
    )
    assert done.stderr == b""
    body = done.stdout.decode().split("\nX\n")[1]
    assert body.split("\n")[0].strip() == words.strip()
