"""Hosts as a route table has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.mail.route import Host
from moxy.routes.hosts import HOSTS_LIMIT, parse_host, parse_hosts, refuse_unknown_name


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("mail.example.org:2525", Host("mail.example.org", 2525)),
        ("Mail.Example.ORG", Host("mail.example.org", 25)),
        ("mail.example.org.:25", Host("mail.example.org.", 25)),
        ("localhost:10025", Host("localhost", 10025)),
        ("mail_server", Host("mail_server", 25)),
        ("mail.BÜCHER.example:26", Host("mail.xn--bcher-kva.example", 26)),
        ("192.0.2.1:65535", Host("192.0.2.1", 65535)),
        ("192.0.2.1", Host("192.0.2.1", 25)),
        ("[2001:DB8:0::1]:26", Host("2001:db8::1", 26)),
        ("[::1]", Host("::1", 25)),
        ("[fe80::1%eth0]:25", Host("fe80::1%eth0", 25)),
        ("mail:0025", Host("mail", 25)),
        ("unix:/run/dovecot/lmtp", Host("/run/dovecot/lmtp", 0)),
        ("unix://run//a-b_c.d+e@f", Host("/run/a-b_c.d+e@f", 0)),
        ("unix:/" + "x" * 99, Host("/" + "x" * 99, 0)),
        ("unix:25", Host("unix", 25)),
    ],
)
def test_a_host_is_a_name_or_an_address_and_perhaps_a_port(text, host):
    assert parse_host(text) == host


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected host:port"),
        ("mail:", "bad port ``"),
        ("mail:0", "bad port `0`"),
        ("mail:65536", "bad port `65536`"),
        ("mail:smtp", "bad port `smtp`"),
        ("mail:٢٥", "bad port"),
        ("mail:+25", "bad port"),
        (":25", "bad host ``"),
        ("ma il:25", "bad host `ma il`"),
        ("-mail:25", "bad host"),
        ("mail-:25", "bad host"),
        ("a..b:25", "bad host"),
        (".:25", "bad host"),
        ("☃.example:25", "bad host"),
        ("bücher..example", "bad host"),
        ("a" * 64 + ":25", "bad host"),
        ("a." * 127 + ":25", "bad host"),
        ("300.0.2.1:25", "four numbers"),
        ("192.0.2:25", "four numbers"),
        ("2001:db8::1", "needs brackets"),
        ("[2001:db8::1", "expected `[IPv6 address]:port`"),
        ("[2001:db8::1]25", "expected `[IPv6 address]:port`"),
        ("[2001:db8::1]:", "bad port"),
        ("[192.0.2.1]:25", "expected an IPv6 address"),
        ("[]:25", "expected an IPv6 address"),
        ("user@mail:25", "bad host"),
        ("unix:run/lmtp", "expected `unix:` and the absolute path of a socket"),
        ("unix:/", "expected `unix:` and the absolute path of a socket"),
        ("unix:/run/", "expected `unix:` and the absolute path of a socket"),
        ("unix:/run/a b", "expected `unix:` and the absolute path of a socket"),
        ("unix:/run/a:25", "expected `unix:` and the absolute path of a socket"),
        ("unix:/run/a*2", "expected `unix:` and the absolute path of a socket"),
        ("unix:/run/\0", "expected `unix:` and the absolute path of a socket"),
        ("unix:/bücher", "expected `unix:` and the absolute path of a socket"),
        ("unix:/" + "x" * 100, "at most 100"),
    ],
)
def test_a_bad_host_is_refused_with_what_was_expected(text, told):
    with pytest.raises(ValueError) as caught:
        parse_host(text)
    assert told in str(caught.value)


def test_several_hosts_stand_with_commas_between_and_blanks_do_not_matter():
    assert parse_hosts("a:1,b:2, c ,\td:4") == (Host("a", 1), Host("b", 2), Host("c", 25), Host("d", 4))


@pytest.mark.parametrize("text", ["", " ", "a:1,", ",a:1", "a:1,,b:2", "a b", "a:1 b:2"])
def test_an_empty_item_and_a_blank_inside_one_are_refused(text):
    with pytest.raises(ValueError):
        parse_hosts(text)


@pytest.mark.parametrize("text", ["a:25,a:25", "a, A:25", "[::1],[0:0::1]:25", "unix:/a,unix://a"])
def test_a_host_is_not_named_twice(text):
    with pytest.raises(ValueError, match="stands there twice"):
        parse_hosts(text)


def read(text):
    """The hosts, or why there are none."""
    try:
        return parse_hosts(text)
    except ValueError as error:
        return str(error)


PATHS = st.text(alphabet="/aZ0_.@+-*, :é", max_size=12).map("unix:/{}".format)


@given(st.text(alphabet=st.sampled_from("aA0-._:[],25 %\t\0é")) | st.text() | st.lists(PATHS).map(",".join))
def test_any_text_is_hosts_or_is_refused_and_hosts_are_written_as_they_are_read(text):
    hosts = read(text)
    if isinstance(hosts, str):
        assert hosts.isprintable()
    else:
        assert parse_hosts(",".join(str(host) for host in hosts)) == hosts


def test_where_there_are_destinations_a_lone_word_must_be_one_of_them():
    for word in ("alpha.test", "alpha:25", "a,b", ""):
        refuse_unknown_name(word, {"beta"})
    refuse_unknown_name("alpha", {})
    with pytest.raises(ValueError, match="no destination is called `alhpa`; did you mean `alpha`"):
        refuse_unknown_name("alhpa", {"alpha"})


def test_a_list_has_a_bound():
    hosts = [f"mail{number}.example.org" for number in range(HOSTS_LIMIT + 1)]
    assert len(parse_hosts(",".join(hosts[1:]))) == HOSTS_LIMIT
    with pytest.raises(ValueError, match="expected at most 100 hosts"):
        parse_hosts(",".join(hosts))


@given(PATHS)
def test_the_path_of_a_socket_survives_whatever_else_is_written_around_it(text):
    try:
        host = parse_host(text)
    except ValueError:
        return
    assert host.local
    assert str(host).isascii()
    assert not set(str(host)) & set(" ,*#|\"'\t")
