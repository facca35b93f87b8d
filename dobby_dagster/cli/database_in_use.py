"""An open database with the settings in use for it, and command lines that work on the same database and source."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dobby_dagster.cli.options import Given
from dobby_dagster.cli.recipe_labels import has_identifier
from dobby_dagster.cli.recipe_options import recipe_options
from dobby_dagster.domain.addresses import mask_credentials
from dobby_dagster.domain.errors import DobbyError, SettingsError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import shell_word
from dobby_dagster.domain.remembered import memory_of
from dobby_dagster.domain.scope import BatchId, RecipeId
from dobby_dagster.domain.settings import DatabaseSettings, Settings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.store.cozo_store import CozoStore

if TYPE_CHECKING:
    from dobby_dagster.domain.summaries import Recipe
    from dobby_dagster.store.source.source_relation import Source

# The options that choose a source and a model, and the commands that take all of them, or none.
MODEL_OPTIONS = ("--relation", "--key", "--content", "--model", "--prompt")
_WITH_MODEL = ("summarize", "backfill", "preview", "redo", "dev", "doctor", "adapt")
_WITHOUT_SOURCE = ("recover", "purge", "backup", "restore", "ingest", "config", "watch", "check", "migrate")
_COMMAND = re.compile(
    r"(?<![\w/])dobby (failed list|failed release|summarize|status|list|search|show|graph|check|diff|history|export"
    r"|preview|backfill|site|redo|purge|adapt|dev|doctor|watch|recover)\b(?! --(?:database|config|relation))"
)

_last: list[Opened] = []


@dataclass(frozen=True)
class Opened:
    """An open database, and the settings in use.

    Attributes:
        settings: From defaults, the database's memory, the settings file, the environment and the options.
        config: The settings file, if one was named.
    """

    settings: Settings
    store: CozoStore
    config: Path | None = None

    @property
    def relation(self) -> str:
        """The source relation in use."""
        return self.settings.source.relation

    @cached_property
    def source(self) -> Source:
        """The source relation, checked.

        Raises:
            SourceError: The relation or a column does not exist; the hint suggests a similar name.
        """
        return self.store.source(self.settings.source)

    def recipe(self, named: str | None = None) -> RecipeId | None:
        """The recipe that ``named`` begins the identifier of, or the last used one of the model of that name.

        By default the last used one; None if none was used yet.

        Raises:
            SettingsError: There is no such recipe, or more than one.
        """
        if named is None:
            return self.store.recipes.latest()
        of_model = [row["recipe"] for row in self.store.recipes.all() if row["model"] == named]
        return RecipeId(of_model[0]) if of_model else self.identified(named)

    def identified(self, named: str) -> RecipeId:
        """The recipe that ``named`` begins the identifier of.

        Raises:
            SettingsError: There is no such recipe, or more than one.
        """
        known = [row["recipe"] for row in self.store.recipes.all()]
        found = [recipe for recipe in known if has_identifier(recipe, named)]
        if not found:
            raise SettingsError(f"there is no recipe '{named}'", hint=suggestion(named, known))
        if len(found) > 1:
            message = f"'{named}' is the beginning of {counted(len(found), 'recipe')}"
            raise SettingsError(message, hint=f"choose one: {', '.join(found)}")
        return RecipeId(found[0])

    @cached_property
    def recipe_in_use(self) -> Recipe | None:
        """What ``dobby summarize`` would use now; None if that can't be used."""
        from dobby_dagster.inference.recipe import recipe_for

        try:
            return recipe_for(self.settings)
        except DobbyError:
            return None

    def summarize_command(self, recipe: RecipeId | None) -> str | None:
        """The command that summarises with ``recipe``; None where no options give it, see :func:`recipe_options`."""
        wanted = next((row for row in self.store.recipes.all() if row["recipe"] == recipe), None)
        named = recipe_options(self.settings, wanted) if wanted is not None else ""
        return None if named is None else self.command(f"summarize{named}")

    def batches(self, *named: str | None) -> list[BatchId]:
        """All batches of the source, in order.

        Raises:
            SettingsError: A ``named`` batch does not exist.
        """
        there = [batch.id for batch in self.store.versions.batches(self.relation)]
        for batch in named:
            if batch is not None and batch not in there:
                span = f"there are {there[0]} to {there[-1]}" if there else "no batch has been planned yet"
                raise SettingsError(f"there is no batch '{batch}' of '{self.relation}'", hint=span)
        return there

    def command(self, name: str, *arguments: str) -> str:
        """A command line of ``dobby`` for the same database and source, which works when pasted into a shell here.

        Args:
            name: The command, with its own options.
            arguments: Unquoted; any characters.
        """
        program = sys.argv[0] if "/" in sys.argv[0] and not sys.argv[0].startswith("/") else "dobby"
        end = ["--"] if any(argument.startswith("-") for argument in arguments) else []
        return " ".join([program, name, *self._options(name.split()), *end, *map(shell_word, arguments)])

    def _options(self, words: list[str]) -> list[str]:
        """The options without which the command would use other settings; what the database remembers is left out.

        Settings from this process's environment are included: make and scripts export variables that a later shell
        does not have.
        """
        options = ["--config", shell_word(str(self.config))] if self.config else []
        named: dict[str, str] = {}
        if load_settings(file=self.config, environment={}).settings.database.url != self.settings.database.url:
            named["database.url"] = self.settings.database.url
            options += ["--database", _without_credentials(self.settings.database.url)]
        bare = _in_use(load_settings(named, file=self.config, environment={}, memory=self.store.memory).settings)
        for option, value in _in_use(self.settings).items():
            if value != bare[option] and option in options_of(words[0]) and option not in words:
                options += [option, shell_word(value)]
        return options


def options_of(command: str) -> tuple[str, ...]:
    """Those of ``MODEL_OPTIONS`` that a command takes."""
    name = command.split()[0]
    if name in _WITHOUT_SOURCE:
        return ()
    return MODEL_OPTIONS if name in _WITH_MODEL else MODEL_OPTIONS[:1]


def _without_credentials(url: str) -> str:
    """``url`` as a shell word; one with credentials is replaced by the environment variable."""
    return shell_word(url) if mask_credentials(url) == url else '"$DATABASE_URL"'


def _in_use(settings: Settings) -> dict[str, str]:
    """The values of ``MODEL_OPTIONS``, with absolute paths."""
    in_use = memory_of(settings, {})["in_use"]
    source = settings.source
    return {
        "--relation": source.relation,
        "--key": source.key,
        "--content": source.content,
        "--model": in_use.get("model.path", settings.model.path),
        "--prompt": settings.prompt.id,
    }


def opened(given: Given) -> Opened:
    """Open the database that the settings name, and apply the settings that it remembers.

    Raises:
        SettingsError: The settings are wrong.
        StoreError: The database is not there or can't be used.
    """
    database = given.load().settings.database
    require_lasting(database)
    store = CozoStore.open(database, create=False)
    use = Opened(given.load(store.memory).settings, store, given.config)
    _last[:] = [use]
    return use


def pasteable(hint: str) -> str:
    """``hint`` with each command in it extended by the options for the database that this process opened last."""
    try:
        return _COMMAND.sub(lambda found: _last[0].command(found[1]), hint) if _last else hint
    except DobbyError:  # the database itself fails
        return hint


def require_lasting(database: DatabaseSettings) -> None:
    """Refuse a database that is lost at the end of this process.

    Raises:
        SettingsError: The database is in this process's memory.
    """
    if database.address.engine == "mem":
        raise SettingsError(
            f"database.url = '{database.url}' is in memory and lost when this command ends", hint="use sqlite:///PATH"
        )
