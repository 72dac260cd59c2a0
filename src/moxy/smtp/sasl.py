"""SASL as a client: how we prove to a destination who we are, as value machines (RFC 4422, used by RFC 4954).

    machine = begin("SCRAM-SHA-256", user, secret, nonce)
    machine.initial                  # what may go with the AUTH command; None: the server speaks first
    machine.answer(challenge)        # what answers the challenge in a 334; raises SaslError
    machine.complete                 # may a 235 be believed now?

Why our own: see docs/decisions/014. Octets here are not base64 yet; that is the wire's affair.

Rules:
- Nobody sees a secret: no repr, no error text has one.
- A server may not make us compute for long: iterations are bounded, and what was computed is kept for the next time.
- With SCRAM the server proves that it knows the secret, too. A 235 without that proof is no success.

RFC 4616 (PLAIN), draft-murchison-sasl-login (LOGIN), RFC 2195 (CRAM-MD5), RFC 5802 and RFC 7677 (SCRAM-SHA-256), RFC
4013 (SASLprep).

Bugs: no channel binding, so the gs2-header says `n`: an attacker inside TLS must be kept out by a judged certificate.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol

LEAST_ITERATIONS: Final = 4096
"""Less makes the secret cheap to guess for who has listened (RFC 7677 §4)."""

MOST_ITERATIONS: Final = 100_000
"""More would let a server keep us busy: so many take 34 ms (measured), and nothing else is done meanwhile."""

CHALLENGE_OCTETS: Final = 480
"""The longest challenge, in base64. A reply keeps 490 octets of a line; those of all mechanisms here have under 300."""

PLAINTEXT: Final = frozenset({"PLAIN", "LOGIN"})
"""Mechanisms that tell the secret itself, so only to whom nobody can listen (RFC 4954 §14)."""


class SaslError(ValueError):
    """The server has said what its mechanism does not allow; the text is for the operator."""


class Machine(Protocol):
    """One exchange by one mechanism."""

    @property
    def initial(self) -> bytes | None:
        """What the client says before any challenge; None: nothing."""
        ...

    @property
    def complete(self) -> bool:
        """Has everything been said, and has the server proved what it must?"""
        ...

    def answer(self, challenge: bytes) -> bytes:
        """What answers the next challenge. Raises SaslError."""
        ...


def challenge(text: str) -> bytes:
    """The challenge in the text of a 334. Raises SaslError."""
    if len(text) > CHALLENGE_OCTETS:
        raise SaslError("the server's challenge is too long")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SaslError("the server's challenge is not in base64") from None


def response(octets: bytes) -> bytes:
    """An answer as it stands on its line."""
    return base64.b64encode(octets)


class _Said:
    """The mechanisms in which the client says certain things in turn, whatever it is asked."""

    def __init__(self, initial: bytes | None, *answers: bytes) -> None:
        self.initial = initial
        self._answers = list(answers)

    @property
    def complete(self) -> bool:
        return not self._answers

    def answer(self, challenge: bytes) -> bytes:
        del challenge
        if not self._answers:
            raise SaslError("the server asks for more than its mechanism has")
        return self._answers.pop(0)


def plain(user: str, secret: str) -> bytes:
    """RFC 4616 §2: no other identity to act for, ours, the secret."""
    return b"\0".join([b"", prepared(user).encode(), prepared(secret).encode()])


def _plain(user: str, secret: str, nonce: str) -> Machine:
    del nonce
    return _Said(plain(user, secret))


def _login(user: str, secret: str, nonce: str) -> Machine:
    """The user, then the secret; what the prompts say is not looked at, since servers differ in it."""
    del nonce
    return _Said(None, user.encode(), secret.encode())


class _CramMd5:
    """RFC 2195 §2: the keyed MD5 of what the server sent."""

    initial = None

    def __init__(self, user: str, secret: str, nonce: str) -> None:
        del nonce
        self._user = user.encode()
        self._secret = secret.encode()
        self.complete = False

    def answer(self, challenge: bytes) -> bytes:
        if self.complete or not challenge:
            raise SaslError("the server's challenge is not one of CRAM-MD5")
        self.complete = True
        return self._user + b" " + hmac.new(self._secret, challenge, "md5").hexdigest().encode()


_SERVER_FIRST: Final = re.compile(rb"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,9})(?:,.*)?", re.DOTALL)
_GS2_HEADER: Final = b"n,,"


class _ScramSha256:
    """RFC 5802 §3 with SHA-256 (RFC 7677)."""

    def __init__(self, user: str, secret: str, nonce: str) -> None:
        name = prepared(user).replace("=", "=3D").replace(",", "=2C")
        self._secret = prepared(secret)
        self._nonce = nonce.encode()
        self._first = b"n=" + name.encode() + b",r=" + self._nonce
        self._signature = b""
        self._step = self._prove
        self.initial = _GS2_HEADER + self._first
        self.complete = False

    def answer(self, challenge: bytes) -> bytes:
        return self._step(challenge)

    def _prove(self, challenge: bytes) -> bytes:
        """The server's nonce, salt and number of iterations have come."""
        match = _SERVER_FIRST.fullmatch(challenge)  # an extension that must be understood, `m=`, is none of ours
        if match is None or not match[1].startswith(self._nonce) or match[1] == self._nonce:
            raise SaslError("the server's first message is not one of SCRAM")
        iterations = int(match[3])
        if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise SaslError(
                f"the server wants {iterations} iterations; {LEAST_ITERATIONS} to {MOST_ITERATIONS} are sane"
            )
        try:
            salt = base64.b64decode(match[2], validate=True)
        except binascii.Error:
            raise SaslError("the server's salt is not in base64") from None
        salted = _salted(self._secret, salt, iterations)
        without_proof = b"c=" + base64.b64encode(_GS2_HEADER) + b",r=" + match[1]
        spoken = b",".join([self._first, challenge, without_proof])
        key = _mac(salted, b"Client Key")
        signature = _mac(hashlib.sha256(key).digest(), spoken)
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        self._signature = b"v=" + base64.b64encode(_mac(_mac(salted, b"Server Key"), spoken))
        self._step = self._believe
        return without_proof + b",p=" + base64.b64encode(proof)

    def _believe(self, challenge: bytes) -> bytes:
        """The server's proof has come, or why it does not like ours (`e=`)."""
        verifier, _, _ = challenge.partition(b",")
        if verifier.startswith(b"e="):
            raise SaslError("the server does not accept the proof of the secret")
        if not hmac.compare_digest(verifier, self._signature):
            raise SaslError("the server does not know the secret itself")
        self._step = self._say_no_more
        self.complete = True
        return b""

    @staticmethod
    def _say_no_more(challenge: bytes) -> bytes:
        del challenge
        raise SaslError("the server asks for more than its mechanism has")


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


@lru_cache(maxsize=64)
def _salted(secret: str, salt: bytes, iterations: int) -> bytes:
    """RFC 5802 §3, Hi(). Kept, as §5.1 allows: a host sends the same salt each time, and this is meant to take long."""
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, iterations)


_PROHIBITED: Final = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
    stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
    stringprep.in_table_c9,
)  # fmt: skip


def prepared(text: str) -> str:
    """A user name or secret by SASLprep (RFC 4013 §2), so that both sides mean the same octets by the same letters.

    What it prohibits stays as it is: a secret may be anything, and the server is the judge of it.
    """
    if text.isascii():
        return text
    mapped = [
        " " if stringprep.in_table_c12(letter) else letter for letter in text if not stringprep.in_table_b1(letter)
    ]
    normal = unicodedata.normalize("NFKC", "".join(mapped))
    return text if any(found(letter) for letter in normal for found in _PROHIBITED) else normal


MECHANISMS: Final[Mapping[str, Callable[[str, str, str], Machine]]] = {
    "SCRAM-SHA-256": _ScramSha256,
    "CRAM-MD5": _CramMd5,
    "PLAIN": _plain,
    "LOGIN": _login,
}
"""All mechanisms, the strongest first."""


def begin(mechanism: str, user: str, secret: str, nonce: str) -> Machine:
    """An exchange. `nonce` is printable ASCII without commas, never used before, of at least 18 random octets."""
    return MECHANISMS[mechanism](user, secret, nonce)
