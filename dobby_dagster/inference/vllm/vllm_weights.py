"""Weights for vLLM, read and checked as for the other engines: vLLM never opens a file of the model's."""

from __future__ import annotations

from typing import Any, ClassVar

from vllm.model_executor.model_loader import register_model_loader
from vllm.model_executor.model_loader.base_loader import BaseModelLoader

FORMAT = "dobby"


@register_model_loader(FORMAT)
class StateLoader(BaseModelLoader):  # type: ignore[misc]
    """Loads the tensors in :attr:`state`, and forgets them.

    Attributes:
        state: Tensors of torch by Hugging Face's names; set for the model that is loaded next.
    """

    state: ClassVar[dict[str, Any]] = {}

    def download_model(self, model_config: Any) -> None:
        """Nothing is downloaded."""

    def load_weights(self, model: Any, model_config: Any) -> None:
        """Copy the tensors into the model.

        Raises:
            ValueError: The model has parameters without a tensor.
        """
        state, StateLoader.state = StateLoader.state, {}
        loaded = model.load_weights(iter(state.items()))
        absent = sorted({name for name, _ in model.named_parameters()} - loaded)
        if absent:
            raise ValueError(f"weights are missing: {absent[0]}")
