"""Model folders: checked before anything in them is loaded, without torch.

A model folder is untrusted input: only safetensors, no code, regular files only, and every offset inside its file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.printable import shortened
from dobby_dagster.inference.models.folder_files import digest, is_file, read_json, require_regular_files
from dobby_dagster.inference.models.folder_tensors import FolderTensors
from dobby_dagster.inference.models.model_card import CARD, read_card
from dobby_dagster.inference.models.model_config import parse_config
from dobby_dagster.inference.models.model_source import Framework, ModelSource, TokenizerDefinition
from dobby_dagster.inference.models.packed_formats import PackedFormat
from dobby_dagster.inference.models.packed_tensors import PackedTensors
from dobby_dagster.inference.models.quantization import Scheme, scheme_of
from dobby_dagster.inference.models.shipped_models import is_shipped
from dobby_dagster.inference.models.tokenizer_files import (
    TOKENIZER,
    check_tokenizer,
    read_definition,
    read_ends,
    read_special,
    read_template,
)
from dobby_dagster.inference.models.weight_files import check_shapes, find_weights, read_shapes
from dobby_dagster.inference.scoring.confidence import calibration_of


@dataclass(frozen=True)
class ModelFolder(ModelSource):
    """A checked folder in Hugging Face's layout.

    Attributes:
        weights: Its weight files.
        scheme: How its weights are quantized; None where they are not.
    """

    weights: tuple[Path, ...] = ()
    scheme: Scheme | PackedFormat | None = None

    @property
    def shipped(self) -> bool:
        """See :class:`ModelSource`."""
        return is_shipped(self.path)

    @property
    def size(self) -> int:
        """See :class:`ModelSource`."""
        return sum(file.stat().st_size for file in self.weights)

    @cached_property
    def revision(self) -> str:
        """SHA-256 (hex) of the configuration, the tokenizer's files and the weights, in the order of their names."""
        names = {"config.json", "generation_config.json", TOKENIZER, "tokenizer_config.json", "vocab.json"}
        names |= {"merges.txt", "chat_template.jinja", "special_tokens_map.json", CARD, "added_tokens.json"}
        names |= {"tokenizer.model"}
        files = sorted({*self.weights, *(self.path / name for name in names if is_file(self.path / name))})
        total = hashlib.sha256()
        for file in files:
            total.update(f"{file.name}\0".encode() + digest(file))
        return total.hexdigest()

    @property
    def quantization(self) -> str:
        """See :class:`ModelSource`."""
        return self.scheme.name if self.scheme else ""

    @property
    def keeps_int8(self) -> bool:
        """See :class:`ModelSource`."""
        return isinstance(self.scheme, Scheme) and self.scheme.int8_rows

    def tensors(self, framework: Framework) -> FolderTensors:
        """See :class:`ModelSource`."""
        if isinstance(self.scheme, PackedFormat):
            return PackedTensors(self.weights, framework, self.scheme)
        return FolderTensors(self.weights, framework, self.scheme)

    def tokenizer(self) -> TokenizerDefinition:
        """See :class:`ModelSource`."""
        return TokenizerDefinition(read_definition(self.path), read_special(self.path), read_template(self.path))

    def end_tokens(self) -> list[int]:
        """See :class:`ModelSource`."""
        return read_ends(self.path)


def check_folder(path: Path) -> ModelFolder:
    """Check a folder as far as possible without loading the model.

    Raises:
        ModelError: Names the file and what is wrong with it.
    """
    require_regular_files(path)
    config_json = read_json(path / "config.json")
    config = parse_config(config_json, path / "config.json")
    if "auto_map" in config_json:
        raise ModelError(f"{path}: the model brings its own code, which is never run", hint="use a plain checkpoint")
    if is_file(path / "adapter_config.json"):
        raise ModelError(f"{path}: the model has an adapter that is not merged into it", hint="merge it, and save")
    scheme = scheme_of(config_json, path)
    weights = find_weights(path)
    shapes = read_shapes(weights)
    check_shapes(scheme.whole_shapes(shapes) if isinstance(scheme, PackedFormat) else shapes, config, path)
    check_tokenizer(path, config.vocab_size)
    card = read_card(path)
    return ModelFolder(path, config_json, config, card, calibration_of(card, path.name), weights, scheme)


def one_line(error: BaseException) -> str:
    """The message of ``error`` in one line of at most 300 characters."""
    return shortened(" ".join(str(error).split()) or type(error).__name__, 300)
