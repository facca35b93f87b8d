"""From prompts side by side to prompts end to end, and back."""

from __future__ import annotations

import torch
from torch.nn import functional

from dobby_dagster.inference.packed.key_value_cache import rounded

# Packed tokens come in multiples of this: every new shape costs a compiled kernel.
TOKEN_STEP = 64


class Packing:
    """Where each token of padded prompts stands in the packed row of tokens, and back."""

    def __init__(self, lengths: torch.Tensor, longest: int, heads: int, shared: int) -> None:
        count = len(lengths)
        ends = lengths.cumsum(0)
        begins = ends - lengths
        self._count, self._longest, self._heads, self._shared = count, longest, heads, shared
        self.used = int(ends[-1])
        self.tokens = rounded(self.used, TOKEN_STEP)
        self.last = ends - 1
        prompt = torch.repeat_interleave(torch.arange(count), lengths)
        inside = torch.arange(self.used) - begins[prompt]
        self.positions = functional.pad(inside, (0, self.tokens - self.used))
        # Behind a prompt's end its last token is shown again: nobody attends to it, and were another prompt's shown
        # that is not finite, nothing times not a number would be not a number.
        padded = begins[:, None] + torch.minimum(torch.arange(longest), lengths[:, None] - 1)
        self._apart_heads = (padded[:, None] * heads + torch.arange(heads)[:, None]).view(-1)
        self._apart_shared = (padded[:, None] * shared + torch.arange(shared)[:, None]).view(-1)
        together = (prompt * heads * longest + inside)[:, None] + torch.arange(heads) * longest
        self._together = functional.pad(together.view(-1), (0, (self.tokens - self.used) * heads))

    def apart(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, heads, size) to (prompts, heads, longest, size)."""
        flat = x.reshape(-1, x.shape[-1]).index_select(0, self._apart_heads)
        return flat.view(self._count, self._heads, self._longest, -1)

    def shared_apart(self, x: torch.Tensor) -> torch.Tensor:
        """The same for the key-value heads."""
        flat = x.reshape(-1, x.shape[-1]).index_select(0, self._apart_shared)
        return flat.view(self._count, self._shared, self._longest, -1)

    def together(self, x: torch.Tensor) -> torch.Tensor:
        """(prompts, heads, longest, size) to (tokens, heads * size)."""
        flat = x.view(-1, x.shape[-1]).index_select(0, self._together)
        return flat.view(self.tokens, -1)
