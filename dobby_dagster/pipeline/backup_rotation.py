"""Backups with rotation: only a sound one replaces a sound one, and the oldest sound one is never deleted."""

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
class Rotation:
    """What one night's backup did.

    Attributes:
        path: The new file.
        held: What is in it.
        deleted: Older backups that were deleted.
        damaged: Older backups that are damaged, and stay, by what is wrong with them.
    """

    path: Path
    held: Reading
    deleted: list[Path] = field(default_factory=list)
    damaged: dict[Path, str] = field(default_factory=dict)


def back_up(store: CozoStore, folder: Path, keep: int) -> Rotation:
    """Write a backup into ``folder``, made where it is missing, and delete the oldest.

    Args:
        store: An embedded database; a server writes its backups on its own machine.
        folder: Nothing in it but backups by this function is ever touched.
        keep: How many sound backups stay, the new one included; the oldest sound one stays besides.

    Raises:
        StoreAccessError: The folder can't be written, or the database is a server's.
        StoreCorruptError: The database is damaged, or what was written; no old backup is deleted then.
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
            f"the backup folder {folder} can't be made: {error.strerror}", hint="see automation.backup_folder"
        ) from error
    sweep_drafts(folder)
    path = _new_name(folder)
    rotation = Rotation(path, store.backup(path))
    _rotate(rotation, keep)
    return rotation


def _rotate(rotation: Rotation, keep: int) -> None:
    """Delete what is past ``keep`` sound backups, but not the oldest sound one; the new one was just verified."""
    others = (file for file in rotation.path.parent.iterdir() if _NAME.fullmatch(file.name) and file != rotation.path)
    sound, spare = [rotation.path], []
    for file in sorted(others, reverse=True):
        wrong = _damage(file)
        if len(sound) >= keep:
            spare.append((file, wrong))
        elif wrong:
            rotation.damaged[file] = wrong
        else:
            sound.append(file)
    oldest = next((file for file, wrong in reversed(spare) if not wrong), None)
    for file, _ in spare:
        if file != oldest:
            file.unlink()
            rotation.deleted.append(file)


def _damage(file: Path) -> str:
    try:
        verify_backup(file)
    except DobbyError as error:
        return error.message
    return ""


def _new_name(folder: Path) -> Path:
    """By the second; numbered where one was made in the same second."""
    stem = f"dobby-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (f"{stem}{f'-{number}' if number else ''}.backup" for number in range(1_000))
    return next(folder / name for name in names if not (folder / name).exists())
