"""The manifest of a site: which files in its folder are the site's, and what they were made from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dobby_dagster.domain.atomic_file import replacing
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.filesystem import kind_of_path

MANIFEST = "dobby-site.json"
_FORMAT = 1
_LARGEST_MANIFEST = 512 * 2**20
# What a site's files are called; a manifest that names any other is not followed.
_PATH = re.compile(r"(?!.*(^|/)\.)[a-z0-9_.~-]+(/[a-z0-9_.~-]+)*\.(html|js|css|svg)|\.nojekyll")


@dataclass(frozen=True, slots=True)
class Written:
    """What is known of a file of the site: a digest of what it was made from, and of its bytes.

    Both are empty of a file that an interrupted run may have written or not.
    """

    made_from: str = ""
    content: str = ""


def read_manifest(folder: Path) -> dict[str, Written]:
    """The files that the manifest in ``folder`` names, by path.

    Raises:
        SettingsError: It is none, or names a file that no site has.
    """
    path = folder / MANIFEST
    try:
        if kind_of_path(path) != "file" or path.stat().st_size > _LARGEST_MANIFEST:
            raise ValueError("it is no regular file, or too large")
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict) or found.get("dobby_site") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT}")
        files = {name: Written(made_from, content) for name, (made_from, content) in found["files"].items()}
        if strange := next((name for name in files if not _PATH.fullmatch(name)), None):
            raise ValueError(f"no site has a file '{strange}'")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SettingsError(f"'{path}' can't be read: {error}", hint="name a new or an empty folder") from error
    return files


def write_manifest(folder: Path, files: Mapping[str, Written]) -> None:
    """Write the manifest in ``folder``, flushed to the disk.

    Raises:
        StoreAccessError: It can't be written.
    """
    rows = {name: [each.made_from, each.content] for name, each in sorted(files.items())}
    with replacing(folder / MANIFEST) as draft:
        draft.write_text(json.dumps({"dobby_site": _FORMAT, "files": rows}, indent=0), encoding="utf-8")
