"""DAGSTER_HOME: created, private to its owner, and opened for runs in this process."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from sqlalchemy.exc import DBAPIError

from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.filesystem import exposure, private_folder
from dobby_dagster.domain.settings import Settings

_PACKAGE = Path(__file__).resolve().parents[2]
INSTANCE_FILES = (_PACKAGE / "shipped" / "dagster.yaml", _PACKAGE.parent / "dagster.yaml")
# Output of steps is not captured: that would redirect standard error, and the progress bar with it, through child
# processes that print tracebacks at Ctrl-C.
_NO_CAPTURE = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
_HINT = "set DAGSTER_HOME to a folder of yours"
_log = logging.getLogger("dobby.permissions")
_log.setLevel(logging.WARNING)


def home_path(settings: Settings) -> Path:
    """The path of DAGSTER_HOME, which need not exist: from the environment, else from the settings.

    Raises:
        SettingsError: The path names the home of an unknown user.
    """
    named = os.environ.get("DAGSTER_HOME") or str(settings.dagster.home)
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(f"DAGSTER_HOME {named} can't be written: {error}", hint=_HINT) from error


def dagster_home(settings: Settings) -> Path:
    """Create DAGSTER_HOME and its ``dagster.yaml`` where missing, and set it in the environment.

    A new one is readable by its owner only. A warning is logged where other users can read an existing one, or the
    database.

    Returns:
        Its path, see :func:`home_path`.

    Raises:
        SettingsError: It can't be created.
    """
    home = home_path(settings)
    try:
        private_folder(home)
        template = next(path for path in INSTANCE_FILES if path.is_file())
        if not (home / "dagster.yaml").exists():
            shutil.copyfile(template, home / "dagster.yaml")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"DAGSTER_HOME {home} can't be written: {reason}", hint=_HINT) from error
    os.environ["DAGSTER_HOME"] = str(home)
    for path in filter(None, (home, settings.database.address.file)):
        if warning := exposure(path):
            _log.warning("%s", warning)
    return home


@contextmanager
def opened_instance(settings: Settings, *, overrides: dict[str, Any] | None = None) -> Iterator[dg.DagsterInstance]:
    """Open the instance of DAGSTER_HOME.

    Args:
        settings: Name its path; it is created where it is missing.
        overrides: Replace keys of its ``dagster.yaml``.

    Raises:
        SettingsError: Its disk is full, or its files can't be read or written.
    """
    home = dagster_home(settings)
    try:
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=overrides)) as instance:
            yield instance
    except DBAPIError as error:
        raise SettingsError(
            f"DAGSTER_HOME {home} can't be used: {error.orig}", hint="free some space if its disk is full, or " + _HINT
        ) from error


def terminal_instance(settings: Settings) -> AbstractContextManager[dg.DagsterInstance]:
    """Open the instance for runs in this process, whose output goes to the terminal."""
    return opened_instance(settings, overrides={"compute_logs": _NO_CAPTURE})
