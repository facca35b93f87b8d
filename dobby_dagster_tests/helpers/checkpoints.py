"""Small checkpoints with random weights, made here: the real loading code needs real files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Query heads; vLLM's kernels for the CPU need heads of at least 32 numbers.
HEADS = 2 if find_spec("vllm") else 4
WORDS = "def return the a of is list value name string number open read write class import self for in if not none"
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(chat: bool = True, extra: int = 0, words: Sequence[str] = ()) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>", *(f"<|extra{i}|>" for i in range(extra))]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS] * 4, trainer)
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in words])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|im_end|>")
    fast.chat_template = CHAT if chat else None
    return fast


def make_checkpoint(path: Path, architecture: str = "qwen2", seed: int = 0, chat: bool = True,
                    words: Sequence[str] = (), **changed: Any) -> Path:  # fmt: skip
    """A model of two layers, about half a megabyte; ``changed`` are fields of its configuration."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    tokenizer = make_tokenizer(chat, words=words)
    config_class, model_class = {
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
        "llama": (LlamaConfig, LlamaForCausalLM),
    }[architecture]
    fields = {
        "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS // 2, "max_position_embeddings": 512,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None,
        "initializer_range": 0.3, "tie_word_embeddings": True,
    }  # fmt: skip
    config = config_class(**fields | changed)
    model_class(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def edit_json(file: Path, **changes: Any) -> None:
    """Change what a JSON file says; ``...`` takes a name away."""
    said = (json.loads(file.read_text()) if file.is_file() else {}) | changes
    file.write_text(json.dumps({name: value for name, value in said.items() if value is not ...}))


def edit_tensors(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace a folder's tensors by what ``change`` makes of them."""
    from safetensors.torch import load_file, save_file

    tensors = change(load_file(folder / "model.safetensors"))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def reference_tokens(folder: Path, prompts: Sequence[Sequence[int]], new: int = 8) -> list[list[int]]:
    """What transformers writes for each prompt, greedily and in float32, read by its own loader."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    written = []
    for prompt in prompts:
        ids = torch.tensor([list(prompt)])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False)
        written.append(out[0, len(prompt) :].tolist())
    return written
