"""A GGUF file: checked before anything in it is loaded. It is untrusted input."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.folder_files import digest
from dobby_dagster.inference.models.gguf_config import config_fields
from dobby_dagster.inference.models.gguf_header import GgufHeader, read_header
from dobby_dagster.inference.models.gguf_tensors import GgufTensors, read_tensor, whole_name
from dobby_dagster.inference.models.gguf_tokenizer import tokenizer_definition
from dobby_dagster.inference.models.gguf_vocabulary import GgufVocabulary, read_vocabulary
from dobby_dagster.inference.models.model_config import parse_config
from dobby_dagster.inference.models.model_source import Framework, ModelSource, TokenizerDefinition
from dobby_dagster.inference.models.weight_files import check_shapes
from dobby_dagster.inference.optional_packages import missing

_ABOUT = ("general.name", "general.organization", "general.license")


@dataclass(frozen=True, kw_only=True)
class GgufFile(ModelSource):
    """A checked GGUF file of Qwen2 or Llama architecture.

    Attributes:
        header: Its metadata, and where its tensors are.
        vocabulary: What its metadata says about the tokenizer.
    """

    header: GgufHeader
    vocabulary: GgufVocabulary

    @property
    def shipped(self) -> bool:
        """See :class:`ModelSource`."""
        return False

    @property
    def size(self) -> int:
        """See :class:`ModelSource`."""
        return sum(place.bytes for place in self.header.tensors.values())

    @property
    def revision(self) -> str:
        """SHA-256 (hex) of the file."""
        return digest(self.path).hex()

    @property
    def quantization(self) -> str:
        """The type in which most bytes are stored, such as ``GGUF Q4_K``."""
        from gguf import GGMLQuantizationType

        kinds: Counter[int] = Counter()
        for place in self.header.tensors.values():
            kinds[place.kind] += place.bytes
        return f"GGUF {GGMLQuantizationType(kinds.most_common(1)[0][0]).name}"

    @property
    def keeps_int8(self) -> bool:
        """See :class:`ModelSource`."""
        return False

    def tensors(self, framework: Framework) -> GgufTensors:
        """See :class:`ModelSource`."""
        return GgufTensors(self.path, self.header, self.config, framework)

    def tokenizer(self) -> TokenizerDefinition:
        """See :class:`ModelSource`."""
        return tokenizer_definition(self.vocabulary, self.header, self.path)

    def end_tokens(self) -> list[int]:
        """See :class:`ModelSource`."""
        return self.vocabulary.ends


def check_gguf(file: Path) -> GgufFile:
    """Check a GGUF file as far as possible without loading the model.

    Raises:
        ModelError: The package ``gguf`` is not installed, or the file can't be used; says what is wrong with it.
    """
    if absent := missing("gguf"):
        raise ModelError(f"{file} can't be read: {absent}")
    header = read_header(file)
    if (parts := header.metadata.get("split.count", 1)) != 1:
        raise ModelError(f"{file} is one of {parts} parts", hint="join them with llama.cpp's llama-gguf-split --merge")
    fields = config_fields(header, file, lambda name: read_tensor(file, header.tensors[name]))
    config = parse_config(fields, file)
    shapes = {whole: place.shape for name, place in header.tensors.items() if (whole := whole_name(name))}
    check_shapes(shapes, config, file)
    vocabulary = read_vocabulary(header, file, config.vocab_size)
    about: list[Any] = [header.metadata.get(key) for key in _ABOUT]
    description = ", ".join(each for each in about if isinstance(each, str) and each)
    card = {"description": description} if description else {}
    return GgufFile(path=file, config_json=fields, config=config, card=card, header=header, vocabulary=vocabulary)
