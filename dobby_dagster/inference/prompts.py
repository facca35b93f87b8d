"""Prompts as data, and how a content is shortened to fit one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dobby_dagster.domain.errors import PromptError
from dobby_dagster.domain.settings import PromptSettings
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.domain.toml_files import read_toml

# max_new_tokens of a prompt that does not set it.
NEW_TOKENS = 120
BUILT_IN = Path(__file__).with_name("prompts.toml")
# Stands in place of the middle of a content that was shortened.
CUT = "\n…\n"


class Prompt(BaseModel):
    """A system text with the instruction, a user text around the content, and the longest answer in tokens.

    >>> Prompt(id="summary", version=1, system="Summarize this {language}.").filled("python")
    ('Summarize this python.', '', '')
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")
    version: int = Field(ge=1)
    description: str = ""
    system: str
    user: str = "{content}"
    max_new_tokens: int = Field(NEW_TOKENS, ge=1, le=4096)

    @field_validator("user")
    @classmethod
    def _holds_content(cls, value: str) -> str:
        if value.count("{content}") != 1:
            raise ValueError("must hold {content} exactly once")
        return value

    @property
    def name(self) -> str:
        """``id@version``."""
        return f"{self.id}@{self.version}"

    @property
    def text(self) -> str:
        """The whole prompt, placeholders unfilled; part of the fingerprint."""
        return f"{self.system}\n\n{self.user}"

    def filled(self, language: str) -> tuple[str, str, str]:
        """The system text, and the user text before and after the content."""
        before, after = self.user.replace("{language}", language).split("{content}")
        system = " ".join(self.system.replace("{language}", language).split())
        return system, before, after


@dataclass(frozen=True)
class PromptLibrary:
    """Prompts by identifier; those of a user's file override built-in ones of the same identifier."""

    prompts: dict[str, Prompt]

    @classmethod
    def load(cls, file: Path | None = None) -> PromptLibrary:
        """The built-in prompts and those of ``file``.

        Raises:
            PromptError: The file can't be read, or a prompt in it is malformed.
        """
        found = {prompt.id: prompt for prompt in _read(BUILT_IN)}
        if file is not None:
            found |= {prompt.id: prompt for prompt in _read(file)}
        return cls(found)

    def get(self, identifier: str) -> Prompt:
        """The prompt with this identifier.

        Raises:
            PromptError: There is no such prompt.
        """
        if identifier not in self.prompts:
            raise PromptError(f"there is no prompt '{identifier}'", hint=suggestion(identifier, self.prompts))
        return self.prompts[identifier]


def chosen_prompt(settings: PromptSettings) -> Prompt:
    """The prompt that the settings name."""
    return PromptLibrary.load(settings.file).get(settings.id)


def _read(path: Path) -> list[Prompt]:
    tables = read_toml(path, "prompt file", PromptError).get("prompt", [])
    if not isinstance(tables, list):
        raise PromptError(f"{path} must hold [[prompt]] tables")
    try:
        return [Prompt.model_validate(table) for table in tables]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PromptError(f"{path}: prompt {where} = {first['input']!r} is invalid: {first['msg']}") from error


def truncate_middle(ids: Sequence[int], limit: int, cut: Sequence[int]) -> tuple[list[int], bool]:
    """``ids`` without their middle where they are more than ``limit``: two thirds head, ``cut``, one third tail.

    Returns:
        At most ``limit`` token identifiers, and whether anything was left out.

    >>> truncate_middle(range(10), 7, [99])
    ([0, 1, 2, 3, 99, 8, 9], True)
    """
    if len(ids) <= limit:
        return list(ids), False
    if limit <= len(cut) + 1:
        return list(ids[:limit]), True
    room = limit - len(cut)
    head = (room * 2 + 2) // 3
    tail = room - head
    return [*ids[:head], *cut, *(ids[len(ids) - tail :] if tail else [])], True
