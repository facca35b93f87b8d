"""What paths are, who can access them, and whether they can be written."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from dobby_dagster.domain.errors import SettingsError, StoreAccessError
from dobby_dagster.domain.printable import shortened

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_HINT = "does its folder exist, and may you write to it?"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of_path(path: Path, *, follow: bool = False) -> str:
    """What ``path`` is: ``file``, ``nothing``, or a description of anything else, as ``a named pipe``.

    Args:
        path: May be missing.
        follow: Follow a symbolic link; a broken link is still a symbolic link.

    Raises:
        StoreAccessError: No permission, or a name that the file system refuses.
    """
    try:
        mode = os.lstat(path).st_mode
        if follow and stat.S_ISLNK(mode):
            with suppress(FileNotFoundError):
                mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except (OSError, ValueError) as error:
        raise access_error(path, error) from error
    return "file" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "not a regular file")


def expanded(path: str | Path) -> Path:
    """``path`` with ``~`` and ``~user`` replaced by the home folder.

    Raises:
        SettingsError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"'{path}' can't be expanded: there is no such user", hint="give the full path") from error


def require_writable(path: Path) -> str:
    """``file`` if ``path`` exists, else ``nothing``.

    Raises:
        StoreAccessError: It is anything else, or its folder is missing or can't be written.
    """
    kind = kind_of_path(path)
    if kind not in ("file", "nothing"):
        raise StoreAccessError(
            f"'{path}' is {kind}, and only a regular file can be written", hint="choose another path"
        )
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise StoreAccessError(f"'{path}' can't be written", hint=_HINT)
    return kind


def private_folder(path: Path) -> None:
    """Create the folder ``path`` for its owner only, and its parents, if they are missing.

    Raises:
        OSError: It can't be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def exposure(path: Path) -> str:
    """One line on how other users can access ``path``, and how to prevent it; empty if they can't.

    They can't if a parent folder is closed to them.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        above = [parent.stat().st_mode for parent in path.resolve().parents]
    except OSError:
        return ""
    if not mode & 0o006 or not all(parent & stat.S_IXOTH for parent in above):
        return ""
    closed = PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE
    what = "written" if mode & 0o002 else "read"
    return f"{path} can be {what} by every user of this machine (mode {mode:04o}); chmod {closed:o} {path} stops it"


def access_error(path: Path, error: OSError | ValueError) -> StoreAccessError:
    """The error for a failed operation of the operating system on ``path``."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return StoreAccessError(f"'{shortened(str(path), 200)}' can't be written: {reason}", hint=_HINT)
