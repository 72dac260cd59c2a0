"""One spelling for each domain and each address literal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp.domain import canonical

SAME = [
    ("example.org", "EXAMPLE.Org"),
    ("xn--bcher-kva.example", "bücher.example", "BÜCHER.EXAMPLE", "XN--Bcher-KVA.Example", "bu\u0308cher.example"),
    ("under_score.xn--bcher-kva.example", "Under_Score.bücher.example"),
    ("xn--fa-hia.example", "faß.example"),
    ("xn--fsqu00a.xn--0zwm56d", "例子.测试", "例子。测试"),
    ("[192.0.2.1]",),
    ("[ipv6:2001:db8::1]", "[IPv6:2001:DB8::1]", "[IPv6:2001:db8:0:0:0:0:0:1]", "[ipv6:2001:0db8::0001]"),
    ("[ipv6:::ffff:192.0.2.1]", "[IPv6:::FFFF:c000:201]"),
    ("[x25:3117]", "[X25:3117]"),
    ("xn--a",),  # it means nothing to IDNA, but it is in lower case
]


@pytest.mark.parametrize("spelled", SAME, ids=lambda spelled: spelled[0])
def test_spellings_of_the_same_have_one_canonical_spelling(spelled):
    assert {canonical(text) for text in spelled} == {spelled[0]}


def test_others_stay_others():
    assert len({canonical(text) for text in ("bucher.example", "bücher.example", "fass.example", "faß.example")}) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("a..b", "empty label"),
        (".bücher", "empty label"),
        ("bücher.", "empty label"),
        ("\u00ad.bücher", "empty label"),  # a soft hyphen is mapped to nothing
        ("a b", "character"),
        ("-é", "character"),
        ("☃.test", "internationalized"),
        ("℀.é", "character"),  # mapped to `a/c`
        ("é\u200d", "internationalized"),
        ("é" * 63 + ".test", "internationalized"),
        ("é." * 84 + "test", "too long"),  # 252 octets as written, more with A-labels
        ("d" * 256, "too long"),
        ("[192.0.2.256]", "literal"),
        ("[192.0.2.1", "literal"),
        ("[IPv6:fe80::1%eth0]", "literal"),
        ("[é:x]", "literal"),
    ],
)
def test_what_is_no_domain_is_refused_with_a_sentence_for_a_reply(text, told):
    with pytest.raises(ValueError, match=told) as caught:
        canonical(text)
    assert str(caught.value).isascii()


@given(st.text(max_size=30) | st.text(st.sampled_from("aB.-_é。ß\u00ad[]:1"), max_size=12))
def test_the_canonical_spelling_is_ascii_and_its_own(text):
    try:
        spelled = canonical(text)
    except ValueError:
        return
    assert spelled.isascii()
    assert spelled == spelled.lower()
    assert canonical(spelled) == spelled
