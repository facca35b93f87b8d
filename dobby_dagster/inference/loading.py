"""Tokenizer and model out of a checked folder. A folder is untrusted input: whatever goes wrong is a ModelError."""

from __future__ import annotations

from typing import Any

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.devices import Placement
from dobby_dagster.inference.model_folder import ModelFolder


def load_tokenizer(folder: ModelFolder) -> Any:
    """The folder's tokenizer, exactly as ``tokenizer.json`` has it.

    Raises:
        ModelError: It can't be loaded, or is no fast one.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # The class that AutoTokenizer picks by architecture may add tokens of its own; tokenizer.json is the whole truth.
    kind = PreTrainedTokenizerFast if (folder.path / "tokenizer.json").is_file() else AutoTokenizer
    try:
        tokenizer = kind.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare Exception for a malformed file
        raise ModelError(f"{folder.path}: the tokenizer can't be loaded: {one_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{folder.path}: only fast tokenizers are supported", hint="add a tokenizer.json")
    return tokenizer


def load_model(folder: ModelFolder, placement: Placement) -> Any:
    """The folder's model on its device, ready to infer.

    Raises:
        ModelError: It can't be loaded, or weights are missing.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder.path,
            dtype=placement.dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except Exception as error:  # a folder is untrusted input: whatever it makes the library raise is its fault
        raise ModelError(f"{folder.path}: the model can't be loaded: {one_line(error)}") from error
    missing = sorted(report.get("missing_keys") or ())
    if missing:
        raise ModelError(f"{folder.path}: weights are missing: {missing[0]} and {len(missing) - 1} more")
    return model.to(placement.device).eval()


def quantize(model: Any) -> Any:
    """The model with int8 weights in its linear layers; activations are quantized as they come."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)


def end_tokens(folder: ModelFolder, tokenizer: Any) -> set[int]:
    """All identifiers that end an output, whoever names them: configuration, generation settings, tokenizer."""
    ends: set[int] = set()
    for value in (folder.generation.get("eos_token_id"), folder.config.get("eos_token_id"), tokenizer.eos_token_id):
        ends |= set(value) if isinstance(value, list) else {value} if value is not None else set()
    return ends


def one_line(error: BaseException) -> str:
    """What ``error`` says, in one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
