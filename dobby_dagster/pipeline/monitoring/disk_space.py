"""Disks that are nearly full, among those to which Dobby writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dobby_dagster.domain.settings import Settings


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Free bytes on the disk of a folder, and whether that is below ``automation.alert_disk_bytes``."""

    folder: Path
    free: int
    is_low: bool


def free_spaces(settings: Settings, home: Path) -> Iterator[FreeSpace]:
    """The disks of the database, of DAGSTER_HOME ``home`` and of the backups, each once.

    >>> [space.folder.is_dir() for space in free_spaces(Settings(), Path("/no/such/folder"))][:1]
    [True]
    """
    file = settings.database.address.file
    named = [file.absolute().parent if file else None, home, settings.automation.backup_folder]
    seen = set()
    for folder in map(_nearest, filter(None, named)):
        disk = os.stat(folder).st_dev
        if disk not in seen:
            seen.add(disk)
            free = shutil.disk_usage(folder).free
            yield FreeSpace(folder, free, free < settings.automation.alert_disk_bytes)


def _nearest(folder: Path) -> Path:
    """``folder``, or the nearest above it that exists."""
    folder = folder.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder
