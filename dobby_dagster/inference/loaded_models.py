"""Which models are loaded on this machine, and by which process: a small file for each, readable by every process.

A file names its process by pid and start, so that one that a killed process left behind is recognised and deleted. A
process of another container can't be looked up: it lives as long as its file is locked, which the kernel undoes.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import portalocker
import psutil
from pydantic import TypeAdapter, ValidationError

from dobby_dagster.domain.filesystem import private_folder
from dobby_dagster.domain.owner import host_of, is_alive, new_owner, on_this_host, pid_of, retire
from dobby_dagster.domain.scope import OwnerId
from dobby_dagster.inference.engine import ModelInfo

log = logging.getLogger("dobby")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that a process has in memory.

    Attributes:
        owner: The process, see :mod:`dobby_dagster.domain.owner`.
        model, path, engine, device, dtype: Which model, and what runs it.
        weights_bytes: Of its weights in memory.
        since: When it was loaded, in seconds since the epoch.
        in_use: Whether a run uses it; else it is kept for the next one.
    """

    owner: str
    model: str
    path: str
    engine: str
    device: str
    dtype: str
    weights_bytes: int
    since: float
    in_use: bool

    @property
    def pid(self) -> int:
        """Its process, as its own host or container numbers it."""
        return pid_of(self.owner)

    @property
    def elsewhere(self) -> str:
        """The name of its host or container, if its processes can't be looked up here; else ``""``."""
        return "" if on_this_host(self.owner) else host_of(self.owner).name

    @property
    def process_bytes(self) -> int | None:
        """Resident memory of the whole process now; None where it can't be read."""
        if self.elsewhere:  # here, another process may have that pid
            return None
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return None


_FILE = TypeAdapter(LoadedModel)
_DRAFT = ".draft"
_DRAFT_SECONDS = 60.0


class LoadedModelFile:
    """The file of one loaded model. That it can't be written is a warning, and disturbs no run.

    Args:
        info: The model.
    """

    def __init__(self, info: ModelInfo) -> None:
        self._owner = new_owner()
        self._model = LoadedModel(
            self._owner,
            info.name,
            info.path,
            info.engine,
            info.device,
            info.dtype,
            info.memory_bytes,
            time.time(),
            True,
        )
        self._path: Path | None = None
        self._locked: IO[str] | None = None
        try:
            self._path = _folder() / f"{self._owner.replace('/', '_')}.json"
            self._write()
        except OSError as error:
            log.warning("dobby models does not show that %s is loaded: %s", info.name, error)

    def note_use(self, *, in_use: bool) -> None:
        """Say whether a run uses the model."""
        self._model = replace(self._model, in_use=in_use)
        with suppress(OSError):
            self._write()

    def remove(self) -> None:
        """The model is not in memory any more."""
        retire(OwnerId(self._owner))
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        self._keep_locked(None)

    def _write(self) -> None:
        """Replace the file by one that is locked already, where the file system has locks."""
        if self._path is None:
            return
        draft = self._path.with_suffix(_DRAFT)
        with ExitStack() as opened:
            stream = opened.enter_context(draft.open("w"))
            is_locked = _lock(stream)
            stream.write(json.dumps(asdict(self._model)))
            stream.flush()
            if is_locked:
                opened.pop_all()
        draft.replace(self._path)
        self._keep_locked(stream if is_locked else None)

    def _keep_locked(self, stream: IO[str] | None) -> None:
        former, self._locked = self._locked, stream
        if former is not None:
            former.close()


def _lock(stream: IO[str]) -> bool:
    """Lock an open file for as long as it is open; whether that was possible."""
    if os.name != "posix":  # on Windows nobody could read it, and there are no PID namespaces
        return False
    try:
        portalocker.lock(stream, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except (OSError, portalocker.LockException):  # a file system without locks, say
        return False
    return True


def loaded_models() -> list[LoadedModel]:
    """The models that living processes of this user have loaded, the oldest first; files of dead ones are deleted."""
    found = []
    try:
        files = sorted(_folder().glob("*.json"))
        _delete_left_drafts(_folder())
    except OSError:
        return []
    for file in files:
        try:
            model = _FILE.validate_json(file.read_bytes())
        except OSError:  # freed meanwhile, or locked while its process replaces it, on Windows
            continue
        except ValidationError:
            model = None
        if model is not None and _is_loaded(model, file):
            found.append(model)
        else:
            with suppress(OSError):
                file.unlink()
    return sorted(found, key=lambda model: model.since)


def _is_loaded(model: LoadedModel, file: Path) -> bool:
    """Whether the process lives that wrote the file."""
    if not model.elsewhere:
        return is_alive(model.owner, model.since)
    try:
        with file.open("rb") as stream:
            portalocker.lock(stream, portalocker.LockFlags.SHARED | portalocker.LockFlags.NON_BLOCKING)
            # Its process replaces it by one that is locked, and only then gives up the lock of this one.
            return os.fstat(stream.fileno()).st_ino != file.stat().st_ino
    except FileNotFoundError:
        return False
    except (OSError, portalocker.LockException):
        return True


def _delete_left_drafts(folder: Path) -> None:
    """Delete drafts that a process left when it was killed while it replaced its file, which takes milliseconds."""
    for draft in folder.glob(f"*{_DRAFT}"):
        with suppress(OSError):  # another process deletes it as well
            if time.time() - draft.stat().st_mtime > _DRAFT_SECONDS:
                draft.unlink()


def _folder() -> Path:
    """The user's own folder for such files, which the system empties when it starts.

    Raises:
        OSError: It can't be created, or belongs to someone else.
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.path.isdir(given):
        folder = Path(given) / "dobby"
    else:
        folder = Path(tempfile.gettempdir()) / f"dobby-{os.getuid() if hasattr(os, 'getuid') else 'models'}"
    private_folder(folder)
    status = folder.lstat()  # in a temporary folder anyone could have made a link of this name
    if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        raise PermissionError(f"{folder} belongs to another user")
    return folder
