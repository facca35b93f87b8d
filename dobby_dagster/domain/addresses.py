"""URLs of servers: how they are validated, compared and shown without credentials."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import SecretStr

from dobby_dagster.domain.secrets import MASK

_PORTS = {"http": 80, "https": 443}


def web_address(url: str, *, query: bool = False) -> str:
    """``url`` without trailing slashes.

    Args:
        url: ``http(s)://HOST[:PORT][/PATH]``.
        query: Allow a query, as webhooks have.

    Raises:
        ValueError: It is not such a URL; the message shows no part of it, since it may hold a secret.
    """
    if not url.isprintable() or " " in url:
        raise ValueError("must be a URL without spaces and control characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL with a valid host and port (0 to 65535)") from None
    if parts.scheme not in _PORTS or not host:
        raise ValueError("must be an http:// or https:// URL with a host")
    if not query and ("?" in url or "#" in url):
        raise ValueError("must have no query and no fragment; a key belongs in its own setting")
    return url if query else url.rstrip("/")


def move_credentials(values: Any) -> Any:
    """The settings of a section, with ``USER:PASSWORD@`` moved from its ``url`` to its ``credentials``.

    A malformed URL is left unchanged, for the validation of the field to reject.
    """
    url = values.get("url") if isinstance(values, dict) else None
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        return values
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return values
    inside, at, host = parts.netloc.rpartition("@")
    if not at:
        return values
    user, _, password = inside.partition(":")
    found = SecretStr(f"{unquote(user)}:{unquote(password)}")
    clean = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
    return values | {"url": clean, "credentials": values.get("credentials") or found}


def same_address(one: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host, port and path.

    >>> same_address("http://Host/v1/", "http://host:80/v1"), same_address("http://host/v1", "https://host/v1")
    (True, False)
    """
    return _place(one) == _place(other)


def is_loopback(url: str) -> bool:
    """Whether ``url`` is on this machine, and so is reached without a proxy.

    >>> is_loopback("http://localhost:1/v1"), is_loopback("http://[::1]:1"), is_loopback("http://example.com")
    (True, True, False)
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def mask_credentials(url: str) -> str:
    """``url`` with user, password and query masked, also if it is malformed.

    >>> mask_credentials("https://user:pass/word@host:1/a?key=1"), mask_credentials("https://host/a@b")
    ('https://***@host:1/a?***', 'https://host/a@b')
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return MASK if "@" in url else url
    rest, *hidden = rest.split("?", 1)
    try:
        parts = urlsplit(url)
        _ = parts.port
        plain = "@" not in parts.netloc and not parts.fragment and not hidden
    except ValueError:
        plain = False
    shown = rest if plain or "@" not in rest else f"{MASK}@{rest.rpartition('@')[2]}"
    return f"{scheme}://{shown}{f'?{MASK}' if hidden else ''}"


def _place(url: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme), parts.path.rstrip("/")
