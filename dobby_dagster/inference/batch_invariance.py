"""How far a summary depends on the other requests in its batch."""

from __future__ import annotations

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings


def promise(inference: InferenceSettings, model: ModelSettings, dtype: str) -> str:
    """What is guaranteed, in one sentence for people.

    Reproducible mode fixes every shape. Elsewhere the order of a sum depends on the shape of the matrices, which
    changes the last digits, and so a token where two are equally likely up to these. In float32 that does not happen
    in practice (a property test checks it); in 16 and 8 bits it does occasionally.

    >>> promise(InferenceSettings(reproducible=True), ModelSettings(), "float32")
    'byte-identical regardless of batching'
    """
    if inference.reproducible:
        return "byte-identical regardless of batching"
    if dtype == "float32" and model.quantization == "none":
        return "the same tokens regardless of batching, except where two are equally likely to 5 digits"
    numbers = dtype if model.quantization == "none" else model.quantization
    return (
        f"mostly the same tokens: rounding in {numbers} depends on the batch, which occasionally changes a word "
        "(inference.reproducible prevents it)"
    )
