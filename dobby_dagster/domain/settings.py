"""Every setting, with its default, its bounds and its meaning. Loading is in :mod:`settings_loader`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dobby_dagster.domain.addresses import move_credentials, web_address
from dobby_dagster.domain.secrets import OptionalCredentials, OptionalHeaderSecret, learn_command, learn_url

# A CozoScript identifier: what relation and column names may be, here and in the store.
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
OWN_RELATION = "record"
BUILT_IN_MODEL = "dobby-code-11m"


def identifier(value: str) -> str:
    """Accept ``value`` as a relation or column name, or raise ValueError."""
    if not IDENTIFIER.fullmatch(value):
        raise ValueError("must be letters, digits and underscores, beginning with a letter")
    return value


def _database_url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in ("sqlite", "rocksdb", "mem", "http", "https"):
        raise ValueError("must be sqlite:///PATH, rocksdb:///PATH, mem://NAME or http(s)://HOST:PORT")
    if scheme in ("sqlite", "rocksdb") and not rest.removeprefix("/"):
        raise ValueError(f"names no file: {scheme}:///PATH")
    return web_address(value) if scheme in ("http", "https") else value


def _not_empty(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty")
    return value


NonEmpty = BeforeValidator(_not_empty)
NamedPath = Annotated[Path, NonEmpty]  # "" would be the working directory
Identifier = Annotated[str, AfterValidator(identifier)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]


# Of a setting, by its unit.
LARGEST = {"seconds": 10**9, "days": 10**5, "other": 10**15}


class Section(BaseModel):
    """A group of settings; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        """No number is infinite, or so large that a clock or a column can't hold it."""
        if isinstance(value, int | float):
            unit = (info.field_name or "").rpartition("_")[2]
            most = LARGEST.get(unit, LARGEST["seconds"] if isinstance(value, float) else LARGEST["other"])
            if not abs(value) <= most:
                raise ValueError(f"must be at most {most:,}")
        return value


class DatabaseSettings(Section):
    """Where the records are, and where summaries go."""

    url: DatabaseUrl = Field("sqlite:///dobby.db", description="sqlite, rocksdb, mem or http, as a URL.")
    auth: OptionalHeaderSecret = Field(None, description="Authentication token of a Cozo server.")
    credentials: OptionalCredentials = Field(
        None, description="USER:PASSWORD for a proxy before that server; taken out of url where they stand there."
    )
    timeout_seconds: float = Field(30.0, gt=0, description="Longest wait for one answer of a Cozo server.")
    lease_timeout_seconds: float = Field(60.0, gt=0, description="Longest wait for the embedded database.")

    @model_validator(mode="before")
    @classmethod
    def _no_credentials_in_url(cls, values: Any) -> Any:
        return move_credentials(values)


class SourceSettings(Section):
    """Which relation holds the records, and which of its columns is what."""

    relation: Identifier = Field(OWN_RELATION, description="The relation to summarise.")
    key: Identifier = Field("key", description="Its key column.")
    content: Identifier = Field("content", description="The column to summarise.")
    language: Identifier | None = Field(None, description="Column that names the language.")
    priority: Identifier | None = Field(None, description="Integer column; higher is done first.")
    updated_at: Identifier | None = Field(None, description="Column that grows with each change; a watermark.")
    metadata: tuple[Identifier, ...] = Field((), description="Further columns that exports carry along.")
    allow_triggers: bool = Field(False, description="Let Dobby set triggers on your relation, to see changes.")


def _server_url(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must be an http:// or https:// URL, such as http://127.0.0.1:8000/v1")
    return web_address(value) if value else ""


class ModelSettings(Section):
    """Which model, where, in which precision; or which server runs it."""

    path: Annotated[str, NonEmpty] = Field(BUILT_IN_MODEL, description="A model folder, or the name of one in models/.")
    device: Literal["auto", "mps", "cuda", "cpu"] = Field("auto", description="auto: Metal, CUDA, CPU, in order.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Precision of the weights.")
    quantization: Literal["none", "int8"] = Field("none", description="int8: dynamic, on the CPU only.")
    engine: Literal["auto", "openvino", "packed", "transformers"] = Field(
        "auto", description="auto: openvino on the CPU where it is installed, else packed; transformers elsewhere."
    )
    allow_download: bool = Field(False, description="Let a name that is no folder be fetched from the model hub.")
    url: Annotated[str, AfterValidator(_server_url)] = Field("", description="An OpenAI-compatible server, instead.")
    served_name: str = Field("", description="What that server calls the model; needed with url.")
    api_key: OptionalHeaderSecret = Field(None, description="Key of that server.")
    credentials: OptionalCredentials = Field(
        None, description="USER:PASSWORD, instead of a key; taken out of url where they stand there."
    )
    timeout_seconds: float = Field(120.0, gt=0, description="Longest wait for one whole answer of that server.")

    @model_validator(mode="before")
    @classmethod
    def _no_credentials_in_url(cls, values: Any) -> Any:
        return move_credentials(values)

    @model_validator(mode="after")
    def _named(self) -> ModelSettings:
        if self.url and not self.served_name.strip():
            raise ValueError("served_name must say which model of the server is meant")
        return self


class InferenceSettings(Section):
    """How summaries are generated."""

    slots: int = Field(128, ge=1, le=1024, description="Records in the device at once, at most.")
    token_budget: int = Field(0, ge=0, description="Tokens in the device at once, output included; 0: what fits.")
    memory_share: float = Field(0.8, gt=0, le=1, description="Of the memory that is free, what records may fill.")
    memory_limit_bytes: int = Field(0, ge=0, description="The same as an absolute limit; 0 is none.")
    max_prompt_tokens: int = Field(2_048, ge=16, description="Longer contents lose their middle.")
    max_new_tokens: int = Field(0, ge=0, le=4096, description="Longest summary in tokens; 0: as the prompt says.")
    reproducible: bool = Field(False, description="Same bytes whatever shares the slots, in float32; slower.")
    temperature: float = Field(0.0, ge=0, le=5, description="0 is greedy.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus sampling; only with a temperature.")
    top_k: int = Field(0, ge=0, description="0 is off; only with a temperature.")
    seed: int = Field(0, ge=0, description="Of sampling.")
    repetition_penalty: float = Field(1.0, ge=0.1, le=10, description="1 is off.")
    no_repeat_ngram: int = Field(4, ge=0, description="No run of so many tokens comes twice; 0 is off.")
    stop: tuple[str, ...] = Field((), description="Output ends before any of these.")

    def within(self, most: int) -> InferenceSettings:
        """These settings, with ``most`` new tokens where none were set."""
        return self if self.max_new_tokens else self.model_copy(update={"max_new_tokens": most})


class PromptSettings(Section):
    """Which prompt."""

    id: Annotated[str, NonEmpty] = Field("summary", description="One of the built-in prompts, or of your file's.")
    file: NamedPath | None = Field(None, description="TOML file with your own prompts.")


class PipelineSettings(Section):
    """How work is cut, and when a failure is too much."""

    batch_size: int = Field(500, ge=1, le=100_000, description="Records a batch, at most; a batch is a partition.")
    chunk_size: int = Field(60, ge=1, le=10_000, description="Records a commit, at most.")
    max_retries: int = Field(3, ge=0, description="Vain tries before a record is quarantined.")
    failed_share_limit: float = Field(0.1, ge=0, le=1, description="Above this share of failures a partition is red.")
    unsure_below: float = Field(0.1, ge=0, le=1, description="A summary of lower confidence is unsure; 0: none is.")


class DagsterSettings(Section):
    """Where Dagster keeps its runs when the command ``dobby`` starts them."""

    home: NamedPath = Field(Path(".dagster_home"), description="DAGSTER_HOME, where the environment names none.")
    partitions_per_run: int = Field(16, ge=1, le=100, description="Partitions in one run of a backfill, at most.")


class AutomationSettings(Section):
    """What the sensors and schedules do, unattended."""

    enabled: bool = Field(True, description="Sensors and schedules run as soon as the daemon does.")
    interval_seconds: int = Field(15, ge=1, description="From one look for new rows to the next, at least.")
    gather_seconds: float = Field(30.0, ge=0, description="Small arrivals are gathered for so long.")
    runs_per_tick: int = Field(4, ge=1, le=50, description="Runs that one look starts, and that may wait, at most.")
    compare_seconds: float = Field(900.0, ge=1, description="From one reading of every row to the next.")
    retry_seconds: float = Field(300.0, ge=0, description="Wait before the first retry; doubles with each.")
    stale_seconds: int = Field(3_600, ge=60, description="Nobody looked for new rows for so long: an alert.")
    history_days: float = Field(90.0, ge=0, description="Superseded states older than this are dropped; 0 keeps all.")
    backup_folder: NamedPath | None = Field(None, description="Where the nightly backup goes; none is made without.")
    backups_kept: int = Field(7, ge=1, description="Older backups are deleted, but never the oldest sound one.")
    alert_webhook: SecretStr | None = Field(None, description="URL that gets each alert as JSON, by POST.")
    alert_command: tuple[SecretStr, ...] = Field(
        (), description="Command that gets each alert as JSON on standard input; its arguments are kept secret."
    )

    @field_validator("alert_webhook")
    @classmethod
    def _http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        url = value.get_secret_value().strip()
        learn_url(url)
        return SecretStr(web_address(url, query=True))

    @field_validator("alert_command")
    @classmethod
    def _secret_arguments(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        learn_command([argument.get_secret_value() for argument in value])
        return value


class Settings(Section):
    """All of them, validated as a whole."""

    database: DatabaseSettings = DatabaseSettings()
    source: SourceSettings = SourceSettings()
    model: ModelSettings = ModelSettings()
    inference: InferenceSettings = InferenceSettings()
    prompt: PromptSettings = PromptSettings()
    pipeline: PipelineSettings = PipelineSettings()
    dagster: DagsterSettings = DagsterSettings()
    automation: AutomationSettings = AutomationSettings()
