"""A linear layer with its weight in oneDNN's fastest layout, and with the operation after it fused in."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn import functional

_OPERATORS = torch.ops.mkldnn


class Linear:
    """``x @ weight.T + bias``, alone or fused with an activation, a product or a sum.

    Args:
        weight: (out, in).
        bias: (out,), or None.
        prepacked: Reorder the weight for oneDNN; torch's plain layer is about 7 % slower.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, prepacked: bool) -> None:
        self._bias = bias
        self._prepacked = prepacked
        # The operators are private to torch: can_prepack tests them, and there is a fallback.
        self._weight = _OPERATORS._reorder_linear_weight(weight.contiguous(), None) if prepacked else weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, in) to (rows, out)."""
        return self._unary(x, "none") if self._prepacked else functional.linear(x, self._weight, self._bias)

    def swish(self, x: torch.Tensor) -> torch.Tensor:
        """``swish(self(x))``, also called SiLU."""
        return (
            self._unary(x, "swish")
            if self._prepacked
            else functional.silu(functional.linear(x, self._weight, self._bias))
        )

    def times(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """``self(x) * other``, with ``other`` (rows, out)."""
        return (
            self._binary(x, other, "mul") if self._prepacked else functional.linear(x, self._weight, self._bias) * other
        )

    def plus(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """``self(x) + other``, with ``other`` (rows, out)."""
        return (
            self._binary(x, other, "add") if self._prepacked else functional.linear(x, self._weight, self._bias) + other
        )

    def _unary(self, x: torch.Tensor, name: str) -> torch.Tensor:
        out: torch.Tensor = _OPERATORS._linear_pointwise(x, self._weight, self._bias, name, [], "")
        return out

    def _binary(self, x: torch.Tensor, other: torch.Tensor, name: str) -> torch.Tensor:
        out: torch.Tensor = _OPERATORS._linear_pointwise.binary(x, other, self._weight, self._bias, name)
        return out


@lru_cache(maxsize=8)
def can_prepack(dtype: torch.dtype) -> bool:
    """Whether this torch has the operators, and they give the right results."""
    torch_state = torch.random.get_rng_state()
    try:
        weight, x, other = (torch.randn(shape).to(dtype) for shape in ((48, 32), (5, 32), (5, 48)))
        plain, packed = (Linear(weight, None, prepacked=prepacked) for prepacked in (False, True))
        pairs = [
            (plain(x), packed(x)),
            (plain.swish(x), packed.swish(x)),
            (plain.times(x, other), packed.times(x, other)),
            (plain.plus(x, other), packed.plus(x, other)),
        ]
        return all(torch.allclose(one.float(), two.float(), atol=0.1, rtol=0.05) for one, two in pairs)
    except (RuntimeError, NotImplementedError, AttributeError):
        return False
    finally:
        torch.random.set_rng_state(torch_state)
