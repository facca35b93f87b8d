"""The secret that a browser logs in with, if others can reach the web server."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from dobby_dagster.domain.atomic_file import replacing
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.filesystem import PRIVATE_FILE

LOGIN_PATH = "/login"
LOGIN_FILE = "login_token"
_LENGTH = 32


def login_token(home: Path) -> str:
    """The secret in ``home/login_token``, created if it is missing; deleting the file logs everybody out.

    Raises:
        SettingsError: The file can't be read, belongs to another user, or others can read it.
        StoreAccessError: It can't be written.
    """
    path = home / LOGIN_FILE
    if not path.exists():
        with replacing(path, mode=PRIVATE_FILE) as draft:
            draft.write_text(secrets.token_urlsafe(_LENGTH))
    try:
        found = os.lstat(path)
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"'{path}' can't be read: {error}", hint="delete it; a new one is created") from error
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077 or len(token) < _LENGTH:
        raise SettingsError(
            f"'{path}' must be a regular file that only you can read", hint="delete it; a new one is created"
        )
    return token
