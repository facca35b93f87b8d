"""Between padded prompts (prompts, tokens) and prompts packed end to end (tokens,)."""

from __future__ import annotations

import torch
from torch.nn import functional

from dobby_dagster.inference.packed.key_value_cache import rounded

# Packed tokens are padded to a multiple of this: every new shape costs a compiled kernel.
TOKEN_STEP = 64


class Packing:
    """The places of padded prompts' tokens in the packed row of tokens, and back.

    Args:
        lengths: (prompts,) int64, in tokens.
        longest: Tokens of a padded prompt.
        heads: Query heads.
        kv_heads: Key-value heads.

    Attributes:
        used: Tokens of all prompts together.
        tokens: The same with padding at the end, up to a multiple of ``TOKEN_STEP``.
        last: (prompts,) the place of each prompt's last token in the packed row.
        positions: (tokens,) each packed token's position in its prompt.

    >>> packing = Packing(torch.tensor([2, 1]), longest=2, heads=1, kv_heads=1)
    >>> packing.unpack(torch.tensor([[[5.0]], [[6.0]], [[7.0]]]))[:, 0, :, 0]
    tensor([[5., 6.],
            [7., 7.]])
    """

    def __init__(self, lengths: torch.Tensor, longest: int, heads: int, kv_heads: int) -> None:
        count = len(lengths)
        ends = lengths.cumsum(0)
        begins = ends - lengths
        self._count, self._longest, self._heads, self._kv_heads = count, longest, heads, kv_heads
        self.used = int(ends[-1])
        self.tokens = rounded(self.used, TOKEN_STEP)
        self.last = ends - 1
        prompt = torch.repeat_interleave(torch.arange(count), lengths)
        inside = torch.arange(self.used) - begins[prompt]
        self.positions = functional.pad(inside, (0, self.tokens - self.used))
        # The padding repeats a prompt's last token: it is never attended to, yet 0 * NaN is NaN, so that another
        # prompt's token there could spread numbers that are not finite.
        padded = begins[:, None] + torch.minimum(torch.arange(longest), lengths[:, None] - 1)
        self._unpacked = (padded[:, None] * heads + torch.arange(heads)[:, None]).view(-1)
        self._unpacked_kv = (padded[:, None] * kv_heads + torch.arange(kv_heads)[:, None]).view(-1)
        packed = (prompt * heads * longest + inside)[:, None] + torch.arange(heads) * longest
        self._packed = functional.pad(packed.view(-1), (0, (self.tokens - self.used) * heads))

    def unpack(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, heads, size) to (prompts, heads, longest, size)."""
        flat = x.reshape(-1, x.shape[-1]).index_select(0, self._unpacked)
        return flat.view(self._count, self._heads, self._longest, -1)

    def unpack_kv(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, key-value heads, size) to (prompts, key-value heads, longest, size)."""
        flat = x.reshape(-1, x.shape[-1]).index_select(0, self._unpacked_kv)
        return flat.view(self._count, self._kv_heads, self._longest, -1)

    def pack(self, x: torch.Tensor) -> torch.Tensor:
        """(prompts, heads, longest, size) to (tokens, heads * size)."""
        flat = x.view(-1, x.shape[-1]).index_select(0, self._packed)
        return flat.view(self.tokens, -1)
