"""A model of transformers out of a checked folder, which is untrusted input: whatever goes wrong is a ModelError."""

from __future__ import annotations

from typing import Any

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.devices import Placement
from dobby_dagster.inference.model_folder import ModelFolder, one_line


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
