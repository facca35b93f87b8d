"""An HTTP client for untrusted servers: responses are bounded in time and in size, before and after decompression."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import CancelledError
from functools import cache

import httpx

from dobby_dagster.domain.addresses import is_loopback
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.http_reply import LongAnswerError, NoAnswerError, Reply, decompressed

LARGEST_ANSWER = 8_000_000
_CLOSING_SECONDS = 30.0


@cache
def _certificates() -> ssl.SSLContext:
    """The trusted certificates, by the environment; loaded once, since that takes longer than a request."""
    return httpx.create_ssl_context()


class HttpClient:
    """Sends requests to one server; thread-safe.

    Requests run in their own event loop, so that each ends by its deadline, however slowly the server sends. A server
    on this machine is reached without the proxy of ``HTTP_PROXY``; redirects are not followed.

    Args:
        url: The server's base URL.
        headers: Sent with each request.
        timeout_seconds: For a whole request, including the connection.
        connections: Maximum number of concurrent requests.
        largest: Maximum size of a body in bytes, before and after decompression.

    Raises:
        SettingsError: A proxy of the environment can't be used.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        timeout_seconds: float,
        connections: int,
        largest: int = LARGEST_ANSWER,
    ) -> None:
        self.url = url
        self._timeout = timeout_seconds
        self._largest = largest
        try:
            self._client = httpx.AsyncClient(
                # Uncompressed responses need no decompression, which a hostile server could abuse.
                headers={"accept-encoding": "identity", **headers},
                timeout=httpx.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds), pool=None),
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
                follow_redirects=False,
                trust_env=not is_loopback(url),
                verify=_certificates(),
            )
        except (ValueError, ImportError, OSError) as error:
            raise SettingsError(
                f"can't connect to {url}: {error}", hint="see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE"
            ) from None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=(self._loop,), name="dobby-http", daemon=True).start()
        # The thread and the loop hold no reference to this object, so that its finalizer can end them.
        self._end = weakref.finalize(self, _stop, self._loop, self._client)

    def request(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Send one request and wait for the complete response.

        Raises:
            NoAnswerError: There was none in time, or the client was closed.
            BadAnswerError: It is too large, which is a LongAnswerError, or its encoding is broken.
        """
        if not self._end.alive:
            raise NoAnswerError("the client is closed")
        sending = asyncio.run_coroutine_threadsafe(self._send(method, path, body), self._loop)
        try:
            # The request has its own deadline; this one applies if the client is closed at the same moment.
            return sending.result(self._timeout + _CLOSING_SECONDS)
        except (CancelledError, TimeoutError):
            raise NoAnswerError("the client was closed") from None
        except BaseException:  # the waiting thread was interrupted: so is the request
            sending.cancel()
            raise

    def close(self) -> None:
        """Cancel requests in progress and close the connections."""
        self._end()

    async def _send(self, method: str, path: str, body: bytes | None) -> Reply:
        kind = {"content-type": "application/json"} if body is not None else {}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream(method, self.url + path, content=body, headers=kind) as response,
            ):
                raw = bytearray()
                async for part in response.aiter_raw():
                    raw += part
                    if len(raw) > self._largest:
                        raise LongAnswerError(f"its answer is longer than {self._largest:,} bytes")
                return Reply(
                    response.status_code,
                    dict(response.headers),
                    decompressed(bytes(raw), response.headers, self._largest),
                )
        except TimeoutError:
            raise NoAnswerError(f"no complete response within {self._timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise NoAnswerError(_reason(error)) from None


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _stop(loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient) -> None:
    async def stop() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await client.aclose()
        loop.stop()

    asyncio.run_coroutine_threadsafe(stop(), loop)


def _reason(error: BaseException) -> str:
    """The operating system's reason, which is the innermost cause, if there is one."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, BaseExceptionGroup):
            at = at.exceptions[0]
        if isinstance(at, OSError) and at.strerror and at.errno is not None:
            return os.strerror(at.errno) if at.errno > 0 else at.strerror  # negative: from name resolution
        at = at.__cause__ or at.__context__
    return str(error) or type(error).__name__
