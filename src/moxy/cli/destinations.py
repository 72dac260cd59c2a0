"""What the keys about destinations name, as `moxy check` judges it: files and secrets that cannot be used, and who else
may get to know a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from moxy.cli.certificates import hidden
from moxy.config.load import place_of
from moxy.config.schema import Config, Delivery
from moxy.config.security import usable
from moxy.errors import Problem
from moxy.process.credentials import is_for_all
from moxy.process.destinations import KeyPath, key_path, mistakes
from moxy.smtp.sasl import PLAINTEXT


def destination_problems(config: Config, file: Path) -> Iterator[Problem]:
    """What keeps Moxy from starting, each with its key and line."""
    found = mistakes(config)
    for path, message in {**_hidden(config), **found}.items():
        word, line = place_of(path, file)
        yield Problem(str(file), line, word, message)


def _hidden(config: Config) -> dict[KeyPath, str]:
    """Files that root may read, who asks, and the user that Moxy becomes may not."""
    found = {}
    for name in ("", *config.destination):
        for key, path in _files(config.connection_settings(name)).items():
            if path.exists():
                found.update({key_path(config, name, key): message for message in hidden(path, config.runas)})
    return found


def _files(section: Delivery) -> dict[str, Path]:
    """Those that are read, by the key."""
    files = {}
    if section.tls == "verified" and section.tls_ca is not None:
        files["tls_ca"] = section.tls_ca
    if section.auth_user and section.auth_secret is not None and section.auth_secret.kind == "file":
        files["auth_secret"] = Path(section.auth_secret.where)
    return files


def doubts(config: Config) -> Iterator[str]:
    """What is allowed, and is hardly what was wanted."""
    yield from (f"delivery: {text}" for text in _dangers(config.delivery, local=False))
    for name, own in config.destination.items():
        hosts = (*own.hosts, *own.best_effort)
        local = all(host.local for host in hosts)
        found = _dangers(config.connection_settings(name), local=local)
        yield from (f"destination {name}: {text}" for text in found)
        if (own.tls in ("required", "verified") or own.tls_implicit) and any(host.local for host in hosts):
            yield f"destination {name}: a Unix socket stays without TLS"


def _dangers(section: Delivery, *, local: bool) -> Iterator[str]:
    """Who else may get to know a password; where nobody may, what that costs. `local`: all are Unix sockets."""
    if not section.auth_user or section.auth_secret is None:
        return
    if is_for_all(section.auth_secret):
        yield f"every user of this machine can read {section.auth_secret}"
    mechanisms = usable(section, local=local)
    judged = local or section.tls == "verified" or (section.tls == "required" and section.tls_fingerprints)
    if unused := [mechanism for mechanism in section.auth_mechanisms if mechanism not in mechanisms]:
        so = f"mail goes only if the server offers {' or '.join(mechanisms)}" if mechanisms else "so no mail goes"
        yield f"{' and '.join(unused)} are not used in clear; {so} (`auth_in_clear`)"
    elif not judged and not PLAINTEXT.isdisjoint(mechanisms):
        yield "whoever stands between may be told the password; `verified` for `tls`, or other mechanisms, prevent it"
