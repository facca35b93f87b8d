"""Logits in the memory of MLX's device."""

from __future__ import annotations

import mlx.core as mx
import numpy as np


class MlxLogits:
    """See :class:`~dobby_dagster.inference.local.network.DeviceLogits`.

    Args:
        values: (sequences, vocabulary), in any dtype.
        others: Lists of arrays to compute at once with them, so that the device is waited for once.
    """

    def __init__(self, values: mx.array, *others: list[mx.array]) -> None:
        self._values = values.astype(mx.float32)
        self._tokens = mx.argmax(self._values, axis=-1)
        self._logprobs = mx.max(self._values, axis=-1) - mx.logsumexp(self._values, axis=-1)
        mx.eval(self._values, self._tokens, self._logprobs, *others)

    def best(self) -> tuple[list[int], list[float]]:
        """The index of each row's largest logit (the first of equals), and its log-probability."""
        return self._tokens.tolist(), self._logprobs.tolist()

    def numpy(self) -> np.ndarray:
        """The logits of all sequences; not copied, since device and host share memory."""
        return np.asarray(self._values)

    def __getitem__(self, place: int) -> np.ndarray:
        """The logits of one sequence, (vocabulary,)."""
        row: np.ndarray = self.numpy()[place]
        return row
