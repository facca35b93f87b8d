"""Files that Dobby writes: atomically, with private permissions, and only over regular files."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dobby_dagster.domain.errors import SettingsError, StoreAccessError
from dobby_dagster.domain.printable import shortened

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_DRAFT = (".dobby-", ".part")
_OLD_DRAFT_SECONDS = 86_400.0
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
        raise _failed(path, error) from error
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


@contextmanager
def replacing(path: Path, *, mode: int | None = None, overwrite: bool = True) -> Iterator[Path]:
    """Replace ``path`` atomically by a draft beside it, flushed to the disk, at the end of the block.

    After an error the draft is deleted and ``path`` is unchanged. The draft starts as an empty file that only this user
    can read.

    Args:
        path: The file to write; anything but a regular file is refused.
        mode: Permissions of the file; by default those of the replaced file, else by the umask.
        overwrite: Whether an existing file may be replaced.

    Raises:
        StoreAccessError: ``path`` is not a regular file, exists and may not be replaced, or can't be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "notes.txt")
    ...     with replacing(path, mode=PRIVATE_FILE) as draft:
    ...         _ = draft.write_text("hello")
    ...     path.read_text(), os.listdir(folder)
    ('hello', ['notes.txt'])
    """
    kind = require_writable(path)
    if kind == "file" and not overwrite:
        raise _exists(path)
    draft = None
    try:
        if mode is None:
            mode = stat.S_IMODE(path.stat().st_mode) if kind == "file" else 0o666 & ~_umask()
        handle, name = tempfile.mkstemp(_DRAFT[1], _DRAFT[0], path.parent)
        os.close(handle)
        draft = Path(name)
        yield draft
        draft.chmod(mode)
        _flush(draft)
        if overwrite:
            draft.replace(path)
        else:
            _place(draft, path)
        with suppress(OSError):  # some file systems have no folder to flush
            _flush(path.parent)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        if draft is not None:
            for left in (draft, draft.with_name(draft.name + "-journal")):
                left.unlink(missing_ok=True)


def sweep_drafts(folder: Path) -> None:
    """Delete drafts in ``folder`` that killed processes left behind: those older than a day."""
    for draft in folder.glob(f"{_DRAFT[0]}*{_DRAFT[1]}*"):
        with suppress(OSError):
            if kind_of_path(draft) == "file" and time.time() - draft.stat().st_mtime > _OLD_DRAFT_SECONDS:
                draft.unlink()


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


def _place(draft: Path, path: Path) -> None:
    """Rename ``draft``; unlike a plain rename, fail if ``path`` was created meanwhile."""
    try:
        os.link(draft, path, follow_symlinks=False)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without hard links
        if kind_of_path(path) != "nothing":
            raise _exists(path) from None
        draft.rename(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _exists(path: Path) -> StoreAccessError:
    return StoreAccessError(f"'{path}' exists already", hint="choose another name")


def _failed(path: Path, error: OSError | ValueError) -> StoreAccessError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return StoreAccessError(f"'{shortened(str(path), 200)}' can't be written: {reason}", hint=_HINT)
