"""Backups with rotation: written beside their final name, checked, then named; the oldest are deleted."""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path

from dobby_dagster.domain.errors import StoreAccessError, StoreCorruptError
from dobby_dagster.store.store import CozoStore

_NAME = re.compile(r"dobby-\d{8}-\d{6}\.backup")


def back_up(store: CozoStore, folder: Path, keep: int) -> tuple[Path, list[Path]]:
    """Write a backup into ``folder``, made where it lacks; the new file, and the old ones that were deleted.

    Args:
        store: An embedded database; a server writes its backups on its own machine.
        folder: Nothing in it but backups by this function is ever touched.
        keep: So many stay, the new one included.

    Raises:
        StoreAccessError: The folder can't be written, or the database is a server's.
        StoreCorruptError: What was written is damaged; it is deleted again and no old backup is.
    """
    if store.connection.url.startswith("http"):
        raise StoreAccessError(
            f"{store.connection.url} is a server, which writes backups on its own machine",
            hint="unset automation.backup_folder, and call dobby backup with a path on the server",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreAccessError(
            f"the backup folder {folder} can't be made: {error.strerror}", hint="see automation.backup_folder"
        ) from error
    path = folder / f"dobby-{time.strftime('%Y%m%d-%H%M%S')}.backup"
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    store.backup(draft)
    problems = damages(draft)
    if problems:
        draft.unlink()
        raise StoreCorruptError(f"the backup of {store.connection.url} came out damaged: {problems[0]}")
    draft.rename(path)
    old = sorted(file for file in folder.iterdir() if _NAME.fullmatch(file.name))[:-keep]
    for file in old:
        file.unlink()
    return path, old


def damages(path: Path) -> list[str]:
    """What SQLite finds wrong with a backup, which is an SQLite file; one line each."""
    import sqlite3

    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return [line for (line,) in database.execute("pragma quick_check(20)") if line != "ok"]
    except sqlite3.DatabaseError as error:
        return [str(error)]
