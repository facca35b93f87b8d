"""Model folders: found by path or name, and checked before anything in them is loaded, without torch.

A model folder is untrusted input: only safetensors, no code, regular files only, and every offset inside its file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dobby_dagster.domain.errors import ModelError, PromptError
from dobby_dagster.domain.filesystem import expanded
from dobby_dagster.domain.printable import shortened
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.inference.models.folder_files import digest, is_file, read_json, require_regular_files
from dobby_dagster.inference.models.model_card import CARD, read_card
from dobby_dagster.inference.models.model_config import ModelConfig, parse_config
from dobby_dagster.inference.models.quantization import Scheme, scheme_of
from dobby_dagster.inference.models.tokenizer_files import check_tokenizer
from dobby_dagster.inference.models.weight_files import check_weights, find_weights
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.inference.scoring.confidence import Calibration, calibration_of

HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.model"]
_PACKAGE = Path(__file__).resolve().parents[2]
SHELVES = (_PACKAGE / "shipped" / "models", _PACKAGE.parent / "models")
# Shortest prompt limit, in tokens.
_LEAST_PROMPT = 8


@dataclass(frozen=True)
class ModelFolder:
    """A checked folder in Hugging Face's layout.

    Attributes:
        path: The folder.
        config_json: The whole object in its ``config.json``.
        config: Those of its fields that decide what is computed.
        weights: Its weight files.
        card: The fields of its ``dobby.json``, which models trained for Dobby have.
        calibration: From log-probabilities to a confidence; None where the card has none.
        scheme: How its weights are quantized; None where they are not.
    """

    path: Path
    config_json: dict[str, Any]
    config: ModelConfig
    weights: tuple[Path, ...]
    card: dict[str, Any]
    calibration: Calibration | None = None
    scheme: Scheme | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def architecture(self) -> str:
        """``Qwen2`` or ``Llama``."""
        return self.config.architecture

    @property
    def shipped(self) -> bool:
        """Whether it is shipped with Dobby, and so trusted: its tokenizer and template run without a sandbox."""
        return self.path.resolve().parent in SHELVES

    @property
    def size(self) -> int:
        """Bytes of weights on disk."""
        return sum(file.stat().st_size for file in self.weights)

    @cached_property
    def revision(self) -> str:
        """SHA-256 (hex) of the configuration, the tokenizer's files and the weights, in the order of their names."""
        names = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json"}
        names |= {"merges.txt", "chat_template.jinja", "special_tokens_map.json", CARD, "added_tokens.json"}
        names |= {"tokenizer.model"}
        files = sorted({*self.weights, *(self.path / name for name in names if is_file(self.path / name))})
        total = hashlib.sha256()
        for file in files:
            total.update(f"{file.name}\0".encode() + digest(file))
        return total.hexdigest()

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

    def require_prompt(self, prompt: Prompt) -> None:
        """Refuse a prompt that this model was not trained for.

        Raises:
            PromptError: The model's card lists its prompts, and this is not one of them.
        """
        allowed = self.card.get("prompts")
        if allowed and prompt.id not in allowed:
            raise PromptError(
                f"model {self.name} was trained for the prompt {', '.join(allowed)} only, not '{prompt.id}'",
                hint="use an instruction model, such as Qwen2.5 or SmolLM2, with --model PATH",
            )


def shelf() -> dict[str, Path]:
    """The models that are shipped with Dobby, by name."""
    return {path.name: path for place in SHELVES if place.is_dir() for path in sorted(place.iterdir()) if path.is_dir()}


LARGER_MODEL = "dobby-code-73m"


def another_model(path: str) -> str:
    """A model to suggest where the one at ``path`` is unsure: the larger shipped one, else a placeholder."""
    return "PATH" if Path(path).name == LARGER_MODEL or LARGER_MODEL not in shelf() else LARGER_MODEL


def find_model(settings: ModelSettings) -> ModelFolder:
    """The folder at ``settings.path``, or the shipped or downloaded model of that name.

    Raises:
        ModelError: It does not exist, or can't be used.
    """
    known = shelf()
    path = expanded(settings.path)
    if not path.is_dir() and settings.path.removeprefix("models/") in known:
        path = known[settings.path.removeprefix("models/")]
    if not path.is_dir() and settings.allow_download:
        path = _download(settings.path)
    if not path.is_dir():
        raise ModelError(f"there is no model folder '{settings.path}'", hint=suggestion(settings.path, known))
    return check_folder(path)


def check_folder(path: Path) -> ModelFolder:
    """Check a folder as far as possible without loading the model.

    Raises:
        ModelError: Names the file and what is wrong with it.
    """
    require_regular_files(path)
    config_json = read_json(path / "config.json")
    config = parse_config(config_json, path)
    if "auto_map" in config_json:
        raise ModelError(f"{path}: the model brings its own code, which is never run", hint="use a plain checkpoint")
    if is_file(path / "adapter_config.json"):
        raise ModelError(f"{path}: the model has an adapter that is not merged into it", hint="merge it, and save")
    scheme = scheme_of(config_json, path)
    weights = find_weights(path)
    check_weights(weights, config, path)
    check_tokenizer(path, config.vocab_size)
    card = read_card(path)
    return ModelFolder(path, config_json, config, weights, card, calibration_of(card, path.name), scheme)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(f"model '{name}' can't be downloaded: {error}", hint="copy it from elsewhere") from None


def one_line(error: BaseException) -> str:
    """The message of ``error`` in one line of at most 300 characters."""
    return shortened(" ".join(str(error).split()) or type(error).__name__, 300)
