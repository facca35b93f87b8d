"""What the monitor of a running system answers."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


class MonitorClient:
    """A client of the monitor at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def of_home(cls, home: Path) -> MonitorClient:
        """Of the ``dobby dev`` that serves ``home``."""
        return cls(json.loads((home / "served.json").read_text())["monitor"])

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and body."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def parts(self, path: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Status and parts of /health or /ready."""
        status, body = self.get(path)
        return status, json.loads(body)["parts"]

    def wait_until_failing(self, path: str, part: str, seconds: float = 15) -> str:
        """Until ``part`` fails, with 503; its message."""
        status, parts = self._wait(lambda status, parts: parts.get(part, {}).get("ok") is False, path, seconds)
        assert status == 503, parts
        return str(parts[part]["message"])

    def wait_until_ok(self, path: str, seconds: float = 60) -> None:
        """Until all is well again."""
        self._wait(lambda status, parts: status == 200, path, seconds)

    def _wait(self, condition: Any, path: str, seconds: float) -> tuple[int, dict[str, Any]]:
        deadline = time.monotonic() + seconds
        while True:
            found = self.parts(path)
            if condition(*found):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
