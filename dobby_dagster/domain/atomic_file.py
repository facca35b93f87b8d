"""Files that Dobby writes: atomically, and only over regular files."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dobby_dagster.domain.errors import StoreAccessError
from dobby_dagster.domain.filesystem import access_error, kind_of_path, require_writable

_DRAFT = (".dobby-", ".part")
_OLD_DRAFT_SECONDS = 86_400.0


@contextmanager
def replacing(path: Path, *, mode: int | None = None, overwrite: bool = True, flush: bool = True) -> Iterator[Path]:
    """Replace ``path`` atomically by a draft beside it at the end of the block.

    After an error the draft is deleted and ``path`` is unchanged. The draft starts as an empty file that only this user
    can read.

    Args:
        path: The file to write; anything but a regular file is refused.
        mode: Permissions of the file; by default those of the replaced file, else by the umask.
        overwrite: Whether an existing file may be replaced.
        flush: Wait until the disk has it. Without, a power loss can leave an empty file: only for what is made again.

    Raises:
        StoreAccessError: ``path`` is not a regular file, exists and may not be replaced, or can't be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "notes.txt")
    ...     with replacing(path, mode=0o600) as draft:
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
        if flush:
            _flush(draft)
        if overwrite:
            draft.replace(path)
        else:
            _place(draft, path)
        if flush:
            with suppress(OSError):  # some file systems have no folder to flush
                _flush(path.parent)
    except OSError as error:
        raise access_error(path, error) from error
    finally:
        if draft is not None:
            for left in (draft, draft.with_name(draft.name + "-journal")):
                left.unlink(missing_ok=True)


def require_new(path: Path, *, force: bool) -> None:
    """Check that ``path`` can be written, before anything is done for it.

    Raises:
        StoreAccessError: It can't, or it exists and ``force`` is not given.
    """
    require_writable(path)
    if path.exists() and not force:
        raise StoreAccessError(f"'{path}' exists already", hint="--force replaces it")


def sweep_drafts(folder: Path) -> None:
    """Delete drafts in ``folder`` that killed processes left behind: those older than a day."""
    for draft in folder.glob(f"{_DRAFT[0]}*{_DRAFT[1]}*"):
        with suppress(OSError):
            if kind_of_path(draft) == "file" and time.time() - draft.stat().st_mtime > _OLD_DRAFT_SECONDS:
                draft.unlink()


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
