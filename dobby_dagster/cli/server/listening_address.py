"""The addresses at which the web server listens, and the host names that requests may use."""

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


def listen(host: str, port: int, options: tuple[str, str] = ("--host", "--port")) -> list[socket.socket]:
    """Open sockets that listen at every address of ``host``.

    Args:
        host: A name or an address; ``0.0.0.0`` and ``::`` are every address of this machine.
        port: 0 for any free one, else up to 65535.
        options: How both are named in an error.

    Raises:
        SettingsError: ``host`` is empty or unknown, or ``port`` is out of range or in use.
    """
    if not host.strip():
        raise SettingsError(f"{options[0]} is empty", hint="127.0.0.1 is this machine only, 0.0.0.0 every address")
    if not 0 <= port <= 65_535:
        raise SettingsError(f"{options[1]} {port} is out of range", hint="from 1 to 65535, or 0 for any free port")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"{options[0]} '{host}' is unknown: {reason}", hint="name an address of this machine"
        ) from error
    opened: list[socket.socket] = []
    failures: list[OSError] = []
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            shared_port = opened[0].getsockname()[1] if opened else port
            opened.append(_listening(family, (address[0], shared_port, *address[2:])))
        except OSError as error:
            failures.append(error)
    # One address of a name may be of a family that this machine does not use; any other failure is an error.
    if failures and (not opened or any(error.errno not in _UNUSED_FAMILY for error in failures)):
        for one in opened:
            one.close()
        raise SettingsError(
            f"{host}:{port} can't be listened on: {failures[0].strerror}", hint=f"see {options[0]} and {options[1]}"
        )
    return opened


def require_token(sockets: Iterable[socket.socket], listening: str, setting: str, hint: str) -> None:
    """Close ``sockets``, for which no token is set, where others than this machine can reach them.

    Args:
        sockets: Listening.
        listening: How the address is named in the error.
        setting: The token's.
        hint: What to do about it.

    Raises:
        SettingsError: They can.
    """
    sockets = list(sockets)
    if Names.of((str(one.getsockname()[0]) for one in sockets), ()).loopback:
        return
    for one in sockets:
        one.close()
    raise SettingsError(f"{listening} can be reached by others, and {setting} is not set", hint=hint)


def url_of(host: str, listening: socket.socket) -> str:
    """The URL of a server that listens at ``host``."""
    port = listening.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def own_url(listening: socket.socket) -> str:
    """The URL at which another process of this machine reaches the server."""
    address = str(listening.getsockname()[0])
    return url_of({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address), listening)  # noqa: S104


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
    """The host names that a request may use.

    An address as such is safe: only a name can be pointed at another machine's address (DNS rebinding).

    Attributes:
        loopback: Only this machine can reach the server, so that only loopback addresses are accepted.
        known: Host names, in lower case.
    """

    loopback: bool
    known: frozenset[str]

    @classmethod
    def of(cls, addresses: Iterable[str], named: Iterable[str]) -> Names:
        """The names of a server that listens at ``addresses``, and those in ``named``.

        >>> names = Names.of(["127.0.0.1"], ["dobby.example"])
        >>> "localhost" in names, "Dobby.example" in names, "10.0.0.1" in names
        (True, True, False)
        """
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
