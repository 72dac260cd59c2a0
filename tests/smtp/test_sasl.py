"""The client's side of SASL: the RFCs' own examples, and servers that lie, ask too much or know no end."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp import sasl
from moxy.smtp.sasl import LEAST_ITERATIONS, MECHANISMS, MOST_ITERATIONS, SaslError, begin, prepared

NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
"""RFC 7677 §3."""

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)


def test_plain_by_the_example_of_its_rfc():  # RFC 4616 §4
    machine = begin("PLAIN", "tim", "tanstaaftanstaaf", "")
    assert machine.initial == b"\0tim\0tanstaaftanstaaf"
    assert machine.complete


def test_cram_md5_by_the_example_of_its_rfc():  # RFC 2195 §2
    machine = begin("CRAM-MD5", "tim", "tanstaaftanstaaf", "")
    assert machine.initial is None
    assert not machine.complete
    told = sasl.challenge("PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+")
    assert sasl.response(machine.answer(told)) == b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
    assert machine.complete


def test_login_tells_the_user_then_the_secret_whatever_it_is_asked():
    machine = begin("LOGIN", "tim", "secret", "")
    assert machine.initial is None
    assert machine.answer(b"Username:") == b"tim"
    assert not machine.complete
    assert machine.answer(b"") == b"secret"
    assert machine.complete


def test_scram_by_the_example_of_its_rfc():  # RFC 7677 §3
    machine = begin("SCRAM-SHA-256", "user", "pencil", NONCE)
    assert machine.initial == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert machine.answer(SERVER_FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert not machine.complete
    assert machine.answer(SERVER_FINAL) == b""
    assert machine.complete


def test_a_comma_or_equals_sign_in_a_scram_user_is_escaped():  # RFC 5802 §5.1
    assert begin("SCRAM-SHA-256", "a=b,c", "x", "n").initial == b"n,,n=a=3Db=2Cc,r=n"


@pytest.mark.parametrize(
    "server_first",
    [
        b"",
        b"r=other%x,s=W22Z,i=4096",  # not our nonce
        b"r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096",  # nothing of its own
        b"m=must,r=rOprNGfwEbeRWgbNEkqO%x,s=W22Z,i=4096",  # an extension that must be understood
        b"r=rOprNGfwEbeRWgbNEkqO%x,s=W22Z,i=0",
        b"r=rOprNGfwEbeRWgbNEkqO%x,s=W22Z,i=4095",
        b"r=rOprNGfwEbeRWgbNEkqO%x,s=W22Z,i=100001",
        b"r=rOprNGfwEbeRWgbNEkqO%x,s=W22Z,i=9999999999",
        b"r=rOprNGfwEbeRWgbNEkqO%x,s=W22Z,i=99999999999",
        b"r=rOprNGfwEbeRWgbNEkqO%x,s=W22Z,i=-4096",
        b"r=rOprNGfwEbeRWgbNEkqO%x,s=W2=2,i=4096",
        b"r=rOprNGfwEbeRWgbNEkqO%x,s=,i=4096",
        b"r=rOprNGfwEbeRWgbNEkqO%x,i=4096",
        b"r=rOprNGfwEbeRWgbNEkqO\xff,s=W22Z,i=4096",
        b"e=unknown-user",
    ],
)
def test_what_is_no_first_message_of_scram_is_refused(server_first):
    machine = begin("SCRAM-SHA-256", "user", "pencil", NONCE)
    with pytest.raises(SaslError):
        machine.answer(server_first)
    assert not machine.complete


@pytest.mark.parametrize("iterations", [LEAST_ITERATIONS, MOST_ITERATIONS])
def test_iterations_are_bounded_on_both_sides(iterations):
    machine = begin("SCRAM-SHA-256", "user", "pencil", NONCE)
    assert machine.answer(b"r=rOprNGfwEbeRWgbNEkqO%%x,s=W22Z,i=%d" % iterations).startswith(b"c=biws,r=")


@pytest.mark.parametrize(
    "server_final",
    [b"", b"v=", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", b"e=invalid-proof", b"V=" + b"x" * 99],
)
def test_a_server_that_does_not_know_the_secret_is_not_believed(server_final):
    machine = begin("SCRAM-SHA-256", "user", "pencil", NONCE)
    machine.answer(SERVER_FIRST)
    with pytest.raises(SaslError):
        machine.answer(server_final)
    assert not machine.complete


@pytest.mark.parametrize(
    ("mechanism", "challenges"),
    [
        ("PLAIN", []),
        ("LOGIN", [b"Username:", b"Password:"]),
        ("CRAM-MD5", [b"<1@x>"]),
        ("SCRAM-SHA-256", [SERVER_FIRST, SERVER_FINAL]),
    ],
)
def test_no_mechanism_answers_for_ever(mechanism, challenges):
    machine = begin(mechanism, "user", "pencil", NONCE)
    for challenge in challenges:
        machine.answer(challenge)
    with pytest.raises(SaslError):
        machine.answer(b"more")


def test_a_challenge_of_cram_md5_is_not_empty():
    with pytest.raises(SaslError):
        begin("CRAM-MD5", "user", "pencil", "").answer(b"")


@pytest.mark.parametrize("challenge", ["=", "YQ", "Y Q==", "\u00e9", "YQ==\n", "Y" * 481])
def test_a_challenge_is_base64_and_not_long(challenge):
    with pytest.raises(SaslError):
        sasl.challenge(challenge)


def test_an_empty_challenge_is_one():
    assert sasl.challenge("") == b""


def test_the_strongest_comes_first():
    assert list(MECHANISMS) == ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("x\u0007", "x\u0007"),  # prohibited in an ASCII secret too; the server is the judge
        ("\u00e9\u0007", "\u00e9\u0007"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_letters_are_prepared(written, meant):  # RFC 4013 §3
    assert prepared(written) == meant


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_no_error_and_no_repr_tells_the_secret(mechanism):
    machine = begin(mechanism, "user", "hunter2", NONCE)
    told = repr(machine) + repr(vars(machine).keys())
    for octets in (b"r=x,s=,i=1", b"", b"x", b"y", b"z"):
        try:
            machine.answer(octets)
        except SaslError as error:
            told += repr(error)
    assert "hunter2" not in told


@given(text, text, st.binary(min_size=1, max_size=30), st.integers(LEAST_ITERATIONS, LEAST_ITERATIONS + 3))
def test_a_server_that_knows_the_secret_and_a_client_agree(user, secret, salt, iterations):
    machine = begin("SCRAM-SHA-256", user, secret, NONCE)
    first = machine.initial.removeprefix(b"n,,")
    second = b"r=" + NONCE.encode() + b"more,s=" + base64.b64encode(salt) + b",i=%d" % iterations
    third = machine.answer(second)
    without_proof, _, proof = third.rpartition(b",p=")
    salted = hashlib.pbkdf2_hmac("sha256", prepared(secret).encode(), salt, iterations)
    spoken = first + b"," + second + b"," + without_proof
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    signature = hmac.digest(stored, spoken, "sha256")
    key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
    assert hashlib.sha256(key).digest() == stored
    machine.answer(
        b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), spoken, "sha256"))
    )
    assert machine.complete


@given(st.sampled_from(list(MECHANISMS)), text, text, st.lists(st.binary(max_size=200), max_size=4))
def test_whatever_a_server_says_there_is_an_answer_or_a_reason(mechanism, user, secret, challenges):
    machine = begin(mechanism, user, secret, NONCE)
    for challenge in challenges:
        try:
            assert isinstance(machine.answer(challenge), bytes)
        except SaslError:
            break


@given(st.text(max_size=600))
def test_whatever_stands_in_a_334_it_is_octets_or_a_reason(written):
    with contextlib.suppress(SaslError):
        assert sasl.challenge(written) == base64.b64decode(written)
