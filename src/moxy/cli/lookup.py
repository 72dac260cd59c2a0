"""`moxy lookup ADDRESS`: where would mail for this address go? The server's own tables answer.

Exit status: 0, there is a route; 1, there is none; 2, a mistake in what was asked or in the configuration, or a table
that cannot tell now.

Bugs: it reads the tables as they are now; a server that keeps an older version, because the new one has mistakes,
answers by that.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

import click

from moxy.cli.arguments import checked
from moxy.config.kinds import Foreign
from moxy.config.load import find_config, load
from moxy.config.schema import Config
from moxy.config.security import Security, usable
from moxy.errors import MoxyError
from moxy.mail.route import Route
from moxy.process.tables import build_relay, named_tables
from moxy.routes import RouteTable
from moxy.routes.dbm import DbmTable
from moxy.routes.file import FileTable
from moxy.routes.static import StaticTable
from moxy.smtp.address import ForwardPath

IDENTITIES: Final = {
    "none": "none: not even the trace field names the client",
    "header": "header: the trace field names the client",
    "xforward": "xforward: XFORWARD with each message, and the trace field",
    "xclient": "xclient: XCLIENT, on a connection for each client",
    "proxy-v1": "proxy-v1: a PROXY header, on a connection for each client",
    "proxy-v2": "proxy-v2: a PROXY header, on a connection for each client",
    "helo": "helo: EHLO in the client's name, on a connection for each client",
}
"""How a destination hears who the client is, in words."""


class Finding(NamedTuple):
    """A route, where it comes from, and which entry there matched."""

    route: Route
    source: str
    entry: str


def _forward_path(text: str) -> ForwardPath:
    """An address; or a domain, which stands for its postmaster."""
    return ForwardPath.parse(f"postmaster@{text}" if "." in text and "@" not in text else text, utf8=True)


def _client_address(text: str) -> str:
    try:
        return text and str(ip_address(text))
    except ValueError:
        raise ValueError("expected an IP address without brackets") from None


@click.command("lookup", short_help="Show where mail for ADDRESS goes, and why.")
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="Configuration file to use.")
@click.option(
    "--client", default="", metavar="IP", callback=checked(_client_address), help="Ask for a client at this address."
)
@click.argument("address", callback=checked(_forward_path))
@click.pass_context
def lookup(context: click.Context, file: Path | None, client: str, address: ForwardPath) -> None:
    """Show where mail for ADDRESS, or for the postmaster of a domain, goes, and which entry of which table says so.

    A client that may relay (--client) also reaches domains that no table knows.
    """
    try:
        config = load(file or find_config())
        asked = ForwardPath.parse(config.postmaster, utf8=True) if address.is_postmaster else address
        finding = find(config, asked, client)
    except MoxyError as error:
        click.echo(str(error), err=True)
        context.exit(2)
    click.echo(f"address   {address}" if asked is address else f"address   {address}, which is {asked} here")
    if finding is None:
        click.echo("no route: 550 5.7.1 relaying denied")
        context.exit(1)
    for line in describe(finding, config):
        click.echo(line)
    click.echo(f"identity  {IDENTITIES[config.connection_settings(finding.route.settings).identity]}")


def find(config: Config, path: ForwardPath, client: str) -> Finding | None:
    """What the server would find for `path`, asked by the client at the address `client` ("": one that may not relay).

    Raises ConfigError for tables that cannot be used, TemporaryFailure for one that cannot tell now.
    """
    for name, table in named_tables(config).items():
        match = _match(table, path)
        if match is not None:
            entry, route = match
            section = config.routes[name]
            source = section.kind if isinstance(section, Foreign) else table
            return Finding(route, f"{name}, {source}", entry)
    relay = build_relay(config).route_for(client)
    return Finding(relay, f"none; relayed for the client {client}", "none") if relay is not None else None


def _match(table: RouteTable, path: ForwardPath) -> tuple[str, Route] | None:
    """The entry and the route; a table of another package may know how to answer, but not by which entry."""
    if isinstance(table, FileTable | DbmTable | StaticTable):
        return table.match(path)
    route = asyncio.run(table.lookup(path))
    return None if route is None else ("unknown", route)


def describe(finding: Finding, config: Config) -> list[str]:
    """The lines that tell a finding to people."""
    route = finding.route
    local = all(host.local for host in route.hosts)
    return [
        f"table     {finding.source}",
        f"entry     {finding.entry}",
        f"mode      {route.mode}",
        f"hosts     {', '.join(str(host) for host in route.hosts)}",
        *([f"copies    {', '.join(str(host) for host in route.best_effort)}"] if route.best_effort else []),
        f"settings  {f'[destination.{route.settings}]' if route.settings else '[delivery]'}",
        f"security  {security(config.connection_settings(route.settings), local=local)}",
    ]


def security(section: Security, *, local: bool) -> str:
    """How connections are encrypted and who we are on them; `local`: all are to Unix sockets."""
    return _encryption(section, local=local) + _login(section, local=local)


def _encryption(section: Security, *, local: bool) -> str:
    if local or section.tls == "none":
        return "in clear, on a Unix socket" if local else "in clear"
    begins = "TLS from the first octet" if section.tls_implicit else "TLS"
    if section.tls == "verified":
        pinned = " and a fingerprint" if section.tls_fingerprints else ""
        whom = f", for {section.tls_name}" if section.tls_name else ""
        return f"{begins}, verified by {section.tls_ca or 'the authorities of the system'}{pinned}{whom}"
    if section.tls == "required" or section.tls_implicit:
        return f"{begins}, required, {'verified by fingerprint' if section.tls_fingerprints else 'not verified'}"
    return f"{begins} where it is offered, not verified"


def _login(section: Security, *, local: bool) -> str:
    if not section.auth_user:
        return ""
    return f"; AUTH as {section.auth_user} by {', '.join(usable(section, local=local)) or 'nothing that is safe here'}"
