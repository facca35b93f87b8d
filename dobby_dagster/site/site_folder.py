"""The folder that a site is written to: only what Dobby wrote there is ever replaced or deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from dobby_dagster.domain.atomic_file import replacing, sweep_drafts
from dobby_dagster.domain.errors import SettingsError, StoreAccessError
from dobby_dagster.domain.file_lock import sole_holder
from dobby_dagster.domain.filesystem import access_error, kind_of_path
from dobby_dagster.site.site_manifest import MANIFEST, Written, read_manifest, write_manifest

_LOCK = ".dobby-site.lock"


@dataclass
class SiteFolder:
    """A site's folder while it is updated; make one by :meth:`held`.

    Attributes:
        path: The folder.
        known: The files that are the site's, by path, as the manifest has them.
        written, unchanged, removed: How many files were.
    """

    path: Path
    known: dict[str, Written]
    written: int = 0
    unchanged: int = 0
    removed: int = 0
    _now: dict[str, Written] = field(default_factory=dict)
    _folders: set[Path] = field(default_factory=set)

    @classmethod
    def opened(cls, path: Path) -> SiteFolder:
        """The folder at ``path``, which is new, empty, or has a site of Dobby's.

        Raises:
            SettingsError: It is no folder or holds anything else, or its manifest can't be read.
            StoreAccessError: It can't be read.
        """
        try:
            names = sorted(entry.name for entry in path.iterdir() if not _is_draft(entry.name))
        except FileNotFoundError:
            names = []
        except NotADirectoryError as error:
            raise SettingsError(f"'{path}' is not a folder", hint="name a new or an empty folder") from error
        except (OSError, ValueError) as error:
            raise access_error(path, error) from error
        if MANIFEST not in names:
            if names:
                raise SettingsError(
                    f"'{path}' holds '{names[0]}' and no site of Dobby's", hint="name a new or an empty folder"
                )
            return cls(path, {})
        return cls(path, read_manifest(path))

    @classmethod
    @contextmanager
    def held(cls, path: Path) -> Iterator[SiteFolder]:
        """The folder as :meth:`opened` has it, for the block, in which no other process writes a site there.

        A new folder that nothing is written to is deleted afterwards.

        Raises:
            SettingsError: Another process writes one, or as :meth:`opened`.
            StoreAccessError: It can't be read or written.
        """
        cls.opened(path)
        is_new = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise access_error(path, error) from error
        refusal = SettingsError(
            f"another dobby site writes to '{path}'", hint="wait until it ends, or name another folder"
        )
        try:
            with sole_holder(path / _LOCK, refusal):
                yield cls.opened(path)
        finally:
            if is_new:
                with suppress(OSError):  # not empty
                    path.rmdir()

    def begin(self, planned: Iterable[str]) -> None:
        """Note that the files ``planned`` are about to be written, so that an interrupted run can be repeated.

        Raises:
            SettingsError: One of them exists and is not the site's.
            StoreAccessError: A folder in the site is a symbolic link or no folder, or nothing can be written.
        """
        planned = list(planned)
        for name in (*self.known, *planned):
            self._require_folder(name)
        for name in planned:
            if name not in self.known and (kind := kind_of_path(self.path / name)) != "nothing":
                raise SettingsError(
                    f"'{self.path / name}' is {'a file' if kind == 'file' else kind} that Dobby did not write",
                    hint="move it, or name another folder",
                )
        for folder in {(self.path / name).parent for name in (*planned, *self.known)}:
            sweep_drafts(folder)
        write_manifest(self.path, dict.fromkeys(planned, Written()) | self.known)

    def is_current(self, name: str, made_from: str) -> bool:
        """Whether the file is there as it was written, made from the same; it is kept then."""
        known = self.known.get(name)
        if not known or known.made_from != made_from or not made_from or self._digest(name) != known.content:
            return False
        self._now[name] = known
        self.unchanged += 1
        return True

    def write(self, name: str, text: str, made_from: str = "") -> None:
        """Replace the file atomically, unless it has these bytes already.

        Raises:
            StoreAccessError: It can't be written.
        """
        data = text.encode("utf-8")
        self._now[name] = Written(made_from, sha256(data).hexdigest())
        if self._digest(name) == self._now[name].content:
            self.unchanged += 1
            return
        path = self.path / name
        self._make(path.parent)
        with replacing(path, flush=False) as draft:
            draft.write_bytes(data)
        self.written += 1

    def finish(self) -> None:
        """Delete the site's files that were not written this time, and write the manifest.

        A file that was changed since is left where it is, and so is a folder that holds anything.
        """
        for name in self.known.keys() - self._now.keys():
            self._remove(name, self.known[name])
        write_manifest(self.path, self._now)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise access_error(folder, error) from error

    def _remove(self, name: str, known: Written) -> None:
        path = self.path / name
        self._require_folder(name)
        digest = self._digest(name)
        if digest is None or known.content not in ("", digest):
            return
        try:
            path.unlink()
        except OSError as error:
            raise access_error(path, error) from error
        self.removed += 1
        for folder in path.parents:
            if folder == self.path:
                break
            with suppress(OSError):  # not empty
                folder.rmdir()

    def _digest(self, name: str) -> str | None:
        """Of the file's bytes; None if it is not there or no regular file."""
        path = self.path / name
        if kind_of_path(path) != "file":
            return None
        try:
            return sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise access_error(path, error) from error

    def _require_folder(self, name: str) -> None:
        for folder in reversed((self.path / name).parents[: name.count("/")]):
            if folder not in self._folders:
                if (kind := kind_of_path(folder)) not in ("a folder", "nothing"):
                    raise StoreAccessError(
                        f"'{folder}' is {'a file' if kind == 'file' else kind}, and has to be a folder of the site",
                        hint="move it, or name another folder",
                    )
                self._folders.add(folder)


def _is_draft(name: str) -> bool:
    return name.startswith(".dobby-")
