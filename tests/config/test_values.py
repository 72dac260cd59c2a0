"""How single values are spelled, and what a wrong spelling is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.config import values
from moxy.config.values import Endpoint
from moxy.mail import Host

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("mail.example.org:25", Host("mail.example.org", 25)),
        (" Mail.Example.ORG:2525 ", Host("mail.example.org", 2525)),
        ("mail.example.org", Host("mail.example.org", 25)),
        ("192.0.2.1:2525", Host("192.0.2.1", 2525)),
        ("[2001:0DB8::1]:25", Host("2001:db8::1", 25)),
        ("mail.example.org:25*3", Host("mail.example.org", 25, 3)),
        ("[::1]:25*10", Host("::1", 25, 10)),
        ("unix:/run/dovecot/lmtp", Host("/run/dovecot/lmtp", 0)),
        (" unix:/run/dovecot/lmtp*3", Host("/run/dovecot/lmtp", 0, 3)),
    ],
)
def test_hosts(text: str, host: Host) -> None:
    assert values.host(text) == host


@pytest.mark.parametrize(
    "value", ["", "a b:25", "a:0", "a:65536", "a:x", "::1:25", "[::1", "a:25*0", "1.2.3:25", 25, []]
)
def test_what_is_no_host_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        values.host(value)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("0.0.0.0:25", Endpoint("0.0.0.0", 25)),
        ("[::]:25", Endpoint("::", 25)),
        ("*:2525", Endpoint("*", 2525)),
        ("localhost:0", Endpoint("localhost", 0)),
        ("unix:/run/moxy/lmtp.sock", Endpoint("/run/moxy/lmtp.sock", 0)),
        ("unix:/" + 99 * "a", Endpoint("/" + 99 * "a", 0)),
    ],
)
def test_endpoints_are_read_and_shown_alike(text: str, endpoint: Endpoint) -> None:
    assert values.endpoint(text) == endpoint
    assert str(endpoint) == text


@pytest.mark.parametrize(
    "value",
    ["", "25", ":25", "*", "*:", "*:65536", "0.0.0.0", "::1", "[::]", "**:25", "a:²", 25]
    + [
        f"unix:{path}"
        for path in ("", "/", "run", "//a b", "/a,b", "/a*", "/" + 100 * "a", "/\t", "/" + 50 * "ü", "/\ud800")
    ],
)
def test_what_is_no_endpoint_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        values.endpoint(value)


@given(st.text().map("unix:/".__add__))
def test_any_unix_socket_is_refused_or_read_back(text: str) -> None:
    try:
        endpoint = values.endpoint(text)
    except ValueError:
        return
    assert values.endpoint(str(endpoint)) == endpoint
    assert len(endpoint.host.encode()) <= 100


def test_modes_are_octal() -> None:
    assert [values.mode(text) for text in ("0660", "666", " 0600 ")] == [0o660, 0o666, 0o600]


@pytest.mark.parametrize("value", ["", "66", "0o660", "0888", "01777", 660, 0o660, None])
def test_what_is_no_mode_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="octal"):
        values.mode(value)


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        (65536, 65536),
        ("50MiB", 52_428_800),
        ("50 mib", 52_428_800),
        ("1kB", 1000),
        ("1.5GiB", 1_610_612_736),
        ("7B", 7),
    ],
)
def test_sizes(value: object, octets: int) -> None:
    assert values.size(value) == octets


@pytest.mark.parametrize("value", ["", "50", "50M", "MiB", "-1MiB", "1e3kB", "1.MiB", 1.5, True, None])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a number of octets"):
        values.size(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(30, 30.0), (0.5, 0.5), ("30s", 30.0), ("5m", 300.0), ("250ms", 0.25), ("1.5h", 5400.0), ("1 d", 86400.0)],
)
def test_durations(value: object, seconds: float) -> None:
    assert values.duration(value) == seconds


@pytest.mark.parametrize(
    "value", ["", "30", "30x", "-5s", "0s", 0, -1, True, float("nan"), float("inf"), 10**400, "999999999999999d"]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a number of seconds"):
        values.duration(value)


@given(st.integers(0, 2**53))
def test_a_formatted_size_reads_back(octets: int) -> None:
    text = values.format_size(octets)
    assert values.size(int(text) if text.isdigit() else text) == octets


@given(st.integers(1, 10**7) | st.sampled_from([0.5, 0.25, 1.5]))
def test_a_formatted_duration_reads_back(seconds: float) -> None:
    assert values.duration(values.format_duration(seconds)) == seconds


@pytest.mark.parametrize(("seconds", "text"), [(30, "30s"), (300, "5m"), (90, "90s"), (3600, "1h"), (0.5, "0.5s")])
def test_durations_are_shown_short(seconds: float, text: str) -> None:
    assert values.format_duration(seconds) == text


@pytest.mark.parametrize("text", ["", "mx.example.org", "localhost", "[192.0.2.1]", "[IPv6:2001:db8::1]", "my_host"])
def test_host_names(text: str) -> None:
    assert values.hostname(text) == text


@pytest.mark.parametrize("value", ["mx example", "-", "a..b", "[192.0.2]", "bücher.example", "\ud800", "a\r\nb", 3])
def test_what_is_no_host_name_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a host name"):
        values.hostname(value)


@pytest.mark.parametrize("text", ["", "postmaster@example.org", '"a b"@example.org', "root@[192.0.2.1]"])
def test_mail_addresses(text: str) -> None:
    assert values.mailbox(text) == text


@pytest.mark.parametrize("value", ["root", "@example.org", "a@b@c", "a b@example.org", "ü@☃.example", 3])
def test_what_is_no_mail_address_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a mail address"):
        values.mailbox(value)


@pytest.mark.parametrize("value", ["a\nb", "a\0", "\x1b[31m", 3, None])
def test_a_line_has_no_control_characters(value: object) -> None:
    assert values.line("a\tb ü") == "a\tb ü"
    with pytest.raises(ValueError, match="expected"):
        values.line(value)


@pytest.mark.parametrize("value", ["", "a.b", "a b", "a:b", "ü", 3])
def test_names_cannot_be_taken_for_hosts(value: object) -> None:
    assert values.name("Alpha-1_b") == "Alpha-1_b"
    with pytest.raises(ValueError, match="expected a name of letters"):
        values.name(value)


READERS = [values.host, values.endpoint, values.size, values.duration, values.client, values.name, values.hostname]
READERS += [values.mailbox, values.line, values.mode]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@given(ANYTHING)
def test_a_reader_returns_or_raises_value_error(read: Callable[[object], object], value: object) -> None:
    message = ""
    try:
        read(value)
    except ValueError as error:
        message = str(error)
    assert message.isprintable()


def test_a_client_pattern_is_named_in_its_complaint() -> None:
    assert values.client(" 10.* ").matches("10.1.2.3")
    with pytest.raises(ValueError, match=r"^`300\.\*`: expected an address"):
        values.client("300.*")


@pytest.mark.parametrize(
    ("words", "text"), [(["a"], "`a`"), (["a", "b"], "`a` or `b`"), (["a", "b", "c"], "`a`, `b` or `c`")]
)
def test_words_are_listed_as_in_a_sentence(words: list[str], text: str) -> None:
    assert values.listed(words) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (3, "`3`"), ("a\x1b[31m", "`a\ufffd[31m`"), ({"a": 1}, "a table"), ([1], "a list")],
)
def test_values_are_shown_harmlessly(value: object, text: str) -> None:
    assert values.shown(value) == text
    assert len(values.shown("x" * 1000)) < 70
