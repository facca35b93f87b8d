"""Model folders: found by path or name, checked before anything in them is loaded. No torch here.

A model folder is untrusted input: only safetensors, no code, and every offset inside the file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from dobby_dagster.domain.errors import ModelError, PromptError
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.inference.confidence import Calibration, calibration_of
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.inference.quantization import Scheme, scheme_of
from dobby_dagster.inference.tensor_files import check_safetensors

ARCHITECTURES = {"qwen2": "Qwen2", "llama": "Llama"}
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.model"]
CARD = "dobby.json"
_PACKAGE = Path(__file__).resolve().parent.parent
SHELVES = (_PACKAGE / "shipped" / "models", _PACKAGE.parent / "models")


@dataclass(frozen=True)
class ModelFolder:
    """A checked folder in Hugging Face's layout.

    Attributes:
        path: The folder.
        config: What its ``config.json`` says.
        weights: Its files of weights.
        card: What its ``dobby.json`` says, which models that were made for Dobby have.
        calibration: From log-probabilities to a confidence; None where the card has none.
        scheme: How its weights are quantized; None where they are not.
    """

    path: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    card: dict[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    scheme: Scheme | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def architecture(self) -> str:
        """``Qwen2`` or ``Llama``."""
        return ARCHITECTURES[self.config["model_type"]]

    @property
    def size(self) -> int:
        """Bytes of weights on disk."""
        return sum(file.stat().st_size for file in self.weights)

    def json(self, name: str) -> dict[str, Any]:
        """What one of the folder's JSON files says; nothing where it is not there."""
        return _json(self.path / name) if (self.path / name).is_file() else {}

    @cached_property
    def revision(self) -> str:
        """SHA-256 (hex) of the configuration, the tokenizer's files and the weights, in the order of their names."""
        names = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json"}
        names |= {"merges.txt", "chat_template.jinja", "special_tokens_map.json", CARD, "added_tokens.json"}
        files = sorted({*self.weights, *(self.path / name for name in names if (self.path / name).is_file())})
        total = hashlib.sha256()
        for file in files:
            status = file.stat()
            total.update(f"{file.name}\0".encode() + _digest(file, status.st_size, status.st_mtime_ns))
        return total.hexdigest()

    def prompt_limit(self, asked: int, new_tokens: int) -> int:
        """Prompt tokens that fit: what is asked, what the positions leave, and what the model was made for."""
        positions = int(self.config.get("max_position_embeddings") or asked + new_tokens)
        return min(asked, max(8, positions - new_tokens), int(self.card.get("max_prompt_tokens") or asked))

    def require_prompt(self, prompt: Prompt) -> None:
        """Refuse a prompt that this model was not made for.

        Raises:
            PromptError: The model's card lists its prompts, and this is none of them.
        """
        allowed = self.card.get("prompts")
        if allowed and prompt.id not in allowed:
            raise PromptError(
                f"model {self.name} was made for the prompt {', '.join(allowed)} only, not '{prompt.id}'",
                hint="use an instruction model, such as Qwen2.5 or SmolLM2, with --model PATH",
            )


def shelf() -> dict[str, Path]:
    """The models that come with Dobby, by name."""
    return {path.name: path for place in SHELVES if place.is_dir() for path in sorted(place.iterdir()) if path.is_dir()}


def find_model(settings: ModelSettings) -> ModelFolder:
    """The folder that ``settings.path`` names: a path, or a model that comes with Dobby.

    Raises:
        ModelError: There is no such folder, or it can't be used.
    """
    known = shelf()
    path = Path(settings.path).expanduser()
    if not path.is_dir() and settings.path.removeprefix("models/") in known:
        path = known[settings.path.removeprefix("models/")]
    if not path.is_dir() and settings.allow_download:
        path = _download(settings.path)
    if not path.is_dir():
        raise ModelError(f"there is no model folder '{settings.path}'", hint=suggestion(settings.path, known))
    return check_folder(path)


def check_folder(path: Path) -> ModelFolder:
    """Check all that can be checked without loading.

    Raises:
        ModelError: Naming the file and what is wrong with it.
    """
    config = _json(path / "config.json")
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"{path}: architecture '{kind}' is not supported", hint=f"supported: {', '.join(ARCHITECTURES.values())}"
        )
    if "auto_map" in config:
        raise ModelError(f"{path}: the model brings its own code, which is never run", hint="use a plain checkpoint")
    scheme = scheme_of(config, path)
    weights = _weights(path)
    for file in weights:
        check_safetensors(file)
    if not any((path / name).is_file() for name in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        raise ModelError(f"{path} has no tokenizer", hint="expected tokenizer.json")
    _check_tokenizer(path, config)
    card = _json(path / CARD) if (path / CARD).is_file() else {}
    return ModelFolder(path, config, weights, card, calibration_of(card, path.name), scheme)


def _check_tokenizer(path: Path, config: dict[str, Any]) -> None:
    """Check that no token is beyond the model's vocabulary, where a ``tokenizer.json`` tells."""
    if not (path / "tokenizer.json").is_file():
        return
    tokenizer = _json(path / "tokenizer.json")
    try:
        vocabulary = tokenizer["model"]["vocab"]
        known = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        largest = max([*known, *(token["id"] for token in tokenizer.get("added_tokens") or [])])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelError(
            f"{path}/tokenizer.json is no tokenizer: it holds no vocabulary", hint="copy it again"
        ) from None
    if largest >= int(config.get("vocab_size") or 0):
        raise ModelError(
            f"{path}: the tokenizer does not fit the model: its largest token is {largest:,}, "
            f"the model's vocabulary {config.get('vocab_size'):,}",
            hint="use the tokenizer that the model was trained with",
        )


def _weights(path: Path) -> tuple[Path, ...]:
    if (path / "model.safetensors").is_file():
        return (path / "model.safetensors",)
    index = path / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_json(index).get("weight_map", {}).values()))
        for name in names:
            if Path(name).name != name or not (path / name).is_file():
                raise ModelError(f"{path}: the index names {name!r}, which is not there", hint="copy it again")
        return tuple(path / name for name in names)
    pickles = [file.name for pattern in PICKLES for file in path.glob(pattern)]
    if pickles:
        raise ModelError(
            f"{path} has only pickled weights ({pickles[0]}), which can run code and are never loaded",
            hint="convert them to safetensors",
        )
    raise ModelError(f"{path} has no model.safetensors")


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text())
    except FileNotFoundError:
        raise ModelError(f"{file.parent} has no {file.name}: it is no model folder") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} can't be read: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{file} does not hold a JSON object")
    return value


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(f"model '{name}' can't be fetched: {error}", hint="fetch it elsewhere, and copy it") from None


def one_line(error: BaseException) -> str:
    """What ``error`` says, in one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


@lru_cache(maxsize=256)
def _digest(file: Path, size: int, changed_at: int) -> bytes:
    """SHA-256 of a file; read once for each of its states, since sensors ask at every tick."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
