"""A model of transformers from a checked checkpoint, which is untrusted: every error in loading it is a ModelError."""

from __future__ import annotations

from typing import Any

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.local.devices import Placement
from dobby_dagster.inference.models.checkpoint import Checkpoint
from dobby_dagster.inference.models.model_folder import one_line
from dobby_dagster.inference.models.model_source import ModelSource
from dobby_dagster.inference.models.quantization import QUANTIZED


def load_model(source: ModelSource, placement: Placement) -> Any:
    """The model on its device, in evaluation mode; weights are read as for the other backends.

    Raises:
        ModelError: It can't be loaded, or weights are missing or unexpected.
    """
    import torch
    import transformers
    from transformers.utils import logging as transformers_logging

    config_class = getattr(transformers, f"{source.architecture}Config")
    model_class = getattr(transformers, f"{source.architecture}ForCausalLM")
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    with Checkpoint(source, "pt") as checkpoint:
        state = checkpoint.state(getattr(torch, placement.dtype))
        settled = settled_config(source, tied=checkpoint.tied)
        try:
            model, report = model_class.from_pretrained(
                None,
                config=config_class.from_dict(settled),
                state_dict=state,
                dtype=placement.dtype,
                attn_implementation="sdpa",
                output_loading_info=True,
            )
        except Exception as error:  # an untrusted checkpoint can make the library raise anything
            raise ModelError(f"{source.path}: the model can't be loaded: {one_line(error)}") from error
    for what, keys in (("weights are missing:", "missing_keys"), ("the model has no place for", "unexpected_keys")):
        if found := sorted(report.get(keys) or ()):
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise ModelError(f"{source.path}: {what} {found[0]}{more}")
    return model.to(placement.device).eval()


def settled_config(source: ModelSource, *, tied: bool) -> dict[str, Any]:
    """The configuration for dequantized weights, with the resolved head and rotary embedding."""
    rotary = source.config.rotary
    fields = {name: value for name, value in source.config_json.items() if name not in QUANTIZED}
    fields |= {"tie_word_embeddings": tied, "rope_theta": rotary.rope_theta, "rope_parameters": rotary.settings()}
    # Versions before 5 read rope_theta and rope_scaling instead of rope_parameters.
    return fields | {"rope_scaling": None if rotary.rope_type == "default" else rotary.settings()}


def quantize(model: Any) -> Any:
    """The model with int8 weights in its linear layers; activations are quantized dynamically."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
