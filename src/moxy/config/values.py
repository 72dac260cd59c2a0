"""The words of a configuration, read one at a time: hosts, endpoints, sizes, durations, names. Both formats use them.

Rules: a reader takes what the file held (any type, TOML has several) and returns the value, or raises ValueError with a
text that says what was expected and shows what was found. No reader knows of sections, files or lines. Hosts are
spelled as in a route table (`moxy.routes.hosts`), addresses as on the wire (`moxy.smtp.address`).

Bugs: our own host names are ASCII; an internationalised one must be written as its A-label (`xn--...`, RFC 5890).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from moxy.mail import Host
from moxy.mail.client import ClientPattern
from moxy.mail.route import UNIX, host_port
from moxy.routes import hosts, wording
from moxy.smtp.address import AddressError, ForwardPath, parse_hello

EXPECTED_HOST = "a host and its port (`mail.example.org:25`, `192.0.2.1:2525`, `[2001:db8::1]:25`), or `unix:/path`"
EXPECTED_ENDPOINT = (
    "an address and its port (`0.0.0.0:25`, `[::]:25`, `*:25`) or `unix:` and the absolute path of a socket"
)
EXPECTED_MODE = "the octal digits of a file mode (`0660`)"
EXPECTED_SIZE = "a number of octets, or a text with kB, MB, GB, KiB, MiB or GiB (`50MiB`)"
EXPECTED_DURATION = "a number of seconds more than 0, or a text with ms, s, m, h or d (`30s`, `5m`)"
EXPECTED_FINGERPRINT = "the SHA-256 of a certificate in 64 hexadecimal digits, colons between them or not"
EXPECTED_PLACE = "`file:/path` or `env:NAME`, where the secret stands; itself it has no place in a configuration"
EXPECTED_NAME = "a name of letters, digits, `-` and `_`"

_MODE = re.compile(r"0?[0-7]{3}")
_WEIGHT = re.compile(r"(?P<place>.*)\*(?P<weight>[0-9]{1,4})", re.DOTALL)
_PORT = re.compile(r"[0-9]{1,5}")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]{1,3})")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_SECRET = re.compile(r"(file):(/[^\x00-\x1f\x7f]+)|(env):([A-Za-z_][A-Za-z0-9_]*)")
_SIZES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_DURATIONS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen: an address without brackets (`*`: every interface, both families), a port (0: any free one); or
    the path of a Unix socket, and 0.
    """

    host: str
    port: int

    @property
    def local(self) -> bool:
        """Is `host` the path of a Unix socket?"""
        return self.host.startswith("/")

    def __str__(self) -> str:
        return host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """Where a secret stands: in a `file`, or in the environment (`env`)."""

    kind: str
    where: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.where}"


def shown(value: object) -> str:
    """A value as an error message shows it: short, in back quotes, nothing in it that a terminal would obey."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 200:
        return "a huge number"  # Python does not even print the largest
    return wording.shown(str(value))


def listed(words: list[str]) -> str:
    """Words to choose from, as a sentence names them."""
    quoted = [f"`{word}`" for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def host(value: object) -> Host:
    """`host:port`, with `*weight` behind it where shares are wanted; without a port 25. Or `unix:` and a path."""
    text = _text(value, EXPECTED_HOST)
    weighted = _WEIGHT.fullmatch(text)
    place, weight = (weighted["place"], int(weighted["weight"])) if weighted else (text, 1)
    if not weight:
        raise ValueError(f"expected a weight of at least 1, not {shown(text)}")
    found = hosts.parse_host(place)
    return Host(found.name, found.port, weight)


def endpoint(value: object) -> Endpoint:
    """`address:port` to listen on, or `unix:/path`."""
    text = _text(value, EXPECTED_ENDPOINT)
    if text.startswith(f"{UNIX}/"):
        return Endpoint(hosts.parse_host(text).name, 0)
    address, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"expected {EXPECTED_ENDPOINT}, not {shown(text)}")
    return Endpoint(address if address == "*" else hosts.parse_host(address).name, int(port))


def mode(value: object) -> int:
    """The permissions of a file, in octal."""
    text = _text(value, EXPECTED_MODE)
    if not _MODE.fullmatch(text):
        raise ValueError(f"expected {EXPECTED_MODE}, not {shown(text)}")
    return int(text, 8)


def size(value: object) -> int:
    """A number of octets."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    amount, unit = _quantity(value, EXPECTED_SIZE, _SIZES)
    return int(amount * unit)


def duration(value: object) -> float:
    """A number of seconds, finite and more than 0."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Compared before converting: an integer of a hundred digits does not fit a float.
        seconds = float(value) if 0 < value < 1e12 else math.nan
    else:
        amount, unit = _quantity(value, EXPECTED_DURATION, _DURATIONS)
        seconds = amount * unit
    if not 0 < seconds < 1e12:
        raise ValueError(f"expected {EXPECTED_DURATION}, not {shown(value)}")
    return seconds


def fingerprint(value: object) -> str:
    """The fingerprint of a certificate, in lower case without colons."""
    text = _text(value, EXPECTED_FINGERPRINT)
    digits = text.replace(":", "").lower()
    if not _FINGERPRINT.fullmatch(digits):
        raise ValueError(f"expected {EXPECTED_FINGERPRINT}, not {shown(text)}")
    return digits


def secret(value: object) -> SecretPlace:
    """Where a secret stands. What was found is never shown: it may be the secret."""
    text = value.strip() if isinstance(value, str) else ""
    match = _SECRET.fullmatch(text)
    if match is None and text.startswith("file:") and not text.startswith("file:/"):
        raise ValueError('expected an absolute path behind "file:"')
    if match is None:
        raise ValueError(f"expected {EXPECTED_PLACE}")
    return SecretPlace(match[1] or match[3], match[2] or match[4])


def client(value: object) -> ClientPattern:
    """One entry of `relay.allow_from`."""
    text = _text(value, "a client address in quotes")
    try:
        return ClientPattern.parse(text)
    except ValueError as error:
        raise ValueError(f"{shown(text)}: {error}") from None


def name(value: object) -> str:
    """The name of a section, as in `[listener.NAME]`. No dots and colons, so that no destination looks like a host."""
    text = _text(value, EXPECTED_NAME)
    if not _NAME.fullmatch(text):
        raise ValueError(f"expected {EXPECTED_NAME}, not {shown(text)}")
    return text


def hostname(value: object) -> str:
    """A domain name or an address literal such as `[192.0.2.1]` (RFC 5321 §4.1.2, §4.1.3), or nothing."""
    text = _text(value, "a host name in quotes")
    try:
        return text and parse_hello(text.encode())
    except ValueError:  # AddressError, or what no octets can stand for
        example = "`mx.example.org`, `[192.0.2.1]`"
        raise ValueError(f"expected a host name or an address in brackets ({example}), not {shown(text)}") from None


def mailbox(value: object) -> str:
    """A mail address such as `postmaster@example.org`, or nothing."""
    text = _text(value, "a mail address in quotes")
    try:
        return text and ForwardPath.parse(text, utf8=True).text
    except AddressError:
        raise ValueError(f"expected a mail address (`postmaster@example.org`), not {shown(text)}") from None


def line(value: object) -> str:
    """Any text that fits on one line: no control characters but the tab."""
    if not isinstance(value, str):
        raise ValueError(f"expected a text in quotes, not {shown(value)}")
    if any(character != "\t" and not character.isprintable() for character in value):
        raise ValueError(f"expected one line without control characters, not {shown(value)}")
    return value


def format_size(octets: int) -> str:
    """The shortest spelling that `size` reads back to the same number."""
    for unit in ("GiB", "MiB", "KiB"):
        if octets and octets % _SIZES[unit.lower()] == 0:
            return f"{octets // _SIZES[unit.lower()]}{unit}"
    return str(octets)


def format_duration(seconds: float) -> str:
    """The shortest spelling that `duration` reads back to the same number."""
    for unit in ("d", "h", "m"):
        if seconds % _DURATIONS[unit] == 0:
            return f"{int(seconds / _DURATIONS[unit])}{unit}"
    return f"{int(seconds) if seconds == int(seconds) else seconds}s"


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected {expected}, not {shown(value)}")
    return value.strip()


def _quantity(value: object, expected: str, units: dict[str, int] | dict[str, float]) -> tuple[float, float]:
    match = _QUANTITY.fullmatch(_text(value, expected))
    if not match or match[2].lower() not in units:
        raise ValueError(f"expected {expected}, not {shown(value)}")
    return float(match[1]), units[match[2].lower()]
