"""CTranslate2, from a conversion of the checkpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class CTranslate:
    """``kind`` is the precision of computing."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._generator: Any = None
        self._texts: list[str] = []

    def load(self, folder: Path) -> None:
        import ctranslate2

        converted = folder / "ctranslate2"
        if not (converted / "model.bin").is_file():
            _convert(folder, converted)
        vocabulary = json.loads((converted / "vocabulary.json").read_text())
        self._texts = vocabulary
        self._ids = {text: index for index, text in enumerate(vocabulary)}
        self._generator = ctranslate2.Generator(
            str(converted), compute_type=self._kind, intra_threads=os.cpu_count() or 1, inter_threads=1
        )

    def run(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        made = self._generator.generate_batch(
            [[self._texts[token] for token in prompt] for prompt in prompts],
            max_batch_size=4096, batch_type="tokens", max_length=new, min_length=new, sampling_topk=1,
            include_prompt_in_result=False, end_token=[],
        )  # fmt: skip
        return [[self._ids[text] for text in result.sequences[0]] for result in made]


def _convert(folder: Path, converted: Path) -> None:
    """The converter adds a token for what is unknown unless there is one: the pad token serves as one."""
    import shutil
    import tempfile

    import ctranslate2

    with tempfile.TemporaryDirectory() as place:
        copy = Path(shutil.copytree(folder, Path(place, "model")))
        settings = json.loads((copy / "tokenizer_config.json").read_text())
        (copy / "tokenizer_config.json").write_text(json.dumps(settings | {"unk_token": settings["pad_token"]}))
        ctranslate2.converters.TransformersConverter(str(copy)).convert(str(converted), force=True)
