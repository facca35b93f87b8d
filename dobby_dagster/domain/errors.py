"""Every error that Dobby raises, with its severity and whether a retry can help."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from dobby_dagster.domain.printable import message as one_line


class Severity(StrEnum):
    """How bad an error is: the level of its alert in the log, and a field of the alert."""

    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Retry(StrEnum):
    """What to do after an error.

    With ``RETRY`` and ``BACK_OFF`` a failed step is retried at once, and a failed record by a later run. The alert of
    an error with ``ESCALATE`` says that a person has to act before a retry can help.
    """

    NO_RETRY = "no_retry"
    RETRY = "retry"
    BACK_OFF = "back_off"
    ESCALATE = "escalate"

    @property
    def may_pass(self) -> bool:
        """Whether another attempt can succeed without a person's help."""
        return self in (Retry.RETRY, Retry.BACK_OFF)


class DobbyError(Exception):
    """The root of Dobby's errors.

    Args:
        message: One line that names the thing and its value. Both may be untrusted: invisible characters are escaped.
        hint: What to do about it, in one line.
    """

    code: ClassVar[str] = "dobby"
    severity: ClassVar[Severity] = Severity.ERROR
    retry: ClassVar[Retry] = Retry.NO_RETRY

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = one_line(message)
        self.hint = None if hint is None else one_line(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class SettingsError(DobbyError):
    """A setting is unknown, of the wrong type, or out of range."""

    code = "settings"


class StoreError(DobbyError):
    """The database refused or failed."""

    code = "store"


class StoreBusyError(StoreError):
    """Another process has locked the database; the message names it."""

    code = "store_busy"
    severity = Severity.WARNING
    retry = Retry.BACK_OFF


class StoreUnavailableError(StoreError):
    """The server does not answer, or the circuit breaker is open after it repeatedly did not."""

    code = "store_unavailable"
    retry = Retry.BACK_OFF


class StoreFaultError(StoreError):
    """CozoDB panicked, or its answer can't be read.

    The script may have been executed or not, and no record is to blame.
    """

    code = "store_fault"
    retry = Retry.BACK_OFF


class StoreSizeError(StoreError):
    """What a server answers is longer than what is read at once."""

    code = "store_size"


class StoreAccessError(StoreError):
    """The database can't be opened or written: no such folder, no permission, a full disk."""

    code = "store_access"
    severity = Severity.CRITICAL
    retry = Retry.ESCALATE


class StoreCorruptError(StoreError):
    """The database file is damaged, or another program's."""

    code = "store_corrupt"
    severity = Severity.CRITICAL
    retry = Retry.ESCALATE


class SchemaError(StoreError):
    """The stored schema is newer than this version of Dobby, or another program's relation has one of its names."""

    code = "schema"
    retry = Retry.ESCALATE


class SourceError(DobbyError):
    """The source relation or one of its columns does not exist, or can't be used."""

    code = "source"


class ModelError(DobbyError):
    """A model folder can't be used: missing, incomplete, unsafe, or of another architecture."""

    code = "model"
    retry = Retry.ESCALATE


class ModelServerError(ModelError):
    """The model server does not answer, or refuses every request."""

    code = "model_server"
    severity = Severity.WARNING
    retry = Retry.BACK_OFF


class PromptError(DobbyError):
    """A prompt is unknown, malformed, or not supported by the model."""

    code = "prompt"


class AlertError(DobbyError):
    """An alert could not be delivered."""

    code = "alert"
    retry = Retry.BACK_OFF


class RecordError(DobbyError):
    """One record failed; the others go on."""

    code = "record"
    severity = Severity.WARNING


class InferenceError(RecordError):
    """The engine failed on this record alone."""

    code = "inference"
    retry = Retry.RETRY


class OutOfMemoryError(RecordError):
    """The record does not fit into the device's memory, even in a batch of its own."""

    code = "out_of_memory"
    retry = Retry.BACK_OFF


class UnstorableError(RecordError):
    """The model's output for this record can't be stored."""

    code = "unstorable"
    retry = Retry.RETRY


class ChangedBackError(RecordError):
    """The content changed while it was summarised and then changed back, so its summary was not stored."""

    code = "changed_back"
    retry = Retry.RETRY


class StalledError(RecordError):
    """The run made no progress while this record alone was in progress, and was ended."""

    code = "stalled"
    severity = Severity.ERROR
    retry = Retry.RETRY


class DegenerateOutputError(RecordError):
    """The quality gate rejected the output: empty, an echo, a repetition, or not finite."""

    code = "degenerate_output"
