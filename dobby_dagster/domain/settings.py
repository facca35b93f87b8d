"""Every setting, with its default, its bounds and its help text. Loading is in :mod:`settings_loader`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from dobby_dagster.domain.addresses import move_credentials, web_address
from dobby_dagster.domain.contract_settings import ContractSettings
from dobby_dagster.domain.database_address import DatabaseAddress
from dobby_dagster.domain.secrets import (
    OptionalCredentials,
    OptionalHeaderSecret,
    learn_command,
    learn_service,
    learn_url,
)
from dobby_dagster.domain.served_model_settings import ServedModelSettings, ServerUrl
from dobby_dagster.domain.settings_section import Section

# A CozoScript identifier: what relation and column names may be, here and in the store.
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_SERVICE_URL = re.compile(r"[a-z][a-z0-9+.-]*://[!-~]+", re.IGNORECASE)
SecondTry: TypeAlias = Literal["never", "refused", "ungrounded"]
OWN_RELATION = "record"
DEFAULT_MODEL = "dobby-code-73m"


def identifier(value: str) -> str:
    """Accept ``value`` as a relation or column name, or raise ValueError."""
    if not IDENTIFIER.fullmatch(value):
        raise ValueError("must be letters, digits and underscores, beginning with a letter")
    return value


def _database_url(value: str) -> str:
    return web_address(value) if DatabaseAddress.parse(value).is_server else value


def _not_empty(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty")
    return value


NonEmpty = BeforeValidator(_not_empty)
NamedPath = Annotated[Path, NonEmpty]  # "" would be the working directory
Identifier = Annotated[str, AfterValidator(identifier)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]


class DatabaseSettings(Section):
    """Where the records are, and where summaries go."""

    url: DatabaseUrl = Field("sqlite:///dobby.db", description="sqlite, rocksdb, mem or http, as a URL.")
    auth: OptionalHeaderSecret = Field(None, description="Authentication token of a Cozo server.")
    credentials: OptionalCredentials = Field(
        None, description="USER:PASSWORD for a proxy before that server; taken from url if given there."
    )
    driver: Literal["cozo", "mnestic"] = Field(
        "cozo", description="Package that runs an embedded database: CozoDB, or its maintained fork mnestic."
    )
    timeout_seconds: float = Field(
        30.0, gt=0, description="Timeout of one request to a Cozo server, and of one query with the driver mnestic."
    )
    lease_timeout_seconds: float = Field(60.0, gt=0, description="Longest wait for the lock on an embedded database.")

    @property
    def address(self) -> DatabaseAddress:
        """The URL in its parts."""
        return DatabaseAddress.parse(self.url)

    @model_validator(mode="before")
    @classmethod
    def _no_credentials_in_url(cls, values: Any) -> Any:
        return move_credentials(values)


class SourceSettings(Section):
    """Which relation holds the records, and the roles of its columns."""

    relation: Identifier = Field(OWN_RELATION, description="The relation to summarise.")
    key: Identifier = Field("key", description="Its key column.")
    content: Identifier = Field("content", description="The column to summarise.")
    language: Identifier | None = Field(None, description="Column with the language of the content.")
    priority: Identifier | None = Field(None, description="Integer column; higher values are summarised first.")
    updated_at: Identifier | None = Field(None, description="Column that grows with each change, used as a watermark.")
    metadata: tuple[Identifier, ...] = Field((), description="Further columns to include in exports.")
    allow_triggers: bool = Field(False, description="Let Dobby set triggers on your relation, to track changes.")


class ModelSettings(ServedModelSettings):
    """Which model, on which device, in which precision; or which server runs it."""

    path: Annotated[str, NonEmpty] = Field(
        DEFAULT_MODEL, description="A model folder or GGUF file, or the name of one in models/."
    )
    device: Literal["auto", "mps", "cuda", "cpu"] = Field("auto", description="auto: Metal, CUDA, CPU, in order.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Precision of the weights.")
    quantization: Literal["auto", "none", "int8", "int4"] = Field(
        "auto",
        description="auto: int8 if the model is stored in int8 and openvino runs it; int8: on the CPU, and by mlx; "
        "int4: by mlx only.",
    )
    engine: Literal["auto", "openvino", "packed", "mlx", "vllm", "transformers"] = Field(
        "auto",
        description="auto: openvino, else packed on the CPU; mlx on Apple's GPU; vllm on CUDA; else transformers.",
    )
    idle_seconds: float = Field(
        300.0,
        ge=0,
        description="A model on the CPU stays loaded this long for the next run of its process; 0: it is freed.",
    )
    allow_download: bool = Field(
        False, description="Download the model from the model hub if it is not a local folder."
    )


class InferenceSettings(Section):
    """How summaries are generated: memory, lengths, sampling."""

    slots: int = Field(128, ge=1, le=1024, description="Maximum batch size: sequences generated at once.")
    token_budget: int = Field(
        0, ge=0, description="Maximum tokens of all running sequences, output included; 0: what fits."
    )
    memory_share: float = Field(0.8, gt=0, le=1, description="Share of the free memory for keys and values.")
    memory_limit_bytes: int = Field(0, ge=0, description="Absolute limit of the memory for keys and values; 0: none.")
    max_prompt_tokens: int = Field(2_048, ge=16, description="Longer contents are truncated in the middle.")
    max_new_tokens: int = Field(
        0, ge=0, le=4096, description="Maximum summary length in tokens; 0: the prompt's own limit."
    )
    reproducible: bool = Field(False, description="Byte-identical output regardless of batching, in float32; slower.")
    temperature: float = Field(0.0, ge=0, le=5, description="0 is greedy.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus sampling; only with a temperature.")
    top_k: int = Field(0, ge=0, description="0 is off; only with a temperature.")
    seed: int = Field(0, ge=0, description="Seed of sampling.")
    repetition_penalty: float = Field(1.0, ge=0.1, le=10, description="Penalty on repeated tokens; 1 is off.")
    no_repeat_ngram: int = Field(4, ge=0, description="No n-gram of this length is generated twice; 0 is off.")
    second_try: SecondTry = Field(
        "ungrounded",
        description="Which outputs are generated once more, greedily, without what was wrong: refused: by the quality "
        "gate; ungrounded: also those with names that are not in the content.",
    )
    stop: tuple[str, ...] = Field((), description="Stop texts: output ends before the first of them.")
    stall_seconds: float = Field(
        600.0, ge=0, description="A run without a new token for this long is ended; loading does not count; 0: never."
    )

    def within(self, most: int) -> InferenceSettings:
        """These settings, with ``most`` new tokens if none were set."""
        return self if self.max_new_tokens else self.model_copy(update={"max_new_tokens": most})


class PromptSettings(Section):
    """Which prompt."""

    id: Annotated[str, NonEmpty] = Field("summary", description="A built-in prompt, or one of your file.")
    file: NamedPath | None = Field(None, description="TOML file with your own prompts.")
    callees: int = Field(
        0, ge=0, le=32, description="Summaries of called functions in a prompt, at most; needs an instruction model."
    )


class PipelineSettings(Section):
    """Sizes of batches and chunks, and the limits on failures."""

    batch_size: int = Field(500, ge=1, le=100_000, description="Maximum records per batch; a batch is a partition.")
    chunk_size: int = Field(60, ge=1, le=10_000, description="Maximum records per commit.")
    max_retries: int = Field(3, ge=0, description="Failed attempts before a record is quarantined.")
    failed_share_limit: float = Field(
        0.1, ge=0, le=1, description="A partition fails above this share of failed records."
    )
    outlines: bool = Field(
        True, description="Summarise the files and packages of ingested trees too, from the summaries of their parts."
    )
    unsure_below: float = Field(
        0.1, ge=0, le=1, description="Summaries of lower confidence count as unsure; 0: none do."
    )
    stall_seconds: float = Field(
        3_600.0, ge=0, description="A run without a commit for this long is ended; loading counts; 0: never."
    )
    claim_seconds: float = Field(
        30.0,
        ge=2,
        le=3_600,
        description="Other hosts take over the records of a run that has not renewed its claims for this long.",
    )


def _pool(value: str) -> str:
    if value and not re.fullmatch(r"[!-~]{1,200}", value):
        raise ValueError("must be a name without spaces, such as device-1")
    return value


class DagsterSettings(Section):
    """Where Dagster stores the runs that the command ``dobby`` starts."""

    home: NamedPath = Field(Path(".dagster_home"), description="DAGSTER_HOME, if the environment sets none.")
    device_pool: Annotated[str, AfterValidator(_pool)] = Field(
        "", description="Dagster's pool of runs that infer; empty: device, or device-HOST with a database on a server."
    )
    partitions_per_run: int = Field(16, ge=1, le=100, description="Maximum partitions per run of a backfill.")


class AutomationSettings(Section):
    """What sensors and schedules do without a person."""

    enabled: bool = Field(True, description="Start sensors and schedules with the daemon.")
    interval_seconds: int = Field(15, ge=1, description="Minimum interval between polls for new rows.")
    gather_seconds: float = Field(30.0, ge=0, description="Wait for a batch to fill up before a smaller one is cut.")
    runs_per_tick: int = Field(4, ge=1, le=50, description="Maximum runs started per tick, and waiting in the queue.")
    compare_seconds: float = Field(
        900.0, ge=1, description="Interval between full scans of a source without change tracking."
    )
    retry_seconds: float = Field(
        300.0, ge=0, description="Delay before the first retry; doubles with each further one."
    )
    stale_seconds: int = Field(3_600, ge=60, description="Alert if the source has not been polled for this long.")
    history_days: float = Field(90.0, ge=0, description="Superseded states older than this are deleted; 0 keeps all.")
    backup_folder: NamedPath | None = Field(None, description="Folder of the nightly backup; without it none is made.")
    backups_kept: int = Field(7, ge=1, description="Backups to keep; the oldest valid one is never deleted.")
    alert_webhook: SecretStr | None = Field(None, description="URL to POST each alert to, as JSON.")
    alert_command: tuple[SecretStr, ...] = Field(
        (), description="Command to run for each alert, with JSON on standard input; its arguments are kept secret."
    )
    alert_urls: tuple[SecretStr, ...] = Field(
        (), description="Chat, mail and paging services for alerts, as URLs of Apprise; they are kept secret."
    )
    alert_disk_bytes: int = Field(1_000_000_000, ge=0, description="Alert if a disk has less free space; 0: never.")
    alert_confidence_fall: float = Field(
        0.1, ge=0, le=1, description="Alert if the mean confidence falls by more with a new model or prompt; 0: never."
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

    @field_validator("alert_urls")
    @classmethod
    def _service_urls(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for url in value:
            learn_service(url.get_secret_value())
            if not _SERVICE_URL.fullmatch(url.get_secret_value()):
                raise ValueError(
                    "each must be SERVICE://…, without spaces, as https://appriseit.com/services lists them"
                )
        return value


class MonitorSettings(Section):
    """Health, readiness and metrics over HTTP."""

    host: Annotated[str, NonEmpty] = Field("127.0.0.1", description="Address to listen at.")
    port: int = Field(3001, ge=0, le=65_535, description="Port; 0 for any free one.")
    token: OptionalHeaderSecret = Field(
        None, description="Bearer token for metrics and details, if others can reach the address."
    )
    limit_seconds: float = Field(2.0, ge=0.05, le=60, description="A part that answers later is not ready.")
    heartbeat_seconds: float = Field(
        120.0, ge=31, description="A daemon whose last heartbeat is older is not ready; it sends one every 30 s."
    )
    dagster_url: ServerUrl = Field(
        "", description="URL of Dagster's web server, for dobby monitor; empty: Dagster is not checked."
    )


class SearchSettings(ServedModelSettings):
    """How records are found by meaning: which embedding makes vectors of summaries and questions."""

    embedding: Annotated[str, NonEmpty] = Field(
        "built-in", description="built-in, none, or a folder of a static embedding, as model2vec writes it."
    )
    url: ServerUrl = Field("", description="URL of an OpenAI-compatible server whose /embeddings is used instead.")
    timeout_seconds: float = Field(30.0, gt=0, description="Timeout of one request to that server.")


class McpSettings(Section):
    """Summaries for coding agents, over HTTP."""

    host: Annotated[str, NonEmpty] = Field("127.0.0.1", description="Address to listen at.")
    port: int = Field(3002, ge=0, le=65_535, description="Port; 0 for any free one.")
    token: OptionalHeaderSecret = Field(
        None, description="Bearer token of every request; required if others can reach the address."
    )


class Settings(Section):
    """All settings, validated as a whole."""

    database: DatabaseSettings = DatabaseSettings()
    source: SourceSettings = SourceSettings()
    model: ModelSettings = ModelSettings()
    inference: InferenceSettings = InferenceSettings()
    prompt: PromptSettings = PromptSettings()
    pipeline: PipelineSettings = PipelineSettings()
    dagster: DagsterSettings = DagsterSettings()
    automation: AutomationSettings = AutomationSettings()
    contracts: ContractSettings = ContractSettings()
    monitor: MonitorSettings = MonitorSettings()
    search: SearchSettings = SearchSettings()
    mcp: McpSettings = McpSettings()
