"""From logits to tokens: which is chosen, how likely it was, and where an output ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings
from dobby_dagster.domain.summaries import FinishReason
from dobby_dagster.inference.optional_packages import missing

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class Output:
    """What was written for one prompt, and how it ended.

    ``finite`` is False where a logit was not a number: the output ends there and its text is worth nothing.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason = "length"
    finite: bool = True
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A finished output.

    Attributes:
        index: The prompt's place in what was asked.
        output: What was written.
        seconds: The prompt's share of the wall time: each pass through the model is shared by its rows.
        company: The most prompts that were in the works with it.
    """

    index: int
    output: Output
    seconds: float
    company: int


@dataclass(slots=True)
class Row:
    """An output in the making: what was written, what followed each run of tokens, and its own random numbers."""

    output: Output = field(default_factory=Output)
    followers: dict[tuple[int, ...], set[int]] = field(default_factory=dict)
    draws: torch.Generator | None = None


class Selector:
    """Chooses tokens, greedily or by sampling, with the filters of the settings.

    Args:
        settings: Greedy or sampling, its filters, stop texts, and the longest output.
        end_tokens: Identifiers that end an output.
        decode: From identifiers to text, for stop texts.

    Raises:
        ModelError: Filters are asked for whose packages are not installed.
    """

    def __init__(self, settings: InferenceSettings, end_tokens: set[int], decode: Callable[[list[int]], str]) -> None:
        self._settings = settings
        self._end = end_tokens
        self._decode = decode
        self._greedy = not settings.temperature and settings.repetition_penalty == 1.0
        if not self._greedy and (lacking := missing("torch", "transformers")):
            raise ModelError(f"sampling and repetition penalties need more packages: {lacking}")
        self._warpers = [] if self._greedy else _warpers(settings)
        self._processors = [] if self._greedy else [*_repetition(settings), *self._warpers]

    def row(self, seed: str, device: Any = "cpu") -> Row:
        """An empty output; ``seed`` makes sampling independent of what shares the batch."""
        return Row(draws=_generator(self._settings.seed, seed, device) if self._settings.temperature else None)

    def advance(self, logits: np.ndarray | torch.Tensor, rows: Sequence[Row]) -> list[int]:
        """Write one more token to each row, unless it ends it.

        Args:
            logits: (rows, vocabulary); a tensor where they are not in this machine's own memory.
            rows: In the same order; those that end here are marked.

        Returns:
            The tokens chosen, in order.
        """
        tokens, logprobs = self._choose_greedily(logits, rows) if self._greedy else self._choose(logits, rows)
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            self._append(row, token, logprob)
        return tokens

    def _choose_greedily(self, logits: np.ndarray | torch.Tensor, rows: Sequence[Row]) -> tuple[list[int], list[float]]:
        tokens, logprobs = _best(logits)
        size = self._settings.no_repeat_ngram
        if not size:
            return tokens, logprobs
        for place, row in enumerate(rows):
            banned = row.followers.get(_tail(row.output.tokens, size))
            if banned and tokens[place] in banned:
                scores = _host(logits[place])
                allowed = scores.copy()
                allowed[list(banned)] = -np.inf
                token = int(allowed.argmax())
                # What the model gave it, beside all others, the banned one included.
                logprobs[place] += float(scores[token] - scores[tokens[place]])
                tokens[place] = token
        return tokens, logprobs

    def _choose(self, found: np.ndarray | torch.Tensor, rows: Sequence[Row]) -> tuple[list[int], list[float]]:
        """With the library's filters, which take rows of one length at a time."""
        import torch

        logits = torch.from_numpy(found) if isinstance(found, np.ndarray) else found.float()
        chosen = torch.zeros(len(rows), dtype=torch.long, device=logits.device)
        places: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            places.setdefault(len(row.output.tokens), []).append(place)
        for length, alike in places.items():
            written = torch.tensor([rows[place].output.tokens for place in alike], dtype=torch.long)
            written = written.view(len(alike), length).to(logits.device)
            scores = logits[alike]
            for processor in self._processors if length else self._warpers:
                scores = processor(written, scores)
            chosen[alike] = self._drawn(scores, [rows[place] for place in alike])
        logprobs = logits.gather(1, chosen[:, None]).squeeze(1) - logits.logsumexp(dim=-1)
        return chosen.tolist(), logprobs.tolist()

    def _drawn(self, scores: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
        import torch

        if not self._settings.temperature:
            return scores.argmax(dim=-1)
        probabilities = torch.softmax(scores, dim=-1).nan_to_num(0.0)
        drawn = [
            torch.multinomial(each / each.sum().clamp(min=1e-9) + 1e-20, 1, generator=row.draws)
            for each, row in zip(probabilities, rows, strict=True)
        ]
        return torch.cat(drawn)

    def _append(self, row: Row, token: int, logprob: float) -> None:
        output = row.output
        if logprob != logprob or logprob == float("-inf"):
            output.finite, output.ended = False, True
            return
        output.logprobs.append(logprob)
        if token in self._end:
            output.finish_reason, output.ended = "stop", True
            return
        if size := self._settings.no_repeat_ngram:
            row.followers.setdefault(_tail(output.tokens, size), set()).add(token)
        output.tokens.append(token)
        if self._settings.stop and any(stop in self._decode(output.tokens) for stop in self._settings.stop):
            output.finish_reason, output.ended = "stop", True
        elif len(output.tokens) == self._settings.max_new_tokens:
            output.ended = True


def _tail(tokens: list[int], size: int) -> tuple[int, ...]:
    """The last ``size - 1`` tokens; what is shorter has nothing that could come again."""
    return tuple(tokens[len(tokens) - size + 1 :]) if len(tokens) >= size - 1 else (-1,)


def _best(logits: np.ndarray | torch.Tensor) -> tuple[list[int], list[float]]:
    """The first largest logit of each row, and its log-probability."""
    if not isinstance(logits, np.ndarray):
        best = logits.float().log_softmax(-1).max(-1)
        return best.indices.tolist(), best.values.tolist()
    with np.errstate(all="ignore"):
        chosen = logits.argmax(-1)
        largest = np.take_along_axis(logits, chosen[:, None], -1)
        # The probability of the largest is 1 / sum(exp(logits - largest)), which is what softmax has there.
        parts = np.subtract(logits, largest)
        return chosen.tolist(), (-np.log(np.exp(parts, out=parts).sum(-1))).tolist()


def _host(row: Any) -> np.ndarray:
    """Logits in this machine's memory."""
    found: np.ndarray = row if isinstance(row, np.ndarray) else row.float().cpu().numpy()
    return found


def _repetition(settings: InferenceSettings) -> Iterable[Any]:
    """The library's filters that look at what was written so far."""
    from transformers import generation

    if settings.repetition_penalty != 1.0:
        yield generation.RepetitionPenaltyLogitsProcessor(settings.repetition_penalty)
    if settings.no_repeat_ngram:
        yield generation.NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram)


def _warpers(settings: InferenceSettings) -> list[Any]:
    """The library's filters that shape the distribution to sample from."""
    from transformers import generation

    if not settings.temperature:
        return []
    chosen: list[Any] = [generation.TemperatureLogitsWarper(settings.temperature)]
    if settings.top_k:
        chosen.append(generation.TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        chosen.append(generation.TopPLogitsWarper(settings.top_p))
    return chosen


def _generator(seed: int, name: str, device: Any) -> torch.Generator:
    import torch

    value = int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8], "little") >> 1
    return torch.Generator(device=device).manual_seed(value)
