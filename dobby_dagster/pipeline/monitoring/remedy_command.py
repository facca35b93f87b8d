"""Commands in alerts: they work when they are pasted into a shell in any folder, with any environment."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from dobby_dagster.domain.database_address import DatabaseAddress
from dobby_dagster.domain.printable import shell_word
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.settings_loader import DEFAULT_FILE


def remedy_command(settings: Settings, name: str, *arguments: str, home: Path | None = None) -> str:
    """A command line of ``dobby`` for the database of ``settings``.

    A secret is not part of it: it is read from the settings file or the environment, as everywhere.

    Args:
        settings: Name the database.
        name: The command, with its own options.
        arguments: Unquoted; any characters.
        home: DAGSTER_HOME, for a command that uses it.
    """
    address = settings.database.address
    if address.file is not None:
        address = DatabaseAddress(address.engine, str(address.file.absolute()))
    words = [f"DAGSTER_HOME={shell_word(str(home))}"] if home is not None else []
    words += [_program(), name, "--database", shell_word(str(address))]
    file = Path(os.environ.get("DOBBY_CONFIG") or DEFAULT_FILE).absolute()
    words += ["--config", shell_word(str(file))] if file.is_file() else []
    return " ".join([*words, *map(shell_word, arguments)])


def _program() -> str:
    """``dobby`` if that is this installation's, else its path."""
    own = Path(sys.executable).with_name("dobby")
    found = shutil.which("dobby")
    same = found is not None and own.exists() and Path(found).samefile(own)
    return "dobby" if same or not own.exists() else shell_word(str(own))
