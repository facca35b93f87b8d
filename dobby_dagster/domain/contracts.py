"""Performance contracts as data: the one table of limits, measured by ``python -m bench contracts``.

They hold for the small model that ships with Dobby on two CPU cores, and are floors, not aims. Those that are
``per_batch`` are checked on the metrics of every batch as well, and can be overridden by
:class:`~dobby_dagster.domain.contract_settings.ContractSettings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

# The shipped model that the limits hold for.
SMALL_MODEL = "dobby-code-11m"
PromptLength: TypeAlias = Literal["short", "middle", "long", "unknown"]


class Part(StrEnum):
    """What a contract is about."""

    STORE = "store"
    ENGINE = "engine"
    PIPELINE = "pipeline"
    MONITORING = "monitoring"


@dataclass(frozen=True, slots=True)
class Contract:
    """A limit on one figure.

    >>> contract = Contract(Part.STORE, "get_1_seconds", 0.05, "s", "a record read by its key")
    >>> contract.name, contract.holds(0.04), contract.describe(0.06)
    ('store_get_1_seconds', True, 'store_get_1_seconds: 0.06 s (at most 0.05)')

    Attributes:
        part: What it is about.
        measure: The name of the figure in metrics and benchmarks.
        limit: The bound of the figure.
        unit: The unit of the figure, for display.
        meaning: What the figure is, in one line.
        kind: Whether the limit is an upper or a lower bound.
        per_batch: Whether the metrics of a batch have the figure.
        any_model: Whether the limit holds for every model, and not for the small shipped one only.
    """

    part: Part
    measure: str
    limit: float
    unit: str
    meaning: str
    kind: Literal["at most", "at least"] = "at most"
    per_batch: bool = False
    any_model: bool = False

    @property
    def name(self) -> str:
        """Unique; also the name of the setting in ``[contracts]`` that overrides the limit."""
        return f"{self.part}_{self.measure}"

    def holds(self, value: float, limit: float | None = None) -> bool:
        """Whether ``value`` is within ``limit``, by default the contract's own."""
        bound = self.limit if limit is None else limit
        return value <= bound if self.kind == "at most" else value >= bound

    def regressed(self, baseline: float, share: float) -> float:
        """The limit that a figure worse than ``baseline`` by more than ``share`` exceeds.

        >>> Contract(Part.STORE, "rows_per_second", 9.0, "1/s", "", "at least").regressed(100.0, 0.3)
        70.0
        """
        return baseline * (1 + share if self.kind == "at most" else 1 - share)

    def describe(self, value: float, limit: float | None = None) -> str:
        """The contract with a measured value, in one line."""
        bound = self.limit if limit is None else limit
        return f"{self.name}: {figure_text(value)} {self.unit} ({self.kind} {figure_text(bound)})"


def figure_text(value: float) -> str:
    """A figure in four digits; from 1,000 on as a whole number.

    >>> figure_text(0.05375), figure_text(20.0), figure_text(8e9)
    ('0.05375', '20', '8,000,000,000')
    """
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


STORE, ENGINE, PIPELINE, MONITORING = Part.STORE, Part.ENGINE, Part.PIPELINE, Part.MONITORING

CONTRACTS = (
    Contract(STORE, "ready_p95_seconds", 0.1, "s", "opening the database, until it is ready to query"),
    Contract(STORE, "health_p95_seconds", 0.05, "s", "the health query"),
    Contract(STORE, "get_1_seconds", 0.05, "s", "1 record by key"),
    Contract(STORE, "get_100_seconds", 0.5, "s", "100 records by key"),
    Contract(STORE, "get_1000_seconds", 5.0, "s", "1,000 records by key"),
    Contract(STORE, "first_row_seconds", 0.1, "s", "the first row of a stream"),
    Contract(STORE, "stream_rows_per_second", 1_000, "rows/s", "rows streamed from the source", "at least"),
    Contract(STORE, "stream_buffer_bytes", 50e6, "bytes", "memory of a stream, while it is read"),
    Contract(STORE, "transaction_100_seconds", 1.0, "s", "100 operations in one transaction"),
    Contract(STORE, "transaction_1000_seconds", 10.0, "s", "1,000 operations in one transaction"),
    Contract(STORE, "rollback_1000_seconds", 10.0, "s", "1,000 operations in one transaction, rolled back"),
    Contract(STORE, "commit_64_seconds", 0.05, "s", "commit of a chunk of 64 records"),
    Contract(STORE, "connection_bytes", 20e6, "bytes", "memory of one more open connection"),
    Contract(ENGINE, "load_small_seconds", 10.0, "s", "loading a model under 500 MB"),
    Contract(ENGINE, "load_middle_seconds", 30.0, "s", "loading a model of 500 MB to 2 GB"),
    Contract(ENGINE, "load_large_seconds", 60.0, "s", "loading a model over 2 GB"),
    Contract(ENGINE, "memory_ratio", 1.2, "of its size", "memory of a loaded model over 500 MB, by its weights"),
    Contract(ENGINE, "short_input_seconds", 0.1, "s", "an input under 100 tokens alone"),
    Contract(ENGINE, "middle_input_seconds", 0.3, "s", "an input of 100 to 500 tokens alone"),
    Contract(ENGINE, "long_input_seconds", 1.0, "s", "an input over 500 tokens alone"),
    Contract(ENGINE, "ten_inputs_seconds", 2.0, "s", "10 inputs"),
    Contract(ENGINE, "hundred_inputs_seconds", 15.0, "s", "100 inputs"),
    Contract(ENGINE, "success_share", 0.99, "of all inputs", "inputs that are answered with a summary", "at least"),
    Contract(ENGINE, "slot_wait_seconds", 0.01, "s", "wait for a slot while one is free"),
    Contract(ENGINE, "slot_utilization", 0.8, "of the slots", "slots in use, weighted by time", "at least"),
    Contract(
        PIPELINE, "records_per_second", 20.0, "records/s", "records inferred while a batch is worked on",
        "at least", per_batch=True,
    ),
    Contract(PIPELINE, "latency_mean_seconds", 0.05, "s", "inference of a record, amortised", per_batch=True),
    Contract(PIPELINE, "memory_bytes", 8e9, "bytes", "memory of the whole run", per_batch=True),
    Contract(PIPELINE, "error_rate", 0.01, "of all records", "records that failed", per_batch=True, any_model=True),
    Contract(PIPELINE, "start_seconds", 10.0, "s", "start of the process, until the first record is being processed"),
    Contract(PIPELINE, "first_result_seconds", 1.0, "s", "the first result of a stream, with the model loaded"),
    Contract(PIPELINE, "thousand_records_seconds", 300.0, "s", "1,000 records, end to end"),
    Contract(PIPELINE, "ten_thousand_records_seconds", 2_700.0, "s", "10,000 records, end to end"),
    Contract(PIPELINE, "back_pressure_seconds", 0.1, "s", "work goes on for this long after the consumer stops"),
    Contract(PIPELINE, "resume_seconds", 30.0, "s", "start after a kill, until the first commit"),
    Contract(PIPELINE, "resume_reused_share", 1.0, "of what was committed", "results kept after a kill", "at least"),
    Contract(PIPELINE, "resume_speed_ratio", 0.8, "of that before", "speed after a kill", "at least"),
    Contract(MONITORING, "updates_per_second", 1.0, "1/s", "readings of a run's progress", "at least"),
    Contract(MONITORING, "delay_seconds", 0.1, "s", "from a commit until a watching process shows it (p95)"),
    Contract(MONITORING, "bytes", 50e6, "bytes", "memory of a watching process"),
    Contract(MONITORING, "cpu_share", 0.01, "of a core", "processor time of a watching process"),
    Contract(MONITORING, "cost_share", 0.01, "of a run's time", "time that being watched adds to a run"),
)  # fmt: skip
PER_BATCH = tuple(contract for contract in CONTRACTS if contract.per_batch)


@dataclass(frozen=True, slots=True)
class PerformanceClass:
    """What figures are comparable within: a model on a device, with prompts of a length.

    >>> PerformanceClass.of("small", None, 120.5)
    PerformanceClass(model='small', device='unknown', prompt_length='middle')
    >>> str(PerformanceClass.of("small", "cpu", 20))
    'small on cpu, short prompts'
    """

    model: str
    device: str
    prompt_length: PromptLength

    @classmethod
    def of(cls, model: str, device: str | None, prompt_tokens: float | None) -> PerformanceClass:
        """The class of a batch, by the mean of its prompts' tokens; None is unknown."""
        length: PromptLength = "unknown"
        if prompt_tokens is not None:
            length = "short" if prompt_tokens < 100 else "middle" if prompt_tokens <= 500 else "long"
        return cls(model, device or "unknown", length)

    def __str__(self) -> str:
        return f"{self.model} on {self.device}, {self.prompt_length} prompts"

    @property
    def is_reference(self) -> bool:
        """Whether the contracts' own limits are for this class: the small shipped model on the CPU."""
        return self.model == SMALL_MODEL and self.device in ("cpu", "unknown")
