"""SmtpDirectory: from a route to its destinations; routes that name the same hosts share pools and connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moxy.mail import Host, Mode, Route
from moxy.outbound.destination import SmtpDestination
from moxy.outbound.ground import Ground
from moxy.outbound.pool import Pool
from moxy.outbound.settings import Settings


class SmtpDirectory:
    """Every destination in use. `named` are the settings of `[destination.NAME]`, `defaults` those of all others."""

    def __init__(self, ground: Ground, defaults: Settings, named: Mapping[str, Settings] | None = None) -> None:
        self._ground = ground
        self._defaults = defaults
        self._named = dict(named or {})
        self._destinations: dict[tuple[str | Settings, ...], SmtpDestination] = {}
        self._pools: dict[tuple[Settings, str], Pool] = {}
        self._by_route: dict[str, tuple[SmtpDestination, ...]] = {}
        self._copies_by_route: dict[str, tuple[SmtpDestination, ...]] = {}

    def destinations(self, route: Route) -> Sequence[SmtpDestination]:
        """One destination for each host in mode `all`, otherwise one for all of them."""
        found = self._by_route.get(route.key)
        if found is None:
            groups = [(host,) for host in route.hosts] if route.mode is Mode.ALL else [route.hosts]
            settings = self._settings(route)
            found = tuple(dict.fromkeys(self._destination(route.mode, hosts, settings) for hosts in groups))
            self._by_route[route.key] = found
        return found

    def copies(self, route: Route) -> Sequence[SmtpDestination]:
        """One for each host that the route names as `best_effort`.

        They share pools with the destinations of other routes, but never a delivery: nobody may depend on it.
        """
        if not route.best_effort:
            return ()
        found = self._copies_by_route.get(route.key)
        if found is None:
            settings = self._settings(route)
            found = tuple([self._destination(Mode.ALL, (host,), settings, "copy|") for host in route.best_effort])
            self._copies_by_route[route.key] = found
        return found

    def _settings(self, route: Route) -> Settings:
        return self._named.get(route.settings, self._defaults)

    def _destination(
        self, mode: Mode, hosts: tuple[Host, ...], settings: Settings, purpose: str = ""
    ) -> SmtpDestination:
        name = ",".join(str(host) for host in hosts)
        shares = ",".join(str(host.weight) for host in hosts)
        key = (settings, purpose, name) if len(hosts) == 1 else (settings, mode, name, shares)
        destination = self._destinations.get(key)
        if destination is None:
            pools = [self._pool(host, settings, decides=not purpose) for host in hosts]
            destination = SmtpDestination(name, mode, pools, settings, self._ground)
            self._destinations[key] = destination
        return destination

    def _pool(self, host: Host, settings: Settings, *, decides: bool) -> Pool:
        key = (settings, str(host))
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(host, self._ground, settings)
            pool.decides = decides
        pool.decides |= decides
        return pool

    def forget_unused(self) -> None:
        """Let go of what is not used: a host may have millions of domains, of which few get mail now."""
        for known_routes in (self._by_route, self._copies_by_route):
            for key in [key for key, found in known_routes.items() if all(place.unused for place in found)]:
                del known_routes[key]
        for unused in [key for key, destination in self._destinations.items() if destination.unused]:
            del self._destinations[unused]
        known = {pool for destination in self._destinations.values() for pool in destination.pools}
        for pool_key in [pool_key for pool_key, pool in self._pools.items() if pool not in known]:
            del self._pools[pool_key]

    def close(self) -> None:
        """Say QUIT on every idle connection."""
        for pool in self._pools.values():
            pool.close()
