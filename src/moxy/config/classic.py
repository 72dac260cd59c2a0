"""The original's format: `moxy.conf`, lines of `directive value`, mapped to the keys of the schema.

A value ends at the end of its line or at a `#` behind white space; one that begins with a quote, double or single, ends
at the next such quote, and nothing inside it is special. Directive names may be written in any case. `listen`,
`hostname`, `pid_file`, `spread`, `workers`, `operator_level`, `ledger` and `ledger_hours` are ours; everything else is
the original's. Directives that another choice makes idle (`nodb_dest` under `dbtype file`) may stay.

Rules: a value is checked by the schema wherever the schema can; here only what the mapping itself needs. Tables have
mode `all`, as in the original.

Bugs: whether the original knew escapes in quotes is not documented; here it has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any, Final

from moxy.config.parsed import KeyPath, Parsed
from moxy.config.values import shown
from moxy.errors import Problem
from moxy.mail.route import UNIX
from moxy.routes.wording import nearest


@dataclass(frozen=True, slots=True)
class Directive:
    """One word of `moxy.conf`: the schema's key that takes its value, and what it says."""

    name: str
    path: KeyPath
    meaning: str


DIRECTIVES: Final = (
    Directive(
        "listen",
        ("listener", "mx", "listen"),
        "Addresses, and `unix:` paths, to listen on, with commas. Default: every interface.",
    ),
    Directive("port", ("listener", "mx", "listen"), "The port to listen on. Default: 25."),
    Directive("hostname", ("hostname",), "The name Moxy gives itself. Default: the machine's own."),
    Directive("banner", ("banner",), "What follows the host name in the greeting."),
    Directive("runas", ("runas",), "The user that Moxy becomes once its port is open."),
    Directive(
        "allowRelayFrom", ("relay", "allow_from"), "Clients that may send anywhere, with commas; `*` is any octet."
    ),
    Directive("sendRelayTo", ("relay", "send_to"), "Servers that take such mail, `host:port` with commas, in order."),
    Directive("pid_file", ("pid_file",), "The file that holds the process number. Default: none."),
    Directive("spread", ("spread",), "Recipients of several destinations: `fan-out` or `first`. Default: fan-out."),
    Directive("workers", ("workers",), "Processes that serve clients. Default: 1."),
    Directive(
        "operator_level",
        ("operator_log", "level"),
        "What Moxy tells of itself: `debug`, `info`, `warning` or `error`. Default: info.",
    ),
    Directive("dbtype", ("routes", "db", "kind"), "The kind of table: `file` (default), `dbm`, `nodb`."),
    Directive("dbname", ("routes", "db", "path"), "The table's file, for `dbtype file` and `dbtype dbm`."),
    Directive(
        "nodb_dest", ("routes", "db", "hosts"), "The servers for everyone, `host:port` with commas, for `dbtype nodb`."
    ),
    Directive(
        "logtype",
        ("log", "log", "kind"),
        "The kind of log: `nolog` (default), `filelog`, `syslog`, `gdbmlog`, `sys_and_gdbmlog`.",
    ),
    Directive(
        "logfile_name",
        ("log", "log", "path"),
        "The log's file, for `logtype filelog`; for `gdbmlog` and `sys_and_gdbmlog`, the GNU dbm file of totals.",
    ),
    Directive("log_format", ("log", "log", "format"), "The line of `filelog`, `syslog` and `sys_and_gdbmlog`."),
    Directive(
        "ledger",
        ("ledger", "path"),
        "The file that remembers who has which message. Default: in systemd's StateDirectory, else a temporary one.",
    ),
    Directive("ledger_hours", ("ledger", "hours"), "How long it does. Default: 72; 0: not at all."),
    Directive("log_dateformat", ("log", "log", "date_format"), "How `%date` is written, in the letters of strftime."),
)

_BY_NAME: Final = {directive.name.lower(): directive for directive in DIRECTIVES}
_LISTS: Final = frozenset({"allowRelayFrom", "sendRelayTo", "nodb_dest"})
_NUMBERS: Final = frozenset({"workers", "ledger_hours"})
_TABLE_KEYS: Final = {"nodb": ("nodb_dest",)}
_OTHER_TABLES: Final = ("dbname",)
"""The directives of `file` and `dbm`, and of kinds that other packages bring."""
_LINE_KEYS: Final = ("log_format", "log_dateformat")
_LOG_KEYS: Final = {
    "nolog": (),
    "filelog": ("logfile_name", *_LINE_KEYS),
    "syslog": _LINE_KEYS,
    "sys_and_gdbmlog": ("logfile_name", *_LINE_KEYS),
}
_OTHER_LOGS: Final = ("logfile_name",)
"""The directive of `gdbmlog`, and of kinds that other packages bring."""

_STATEMENT = re.compile(r"(?P<name>\S+)(?:\s+(?P<rest>.*))?", re.DOTALL)
_QUOTED = re.compile(r"""(?P<quote>["'])(?P<text>(?:(?!(?P=quote)).)*)(?P=quote)\s*(?:\#.*)?""", re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s)#.*", re.DOTALL)
_PORT = re.compile(r"[0-9]{1,5}")
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class _Setting:
    line: int
    value: str


def parse(text: str, file: str) -> Parsed:
    """Read a `moxy.conf`. Never raises: mistakes go into `problems`, the rest of the file is still worth checking."""
    return _Reader(file).read(text)


class _Reader:
    """One file in the making."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._settings: dict[str, _Setting] = {}
        self._problems: list[Problem] = []

    def read(self, text: str) -> Parsed:
        for number, line in enumerate(text.split("\n"), start=1):
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                self._read_statement(number, stripped)
        return Parsed(self._data(), self._place, self._problems)

    def _read_statement(self, line: int, statement: str) -> None:
        match = _STATEMENT.fullmatch(statement)
        assert match is not None  # noqa: S101 (a stripped line that is not empty has a first word)
        directive = _BY_NAME.get(match["name"].lower())
        if directive is None:
            suggestion = nearest(match["name"], (known.name for known in DIRECTIVES))
            self._complain(line, shown(match["name"])[1:-1], f"unknown directive {shown(match['name'])}{suggestion}")
        elif directive.name in self._settings:
            self._complain(line, directive.name, f"already set on line {self._settings[directive.name].line}")
        else:
            value = self._value(line, directive.name, match["rest"] or "")
            # Kept even if it is wrong, so that the directive does not count as missing as well.
            self._settings[directive.name] = _Setting(line, value)

    def _value(self, line: int, name: str, rest: str) -> str:
        if not rest.startswith(("'", '"')):
            value = _COMMENT.sub("", rest).strip()
            if not value:
                self._complain(line, name, "a value is missing")
            return value
        quoted = _QUOTED.fullmatch(rest)
        if quoted is None:
            self._complain(line, name, f"expected one value in quotes and nothing behind it, not {shown(rest)}")
            return ""
        return quoted["text"]

    def _data(self) -> dict[str, Any]:
        """The file's settings in the shape of the schema."""
        data: dict[str, Any] = {}
        chosen = [directive.name for directive in DIRECTIVES if directive.path[0] not in ("listener", "routes", "log")]
        chosen += _TABLE_KEYS.get(self._word("dbtype", "file"), _OTHER_TABLES)
        chosen += _LOG_KEYS.get(self._word("logtype", "nolog"), _OTHER_LOGS)
        for name in chosen:
            if name in self._settings:
                self._put(data, name, self._settings[name].value)
        data.setdefault("routes", {}).setdefault("db", {})["kind"] = self._word("dbtype", "file")
        data.setdefault("log", {}).setdefault("log", {})["kind"] = self._word("logtype", "nolog")
        data["listener"] = {"mx": {"listen": self._endpoints()}}
        return data

    def _put(self, data: dict[str, Any], name: str, value: str) -> None:
        *sections, key = _BY_NAME[name.lower()].path
        for section in sections:
            data = data.setdefault(str(section), {})
        if name in _NUMBERS and _NUMBER.fullmatch(value):
            data[str(key)] = int(value)
        else:
            data[str(key)] = _split(value) if name in _LISTS else value

    def _word(self, name: str, default: str) -> str:
        """The value of a directive that is one of a few words; in any case, like the names."""
        return self._settings[name].value.lower() if name in self._settings else default

    def _endpoints(self) -> list[str]:
        """`listen` and `port` together, as the schema's `listen` wants them."""
        port = self._port()
        if "listen" not in self._settings:
            return [f"0.0.0.0:{port}", f"[::]:{port}"]
        addresses = [address.strip("[]") for address in _split(self._settings["listen"].value)]
        for address in addresses:
            if ":" in address and not _is_ipv6(address) and not address.startswith(UNIX):
                message = f"expected an address alone, its port is set by `port`; not {shown(address)}"
                self._complain(self._settings["listen"].line, "listen", message)
                return [f"0.0.0.0:{port}"]
        return [_endpoint(address, port) for address in addresses]

    def _port(self) -> int:
        if "port" not in self._settings:
            return 25
        setting = self._settings["port"]
        if _PORT.fullmatch(setting.value) and int(setting.value) < 65536:
            return int(setting.value)
        if setting.value:
            self._complain(setting.line, "port", f"expected a port from 0 to 65535, not {shown(setting.value)}")
        return 25

    def _place(self, path: KeyPath) -> tuple[str, int]:
        """The directive that gave the value at `path`; if none did, the one that could, at a line that speaks of the
        same.
        """
        candidates = [
            directive.name for directive in DIRECTIVES if directive.path[: len(path)] == path[: len(directive.path)]
        ]
        given = [name for name in candidates if name in self._settings]
        related = [
            self._settings[directive.name].line
            for directive in DIRECTIVES
            if directive.path[:1] == path[:1] and directive.name in self._settings
        ]
        name = (given or candidates)[0]
        return name, self._settings[name].line if given else min(related, default=0)

    def _complain(self, line: int, key: str, message: str) -> None:
        self._problems.append(Problem(self._file, line, key, message))


def _split(value: str) -> list[str]:
    """The entries of a list with commas; empty ones, as a trailing comma makes, do not count."""
    return [entry.strip() for entry in value.split(",") if entry.strip()]


def _endpoint(address: str, port: int) -> str:
    if address.startswith(UNIX):
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
