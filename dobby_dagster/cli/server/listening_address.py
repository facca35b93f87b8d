"""Where the web server listens, and the names under which it may be asked for."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from dobby_dagster.domain.errors import SettingsError

BACKLOG = 128
_UNUSED_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at every address of ``host``.

    Args:
        host: A name or an address; ``0.0.0.0`` and ``::`` are every address of this machine.
        port: From 0, for any that is free, to 65535.

    Raises:
        SettingsError: ``host`` is empty or unknown, ``port`` is no port, or another program has it.
    """
    if not host.strip():
        raise SettingsError("--host '' is no address", hint="127.0.0.1 is this machine only, 0.0.0.0 every address")
    if not 0 <= port <= 65_535:
        raise SettingsError(f"--port {port} is no port", hint="from 1 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"--host '{host}' is unknown: {reason}", hint="name an address of this machine") from error
    opened: list[socket.socket] = []
    failures: list[OSError] = []
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            same = opened[0].getsockname()[1] if opened else port
            opened.append(_listening(family, (address[0], same, *address[2:])))
        except OSError as error:
            failures.append(error)
    # A name may have an address of a family that this machine does not use; that another program has it is an error.
    if failures and (not opened or any(error.errno not in _UNUSED_FAMILY for error in failures)):
        for one in opened:
            one.close()
        raise SettingsError(f"{host}:{port} can't be listened on: {failures[0].strerror}", hint="see --host and --port")
    return opened


def _listening(family: int, address: tuple[str | int, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except BaseException:
        opened.close()
        raise
    return opened


@dataclass(frozen=True)
class Names:
    """What the Host of a request may be.

    An address as such is safe: only a name can be pointed at another machine's address (DNS rebinding).

    Attributes:
        loopback: Only this machine can reach the server, so only addresses of the loopback name it.
        known: Names, in small letters.
    """

    loopback: bool
    known: frozenset[str]

    @classmethod
    def of(cls, addresses: Iterable[str], named: Iterable[str]) -> Names:
        """For a server that listens at ``addresses`` and was given the names ``named``."""
        loopback = all(_is_loopback(address) for address in addresses)
        own = {"localhost"} if loopback else {"localhost", socket.gethostname(), socket.getfqdn()}
        return cls(loopback, frozenset(name.lower() for name in own | set(named)))

    def __contains__(self, name: str) -> bool:
        wanted = name.lower().strip("[]")
        with suppress(ValueError):
            return _is_loopback(wanted) or not self.loopback
        return wanted in self.known


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
