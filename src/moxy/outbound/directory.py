"""SmtpDirectory: from a route to its destinations; routes that name the same hosts share pools and connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moxy.mail import Host, Mode, Route
from moxy.outbound.destination import Settings, SmtpDestination
from moxy.outbound.pool import Pool
from moxy.outbound.upstream import Ground


class SmtpDirectory:
    """Every destination in use. `named` are the settings of `[destination.NAME]`, `defaults` those of all others."""

    def __init__(self, ground: Ground, defaults: Settings, named: Mapping[str, Settings] | None = None) -> None:
        self._ground = ground
        self._defaults = defaults
        self._named = dict(named or {})
        self._destinations: dict[str, SmtpDestination] = {}
        self._pools: dict[tuple[Settings, str], Pool] = {}
        self._by_route: dict[str, tuple[SmtpDestination, ...]] = {}

    def destinations(self, route: Route) -> Sequence[SmtpDestination]:
        """One destination for each host in mode `all`, otherwise one for all of them."""
        found = self._by_route.get(route.key)
        if found is None:
            groups = [(host,) for host in route.hosts] if route.mode is Mode.ALL else [route.hosts]
            settings = self._named.get(route.settings, self._defaults)
            found = tuple(dict.fromkeys(self._destination(route.mode, hosts, settings) for hosts in groups))
            self._by_route[route.key] = found
        return found

    def _destination(self, mode: Mode, hosts: tuple[Host, ...], settings: Settings) -> SmtpDestination:
        name = ",".join(str(host) for host in hosts)
        shares = ",".join(str(host.weight) for host in hosts)
        key = f"{settings}|{name}" if len(hosts) == 1 else f"{settings}|{mode}|{name}|{shares}"
        destination = self._destinations.get(key)
        if destination is None:
            pools = [self._pool(host, settings) for host in hosts]
            destination = SmtpDestination(name, mode, pools, settings, self._ground)
            self._destinations[key] = destination
        return destination

    def _pool(self, host: Host, settings: Settings) -> Pool:
        key = (settings, str(host))
        pool = self._pools.get(key)
        if pool is None:
            pool = Pool(host, self._ground, limit=settings.connections, transactions=settings.transactions)
            self._pools[key] = pool
        return pool

    def forget_unused(self) -> None:
        """Let go of what has no connection: a host may have millions of domains, of which few get mail now."""
        for key in [key for key, found in self._by_route.items() if all(destination.unused for destination in found)]:
            del self._by_route[key]
        for name in [name for name, destination in self._destinations.items() if destination.unused]:
            del self._destinations[name]
        known = {pool for destination in self._destinations.values() for pool in destination.pools}
        for pool_key in [pool_key for pool_key, pool in self._pools.items() if pool not in known]:
            del self._pools[pool_key]

    def close(self) -> None:
        """Say QUIT on every idle connection."""
        for pool in self._pools.values():
            pool.close()
