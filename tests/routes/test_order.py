"""The search order, and the one spelling of keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.routes.order import candidates, normal_key
from moxy.smtp.address import ForwardPath

ORDERS = [
    ("joe@example.org", ["joe@example.org", "example.org", ".org", "*"]),
    ("joe@a.b.example.org", ["joe@a.b.example.org", "a.b.example.org", ".b.example.org", ".example.org", ".org", "*"]),
    ("joe@localhost", ["joe@localhost", "localhost", "*"]),
    ("joe@[192.0.2.1]", ["joe@[192.0.2.1]", "[192.0.2.1]", "*"]),
    ("joe@[IPv6:2001:DB8::1]", ["joe@[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]", "*"]),
    ('"joe"@Example.ORG', ["joe@example.org", "example.org", ".org", "*"]),
    ('"j d"@example.org', ['"j d"@example.org', "example.org", ".org", "*"]),
    ("Postmaster", ["postmaster", "*"]),
    ("jörg@Mail.BÜCHER.example", [
        "jörg@mail.xn--bcher-kva.example", "mail.xn--bcher-kva.example", ".xn--bcher-kva.example", ".example", "*",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("address", "keys"), ORDERS)
def test_the_most_specific_key_comes_first(address, keys):
    assert list(candidates(ForwardPath.parse(address, utf8=True))) == keys


KEYS = [
    ("example.org", "example.org"),
    ("EXAMPLE.Org", "example.org"),
    ("mail_1.example.org", "mail_1.example.org"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    (".Example.ORG", ".example.org"),
    (".org", ".org"),
    ("*", "*"),
    ("Joe@Example.org", "Joe@example.org"),
    ('"joe"@example.org', "joe@example.org"),
    ('"j d"@example.org', '"j d"@example.org'),
    ("joe@[192.0.2.1]", "joe@[192.0.2.1]"),
    ("[192.0.2.1]", "[192.0.2.1]"),
    ("[IPv6:2001:DB8:0::1]", "[ipv6:2001:db8::1]"),
    ("bücher.example", "xn--bcher-kva.example"),
    (".BÜCHER.example", ".xn--bcher-kva.example"),
    ("jörg@Bücher.example", "jörg@xn--bcher-kva.example"),
]


@pytest.mark.parametrize(("spelled", "normal"), KEYS)
def test_a_key_has_one_normal_spelling(spelled, normal):
    assert normal_key(spelled) == normal
    assert normal_key(normal) == normal


@pytest.mark.parametrize(
    ("spelled", "told"),
    [
        ("", "expected a domain"),
        (".", "expected a domain"),
        ("example.org.", "expected a domain"),
        ("a..org", "expected a domain"),
        ("-a.org", "expected a domain"),
        (".[192.0.2.1]", "expected a domain"),
        ("[300.0.2.1]", "expected a domain"),
        ("☃.example", "expected a domain"),
        ("jörg@☃.example", "no internationalized domain name"),
        ("a" * 256, "expected a domain"),
        ("*.example.org", "written `.example.org`"),
        ("@example.org", "written `example.org`"),
        ("joe@", "empty"),
        ("joe@@example.org", "character"),
        ("a b@example.org", "character"),
        ("**", "expected a domain"),
        ("exa\0mple.org", "expected a domain"),
    ],
)
def test_what_is_no_key_is_refused_with_a_hint(spelled, told):
    with pytest.raises(ValueError, match=None) as caught:
        normal_key(spelled)
    assert told in str(caught.value)


LABELS = st.from_regex(r"[A-Za-z0-9_]{1,5}(-[A-Za-z0-9]{1,3})?", fullmatch=True)
DOMAINS = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
LOCAL_PARTS = st.from_regex(r'[a-zA-Z0-9+#]{1,5}(\.[a-z]{1,3})?|"[ -!#-\[\]-~]{0,5}"', fullmatch=True)


@given(LOCAL_PARTS, DOMAINS)
def test_keys_and_candidates_agree_on_the_spelling(local, domain):
    keys = list(candidates(ForwardPath.parse(f"{local}@{domain}")))
    assert normal_key(f"{local}@{domain}") == keys[0]
    assert normal_key(domain) == keys[1]
    assert [normal_key(key) for key in keys] == keys


def read(text):
    """The key, or why it is none."""
    try:
        return normal_key(text), ""
    except ValueError as error:
        return "", str(error)


@given(st.text(alphabet='aB.-@*[]1" \0') | st.text())
def test_any_text_is_a_key_or_is_refused(text):
    key, refusal = read(text)
    assert refusal.isprintable()
    assert bool(key) is not bool(refusal)
    assert not key or read(key) == (key, "")
