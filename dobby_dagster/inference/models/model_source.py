"""What a model is read from: its configuration, its tokenizer and its tensors, whatever file holds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from dobby_dagster.domain.errors import ModelError, PromptError
from dobby_dagster.inference.models.model_config import ModelConfig
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.inference.scoring.confidence import Calibration

# ``pt`` for tensors of torch, ``np`` for arrays of NumPy.
Framework: TypeAlias = Literal["pt", "np"]
# Shortest prompt limit, in tokens.
_LEAST_PROMPT = 8
INSTRUCTION_MODEL = "use an instruction model, such as Qwen2.5 or SmolLM2, with --model PATH"


@dataclass(frozen=True)
class TokenizerDefinition:
    """A tokenizer and chat template; untrusted.

    Attributes:
        json: What a ``tokenizer.json`` holds; ``""`` where transformers has to convert the files of a folder.
        special: Names of special tokens, such as ``bos_token``, to their texts.
        template: The chat template (Jinja); ``""`` where there is none.
    """

    json: str
    special: dict[str, str]
    template: str


class TensorSource(Protocol):
    """A model's opened files, in a ``with`` statement; tensors have Hugging Face's names."""

    def __enter__(self) -> TensorSource:
        """Open the files; ModelError where one can't be read."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        ...

    @property
    def names(self) -> Collection[str]:
        """Weights and biases, without what belongs to them, such as scales."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """A weight's shape."""
        ...

    def value(self, name: str) -> Any:
        """A weight as it is stored, or dequantized in float32; ModelError where it can't be read."""
        ...

    def int8(self, name: str) -> tuple[Any, Any] | None:
        """A matrix stored in int8 and the scales of its rows, as arrays of NumPy; None where it is stored otherwise."""
        ...

    def bfloat16_place(self, name: str) -> tuple[Path, int] | None:
        """The file and offset of a matrix that is stored in rows of bfloat16; None where it is stored otherwise."""
        ...

    @property
    def unused(self) -> Collection[str]:
        """What the files hold and was not read, by the names in the files."""
        ...


@dataclass(frozen=True)
class ModelSource(ABC):
    """A model on disk, checked as far as possible without loading it: a folder, or a GGUF file.

    Attributes:
        path: The folder or file.
        config_json: The configuration in the layout of Hugging Face's ``config.json``.
        config: Those of its fields that decide what is computed.
        card: What is known of the model: the fields of ``dobby.json``, which models trained for Dobby have.
        calibration: From log-probabilities to a confidence; None where the card has none.
    """

    path: Path
    config_json: dict[str, Any]
    config: ModelConfig
    card: dict[str, Any]
    calibration: Calibration | None = None

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of weights on disk."""

    @property
    @abstractmethod
    def revision(self) -> str:
        """SHA-256 (hex) of everything in the files that decides what the model writes."""

    @property
    @abstractmethod
    def shipped(self) -> bool:
        """Whether it is shipped with Dobby, and so trusted: its tokenizer and template run without a sandbox."""

    @property
    @abstractmethod
    def quantization(self) -> str:
        """How its weights are quantized, for people; ``""`` where they are not."""

    @property
    @abstractmethod
    def keeps_int8(self) -> bool:
        """Whether its weights are stored in int8, so that a backend that computes in int8 uses the stored numbers."""

    @abstractmethod
    def tensors(self, framework: Framework) -> TensorSource:
        """Its weights, to be opened."""

    @abstractmethod
    def tokenizer(self) -> TokenizerDefinition:
        """Its tokenizer and chat template; ModelError where they are malformed."""

    @abstractmethod
    def end_tokens(self) -> list[int]:
        """Tokens that end an output, beside those of the configuration; ModelError where they are malformed."""

    @property
    def name(self) -> str:
        """The name of the folder or file."""
        return self.path.name

    @property
    def architecture(self) -> str:
        """``Qwen2`` or ``Llama``."""
        return self.config.architecture

    def prompt_limit(self, requested: int, new_tokens: int) -> int:
        """The longest prompt in tokens: the smallest of the requested limit, the card's, and what the positions leave.

        Raises:
            ModelError: The positions leave no room.
        """
        positions = self.config.max_position_embeddings
        if positions - new_tokens < _LEAST_PROMPT:
            raise ModelError(
                f"model {self.name} has {positions} positions (max_position_embeddings): "
                f"{new_tokens} new tokens leave no room for a prompt",
                hint="lower inference.max_new_tokens",
            )
        return min(requested, positions - new_tokens, self.card.get("max_prompt_tokens") or requested)

    def as_read(self, prompt: Prompt) -> Prompt:
        """``prompt`` as this model reads it: a model trained for certain prompts reads the content alone.

        Raises:
            PromptError: The model's card lists its prompts, and this is not one of them.
        """
        self.require_prompt(prompt)
        return prompt.model_copy(update={"user": "{content}"}) if self.card.get("prompts") else prompt

    def require_prompt(self, prompt: Prompt, callees: int = 0) -> None:
        """Refuse a prompt that this model was not trained for.

        Args:
            prompt: What it is asked.
            callees: Summaries of called functions in the prompt, at most.

        Raises:
            PromptError: The model's card lists its prompts, and this is not one of them, or has more than a content.
        """
        allowed = self.card.get("prompts")
        if allowed and prompt.id not in allowed:
            raise PromptError(
                f"model {self.name} was trained for the prompt {', '.join(allowed)} only, not '{prompt.id}'",
                hint=INSTRUCTION_MODEL,
            )
        if allowed and callees:
            raise PromptError(
                f"prompt.callees = {callees} is invalid: model {self.name} was trained to read a content alone",
                hint=f"set prompt.callees = 0, or {INSTRUCTION_MODEL}",
            )
