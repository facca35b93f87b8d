"""Backups with rotation: only a valid backup replaces another, and the oldest valid one is never deleted."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from dobby_dagster.domain.atomic_file import sweep_drafts
from dobby_dagster.domain.database_address import DatabaseAddress
from dobby_dagster.domain.errors import DobbyError, StoreAccessError
from dobby_dagster.domain.filesystem import private_folder
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.maintenance.backup_file import verify_backup
from dobby_dagster.store.maintenance.integrity import Reading

_NAME = re.compile(r"dobby-\d{8}-\d{6}(-\d+)?\.backup")


@dataclass(frozen=True)
class BackupResult:
    """A new backup, and what became of the older ones.

    Attributes:
        path: The new file.
        contents: The rows in it, by relation.
        deleted: Older backups that were deleted.
        damaged: Older backups that are damaged and were kept, with the reason.
    """

    path: Path
    contents: Reading
    deleted: list[Path] = field(default_factory=list)
    damaged: dict[Path, str] = field(default_factory=dict)


def back_up(store: CozoStore, folder: Path, keep: int) -> BackupResult:
    """Write a backup into ``folder``, which is created if missing, and delete the oldest.

    Args:
        store: An embedded database; a server writes its backups on its own machine.
        folder: Only files that this function wrote are deleted from it.
        keep: Valid backups to keep, the new one included; the oldest valid one is kept as well.

    Raises:
        StoreAccessError: The folder can't be written, or the database is a server's.
        StoreCorruptError: The database or the new backup is damaged; no old backup is deleted then.
    """
    if DatabaseAddress.parse(store.connection.url).is_server:
        raise StoreAccessError(
            f"{store.connection.url} is a server, which writes backups on its own machine",
            hint="unset automation.backup_folder, and call dobby backup with a path on the server",
        )
    try:
        private_folder(folder)
    except OSError as error:
        raise StoreAccessError(
            f"the backup folder {folder} can't be created: {error.strerror}", hint="see automation.backup_folder"
        ) from error
    sweep_drafts(folder)
    path = _new_name(folder)
    result = BackupResult(path, store.backup(path))
    _rotate(result, keep)
    return result


def newest_backup(folder: Path) -> Path | None:
    """The newest file that :func:`back_up` wrote into ``folder``; None where there is none."""
    if not folder.is_dir():
        return None
    return max((file for file in folder.iterdir() if _NAME.fullmatch(file.name)), default=None)


def _rotate(result: BackupResult, keep: int) -> None:
    """Delete backups older than the newest ``keep`` valid ones, except the oldest valid one; the new one is valid."""
    others = (file for file in result.path.parent.iterdir() if _NAME.fullmatch(file.name) and file != result.path)
    valid, surplus = [result.path], []
    for file in sorted(others, reverse=True):
        problem = _problem(file)
        if len(valid) >= keep:
            surplus.append((file, problem))
        elif problem:
            result.damaged[file] = problem
        else:
            valid.append(file)
    oldest = next((file for file, problem in reversed(surplus) if not problem), None)
    for file, _ in surplus:
        if file != oldest:
            file.unlink()
            result.deleted.append(file)


def _problem(file: Path) -> str:
    try:
        verify_backup(file)
    except DobbyError as error:
        return error.message
    return ""


def _new_name(folder: Path) -> Path:
    """Named by the second; numbered where that name is taken."""
    stem = f"dobby-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (f"{stem}{f'-{number}' if number else ''}.backup" for number in range(1_000))
    return next(folder / name for name in names if not (folder / name).exists())
