"""A program that tries a tokenizer on a few texts, with limits: a bad file makes the library panic or allocate."""

from __future__ import annotations

from typing import Any

from dobby_dagster.inference.sandbox.limited_process import answer, read_question

# Texts on which regular expressions backtrack, and typical pieces of contents.
TEXTS = (
    "def mean(values):\n    return sum(values) / len(values)\n", "a" * 2_000, "aB" * 500 + "!", "x" * 300 + "y",
    " " * 500, "\n\t " * 100, "0123456789" * 50, "é漢字🙂\u0301\u200d" * 40, "<|im_end|>" * 20, "(" * 200,
    "_-." * 100, "",
)  # fmt: skip
# A character becomes a few tokens at most: one for each byte.
_TOKENS_PER_CHARACTER, _SPARE = 20, 200


def try_texts(backend: Any) -> str:
    """What is wrong with a loaded tokenizer; ``""`` where nothing is."""
    for text in TEXTS:
        for special in (False, True):
            ids = backend.encode(text, add_special_tokens=special).ids
            if len(ids) > _TOKENS_PER_CHARACTER * len(text) + _SPARE:
                return f"makes {len(ids):,} tokens of {len(text):,} characters"
            if len(backend.decode(ids)) > 100 * len(ids) + 100 * len(text) + 1_000:
                return "decodes tokens to far more text than they came from"
    return ""


def main() -> None:
    """Load the tokenizer in standard input, or convert that of the folder which it names, and try it."""
    from tokenizers import Tokenizer

    question = read_question()
    try:
        if question["definition"]:
            backend = Tokenizer.from_str(question["definition"])
        else:
            from transformers import AutoTokenizer

            made = AutoTokenizer.from_pretrained(question["folder"], local_files_only=True, trust_remote_code=False)
            if not getattr(made, "is_fast", False):
                answer({"refusal": "can't be converted; add a tokenizer.json"})
                return
            backend = made.backend_tokenizer
        refusal = try_texts(backend)
        converted = "" if question["definition"] else backend.to_str()
        answer({"refusal": refusal} if refusal else {"converted": converted})
    except BaseException as error:  # a panic of the library is not an Exception
        text = " ".join(str(error).split())[:300] or type(error).__name__
        answer({"refusal": f"can't be loaded: {text}"})


if __name__ == "__main__":
    main()
