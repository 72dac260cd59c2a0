"""The envelope's addresses: one table through both parsers, and what must hold for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp.address import AddressError, ForwardPath, Path, ReversePath, parse_hello, scan_path

LONG_LOCAL = "l" * 255
LONG_DOMAIN = ".".join(["d" * 63] * 4)
LONGEST_IN_COMMON_USE = "l" * 64 + "@" + "d" * 190

# text, local part, domain, key
GOOD = [
    ("john@example.com", "john", "example.com", "john@example.com"),
    ("John.Q.Public@Example.COM", "John.Q.Public", "example.com", "John.Q.Public@example.com"),
    ("a@b", "a", "b", "a@b"),
    ("!#$%&'*+-/=?^_`{|}~@x.test", "!#$%&'*+-/=?^_`{|}~", "x.test", "!#$%&'*+-/=?^_`{|}~@x.test"),
    ("user%elsewhere.test@x.test", "user%elsewhere.test", "x.test", "user%elsewhere.test@x.test"),
    ("host!user@x.test", "host!user", "x.test", "host!user@x.test"),
    ("a-b@c-d.e--f.test", "a-b", "c-d.e--f.test", "a-b@c-d.e--f.test"),
    ("a@_dmarc.under_score.test", "a", "_dmarc.under_score.test", "a@_dmarc.under_score.test"),
    ("a@1.2.3.4", "a", "1.2.3.4", "a@1.2.3.4"),
    ("postmaster@X.test", "postmaster", "x.test", "postmaster@x.test"),
    (LONG_LOCAL + "@x.test", LONG_LOCAL, "x.test", LONG_LOCAL + "@x.test"),
    ("a@" + LONG_DOMAIN, "a", LONG_DOMAIN, "a@" + LONG_DOMAIN),
    (LONG_LOCAL + "@" + LONG_DOMAIN, LONG_LOCAL, LONG_DOMAIN, LONG_LOCAL + "@" + LONG_DOMAIN),
    (LONGEST_IN_COMMON_USE, "l" * 64, "d" * 190, LONGEST_IN_COMMON_USE),
    ('"john"@x.test', '"john"', "x.test", "john@x.test"),
    ('"j\\ohn"@x.test', '"j\\ohn"', "x.test", "john@x.test"),
    ('"john smith"@x.test', '"john smith"', "x.test", '"john smith"@x.test'),
    ('"john\\ smith"@x.test', '"john\\ smith"', "x.test", '"john smith"@x.test'),
    ('"a@b"@x.test', '"a@b"', "x.test", '"a@b"@x.test'),
    ('"a>b"@x.test', '"a>b"', "x.test", '"a>b"@x.test'),
    ('"a\\"b"@x.test', '"a\\"b"', "x.test", '"a\\"b"@x.test'),
    ('"a\\\\b"@x.test', '"a\\\\b"', "x.test", '"a\\\\b"@x.test'),
    ('"a..b"@x.test', '"a..b"', "x.test", '"a..b"@x.test'),
    ('""@x.test', '""', "x.test", '""@x.test'),
    ("a@[192.0.2.1]", "a", "[192.0.2.1]", "a@[192.0.2.1]"),
    ("a@[IPv6:2001:DB8::1]", "a", "[ipv6:2001:db8::1]", "a@[ipv6:2001:db8::1]"),
    ("a@[IPv6:2001:db8:0:0::0001]", "a", "[ipv6:2001:db8::1]", "a@[ipv6:2001:db8::1]"),
    ("a@[ipv6:::ffff:192.0.2.1]", "a", "[ipv6:::ffff:192.0.2.1]", "a@[ipv6:::ffff:192.0.2.1]"),
    ("a@XN--BCHER-KVA.test", "a", "xn--bcher-kva.test", "a@xn--bcher-kva.test"),
    ("a@[X25:3117]", "a", "[x25:3117]", "a@[x25:3117]"),
]

BAD = [
    "a",
    "a@",
    "@",
    "@x.test",
    "a b@x.test",
    " a@x.test",
    "a@x.test ",
    "a@x .test",
    "a@@x.test",
    "a@b@x.test",
    ".a@x.test",
    "a.@x.test",
    "a..b@x.test",
    "a(b)@x.test",
    "a,b@x.test",
    'a"b"@x.test',
    '"a"b@x.test',
    '"a".b@x.test',
    '"a@x.test',
    '"a\\"@x.test',
    '"a\tb"@x.test',
    '"a\\\tb"@x.test',
    "a\\b@x.test",
    "a<b@x.test",
    "a>b@x.test",
    "a@x.test.",
    "a@.x.test",
    "a@x..test",
    "a@-x.test",
    "a@x-.test",
    "a@x.test-",
    "a@x/y",
    "a\x00@x.test",
    "a@x\x7f.test",
    "a\r\nRCPT TO:<b@x.test",
    "a@x.test\n",
    "a@[192.0.2.256]",
    "a@[192.0.2]",
    "a@[192.0.2.01]",
    "a@[192.0.2.1",
    "a@192.0.2.1]",
    "a@[]",
    "a@[IPv6:2001:db8::1::2]",
    "a@[IPv6:fe80::1%eth0]",
    "a@[IPv6:]",
    "a@[::1]",
    "a@[-:x]",
    "a@[tag:x>y]",
    "a@[tag:x y]",
    LONG_LOCAL + "l@x.test",
    "a@" + LONG_DOMAIN + "d",
]


def scan(text: str, kind: type[Path], utf8: bool = False) -> Path:
    """The path of a command line, found to end exactly after its `>`."""
    line = b"MAIL FROM:<" + text.encode() + b"> SIZE=1"
    path, end = scan_path(line, len(b"MAIL FROM:"), kind, utf8)
    assert line[end:] == b" SIZE=1"
    return path


@pytest.mark.parametrize("kind", [ForwardPath, ReversePath])
@pytest.mark.parametrize(("text", "local", "domain", "key"), GOOD)
def test_both_parsers_accept_what_the_grammar_allows(kind, text, local, domain, key):
    for path in (kind.parse(text), scan(text, kind), scan(text, kind, utf8=True)):
        assert type(path) is kind
        assert (path.text, path.local, path.domain, path.key) == (text, local, domain, key)
        assert str(path) == text


@pytest.mark.parametrize("kind", [ForwardPath, ReversePath])
@pytest.mark.parametrize("text", BAD)
def test_both_parsers_refuse_what_it_does_not(kind, text):
    for parse in (kind.parse, lambda text: scan(text, kind)):
        with pytest.raises(AddressError) as error:
            assert not parse(text)
        assert error.value.status == {"ForwardPath": "1.3", "ReversePath": "1.7"}[kind.__name__]
        assert str(error.value).isascii()


@pytest.mark.parametrize("line", [b"", b"a@x.test", b" <a@x.test>", b"<a@x.test", b"<", b'<"a>', b'<"a@x.test>', b">"])
def test_a_path_without_its_brackets_is_refused(line):
    with pytest.raises(AddressError):
        scan_path(line, 0, ForwardPath)


def test_a_path_ends_at_its_own_bracket():
    assert scan_path(b"<a@x.test><b@x.test>", 0, ForwardPath)[1] == 10
    assert scan_path(b'<"a>"@x.test> X=">"', 0, ForwardPath)[1] == 13


def test_only_a_reverse_path_may_be_null():
    assert ReversePath.null.is_null
    assert scan("", ReversePath) == ReversePath.parse("") == ReversePath.null
    assert (ReversePath.null.text, ReversePath.null.domain, ReversePath.null.key) == ("", "", "")
    assert not ReversePath.parse("a@x.test").is_null
    with pytest.raises(AddressError):
        scan("", ForwardPath)


@pytest.mark.parametrize("local", ["postmaster", "Postmaster", '"POSTMASTER"'])
def test_the_case_of_postmaster_does_not_matter(local: str) -> None:
    assert ForwardPath.parse(f"{local}@A.test").key == "postmaster@a.test"
    assert ForwardPath.parse("Postmasters@a.test").key == "Postmasters@a.test"


@pytest.mark.parametrize("text", ["postmaster", "Postmaster", "POSTMASTER"])
def test_only_a_forward_path_may_be_the_bare_postmaster(text):
    path = scan(text, ForwardPath)
    assert path.is_postmaster
    assert path == ForwardPath.parse("postmaster")
    assert (path.text, path.local, path.domain, path.key) == (text, text, "", "postmaster")
    assert not ForwardPath.parse(f"{text}@x.test").is_postmaster
    with pytest.raises(AddressError):
        scan(text, ReversePath)


@pytest.mark.parametrize("route", ["@a:", "@a.test,@b.test:", "@a,@b,@c_d:"])
def test_a_source_route_is_read_and_ignored(route):
    path = scan(route + '"u"@X.test', ForwardPath)
    assert (path.text, path.domain, path.key) == ('"u"@X.test', "x.test", "u@x.test")


@pytest.mark.parametrize("text", ["@a", "@a:", "@:u@x", "@a,:u@x", "@a,b:u@x", "@a..b:u@x", "@a:@b:u@x", "@a,@b u@x"])
@pytest.mark.parametrize("kind", [ForwardPath, ReversePath])
def test_a_malformed_source_route_is_refused(kind, text):
    with pytest.raises(AddressError):
        scan(text, kind)


def test_a_source_route_cannot_make_a_path_too_long():
    hosts = ",".join(["@relay.example.test"] * 24)
    assert scan(f"{hosts}:u@x.test", ForwardPath).text == "u@x.test"
    with pytest.raises(AddressError, match="too long"):
        scan(f"{hosts},{hosts}:u@x.test", ForwardPath)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("jörg@example.com", "jörg@example.com"),
        ("用户@例子.测试", "用户@xn--fsqu00a.xn--0zwm56d"),
        ("a@BÜCHER.test", "a@xn--bcher-kva.test"),
        ('"jörg"@x.test', "jörg@x.test"),
        ('"jörg m"@x.test', '"jörg m"@x.test'),
        ("a-é@x.test", "a-é@x.test"),
        ("JÖRG@x.test", "JÖRG@x.test"),
    ],
)
def test_non_ascii_needs_smtputf8(text, key):
    for path in (scan(text, ForwardPath, utf8=True), ForwardPath.parse(text, utf8=True)):
        assert (path.text, path.key) == (text, key)
    for parse in (scan, lambda text, kind: kind.parse(text)):
        with pytest.raises(AddressError) as error:
            parse(text, ForwardPath)
        assert error.value.status == "6.7"


@pytest.mark.parametrize("kind", [ForwardPath, ReversePath])
def test_a_domain_that_idna_does_not_allow_is_refused_in_words_of_its_own(kind):
    with pytest.raises(AddressError, match="internationalized") as error:
        scan("a@☃.test", kind, utf8=True)
    assert error.value.status == kind.error_status


def test_u_labels_and_a_labels_are_the_same_mailbox():
    spelled = ("jörg@bücher.test", "jörg@xn--bcher-kva.test", '"jörg"@BÜCHER.TEST', "jörg@Xn--Bcher-KVA.test")
    assert len({ForwardPath.parse(text, utf8=True) for text in spelled}) == 1


@pytest.mark.parametrize("text", ["a\u0085b@x.test", '"a\u2028b"@x.test', "a@x\u2029.test", "a@x\u009f.test", "é@"])
def test_controls_and_line_ends_beyond_ascii_are_refused_even_with_smtputf8(text):
    with pytest.raises(AddressError):
        scan(text, ForwardPath, utf8=True)


def test_octets_that_are_no_utf8_are_refused():
    with pytest.raises(AddressError) as error:
        scan_path(b"<\xff@x.test>", 0, ReversePath, utf8=True)
    assert error.value.status == "1.7"
    with pytest.raises(AddressError) as error:
        scan_path(b"<\xff@x.test>", 0, ReversePath)
    assert error.value.status == "6.7"


def test_limits_count_octets():
    with pytest.raises(AddressError, match="too long"):
        ForwardPath.parse("é" * 128 + "@x.test", utf8=True)


def test_paths_are_equal_when_kind_and_mailbox_are():
    same = {ForwardPath.parse(text) for text in ("a@x.test", '"a"@X.TEST', '"\\a"@x.test')}
    assert len(same) == 1
    assert ForwardPath.parse("a@x.test") != ForwardPath.parse("A@x.test")
    assert ForwardPath.parse("a@x.test") != ReversePath.parse("a@x.test")
    assert ForwardPath.parse("a@x.test") != "a@x.test"
    assert repr(ForwardPath.parse("a@x.test")) == "ForwardPath('a@x.test')"


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (b"mail.example.com", "mail.example.com"),
        (b"Mail.Example.COM  ", "Mail.Example.COM"),
        (b"localhost\t", "localhost"),
        (b"win_pc-1", "win_pc-1"),
        (b"[192.0.2.1]", "[192.0.2.1]"),
        (b"[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        (LONG_DOMAIN.encode(), LONG_DOMAIN),
    ],
)
def test_hello_takes_a_domain_or_an_address_literal(octets, name):
    assert parse_hello(octets) == name


@pytest.mark.parametrize(
    "octets",
    [b"", b" ", b" a", b"a b", b"a..b", b"a.", b"-", b"a(b)", b"[1.2.3]", b"[]", b"b\xc3\xbc.test", b"\xff", b"a\x00b",
     b"a\r", LONG_DOMAIN.encode() + b"d"],
)  # fmt: skip
def test_hello_refuses_anything_else(octets):
    with pytest.raises(AddressError) as error:
        parse_hello(octets)
    assert error.value.status == "5.4"


@given(st.binary(max_size=80), st.booleans())
def test_any_octets_give_a_path_or_an_address_error(octets, utf8):
    for line in (octets, b"<" + octets + b">", b"<" + octets + b"@x.test>"):
        try:
            path, end = scan_path(line, 0, ForwardPath, utf8)
        except AddressError:
            continue
        assert line[end - 1 : end] == b">"
        assert not set(path.text) & set("\r\n\x00")


address_characters = st.text(st.sampled_from('ab.@"\\<>[]:, -é\t1%_'), max_size=16)


def outcome(parse):
    """What a parser makes of a text: the parts of the path, or None."""
    try:
        path = parse()
    except AddressError:
        return None
    return path.text, path.local, path.domain


@given(address_characters, address_characters)
def test_a_text_parses_in_brackets_to_the_same_path_or_not_at_all(local, domain):
    text = f"{local}@{domain}"
    line = b"<" + text.encode() + b">"

    def scan_all():
        path, end = scan_path(line, 0, ForwardPath, utf8=True)
        if end < len(line):  # the text had a bracket of its own: the path ended there, and a command refuses the rest
            raise AddressError("there is more", "1.3")
        return path

    scanned = outcome(scan_all)
    if scanned is not None and text.startswith("@"):  # a source route, which only brackets may hold
        text = scanned[0]
    assert scanned == outcome(lambda: ForwardPath.parse(text, utf8=True))


@given(st.text(st.sampled_from('ab.@"\\> é'), max_size=12))
def test_a_key_is_a_mailbox_of_its_own_and_its_own_key(content):
    quoted = content.replace("\\", "\\\\").replace('"', '\\"')
    path = ForwardPath.parse(f'"{quoted}"@x.test', utf8=True)
    assert ForwardPath.parse(path.key, utf8=True) == path
    assert ForwardPath.parse(path.key, utf8=True).key == path.key
