"""The secret by which a browser is let in where others can reach the web server."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.filesystem import PRIVATE_FILE, replacing

LOGIN_PATH = "/login"
LOGIN_FILE = "login_token"
_LENGTH = 32


def login_token(home: Path) -> str:
    """The secret in ``home/login_token``, made where there is none; whoever deletes the file logs everybody out.

    Raises:
        SettingsError: The file is another user's, or others can read it.
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
        raise SettingsError(f"'{path}' can't be read: {error}", hint="delete it, and a new one is made") from error
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077 or len(token) < _LENGTH:
        raise SettingsError(f"'{path}' is not a secret of yours alone", hint="delete it, and a new one is made")
    return token
