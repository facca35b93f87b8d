"""A real ``cozo server``, named by ``DOBBY_TEST_COZO_SERVER``, and its token by ``DOBBY_TEST_COZO_SERVER_AUTH``.

The store's contract suite and the tests of the HTTP interface run against it too. It must be empty: a server that holds
any relation is refused, and nothing in it is touched. What the tests leave in it is removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

# Read before the tests begin: each of them starts without Dobby's variables.
URL = os.environ.get("DOBBY_TEST_COZO_SERVER", "")
TOKEN = os.environ.get("DOBBY_TEST_COZO_SERVER_AUTH", "")
needs_real_server = pytest.mark.skipif(not URL, reason="DOBBY_TEST_COZO_SERVER names no real Cozo server")


def _rows(script: str) -> list[list[Any]]:
    body = {"script": script, "params": {}}
    answer = httpx.post(f"{URL}/text-query", json=body, headers={"x-cozo-auth": TOKEN}, timeout=60).json()
    assert answer["ok"], answer
    return list(answer["rows"])


def _relations() -> list[str]:
    return sorted(str(row[0]) for row in _rows("::relations") if ":" not in str(row[0]))


@contextmanager
def empty_real_server() -> Iterator[str]:
    """The server's URL; at the end of the block it is empty again."""
    if held := _relations():
        pytest.fail(f"{URL} holds {', '.join(held[:3])}…: tests need a server without any relation", pytrace=False)
    try:
        yield URL
    finally:
        for name in _relations():
            for index, *_ in _rows(f"::indices {name}"):
                _rows(f"::index drop {name}:{index}")
            _rows(f"::remove {name}")
