"""From logits to tokens: which one is chosen, its log-probability, and where an output ends."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings
from dobby_dagster.inference.local.avoidance import Avoidance
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.optional_packages import missing

if TYPE_CHECKING:
    import torch

    from dobby_dagster.inference.local.network import DeviceLogits

    Logits: TypeAlias = np.ndarray | torch.Tensor | DeviceLogits


class Selector:
    """Chooses tokens, greedily or by sampling, with the filters of the settings.

    Args:
        settings: Greedy or sampling, its filters, stop texts, and the longest output.
        end_tokens: Tokens that end an output.
        decode: From tokens to text, for stop texts.

    Attributes:
        end_tokens: As given.

    Raises:
        ModelError: The settings need packages that are not installed.
    """

    def __init__(self, settings: InferenceSettings, end_tokens: set[int], decode: Callable[[list[int]], str]) -> None:
        self._settings = settings
        self.end_tokens = end_tokens
        self._decode = decode
        self._greedy = not settings.temperature and settings.repetition_penalty == 1.0
        if not self._greedy and (reason := missing("torch", "transformers")):
            raise ModelError(f"sampling and repetition penalties need more packages: {reason}")
        self._warpers = [] if self._greedy else _warpers(settings)
        self._processors = [] if self._greedy else [*_repetition(settings), *self._warpers]

    def advance(self, logits: Logits, sequences: list[Sequence]) -> None:
        """Append a token to each sequence, or finish it.

        Args:
            logits: (sequences, vocabulary); a tensor where they are in a device's memory.
            sequences: In the same order.
        """
        choose = self._choose_greedily if self._greedy else self._choose
        for sequence, token, logprob in zip(sequences, *choose(logits, sequences), strict=True):
            self.append(sequence, token, logprob)

    def _choose_greedily(self, logits: Logits, sequences: list[Sequence]) -> tuple[list[int], list[float]]:
        """The likeliest tokens that are allowed, and their log-probabilities among all tokens."""
        tokens, logprobs = _best(logits)
        size = self._settings.no_repeat_ngram
        if not size and all(sequence.request.avoid is None for sequence in sequences):
            return tokens, logprobs
        for place, sequence in enumerate(sequences):
            banned = sequence.followers.get(tail(sequence.output_ids, size), set()) if size else set()
            if tokens[place] not in banned and sequence.request.avoid is None:
                continue
            scores = _host(logits[place])
            allowed = scores.copy()
            allowed[list(banned)] = -np.inf
            token = int(allowed.argmax())
            if sequence.request.avoid is not None:
                token = self._avoidance(sequence).choose(allowed, sequence.output_ids, token)
            # Of the distribution before the ban.
            logprobs[place] += float(scores[token] - scores[tokens[place]])
            tokens[place] = token
        return tokens, logprobs

    def _avoidance(self, sequence: Sequence) -> Avoidance:
        if sequence.avoidance is None:
            sequence.avoidance = Avoidance(sequence.request, self._decode, self.end_tokens)
        return sequence.avoidance

    def _choose(self, found: Logits, sequences: list[Sequence]) -> tuple[list[int], list[float]]:
        """Tokens and their log-probabilities, by transformers' filters, which take outputs of one length at a time."""
        import torch

        logits = found.float() if isinstance(found, torch.Tensor) else torch.from_numpy(_array(found))
        chosen = torch.zeros(len(sequences), dtype=torch.long, device=logits.device)
        places: dict[int, list[int]] = {}
        for place, sequence in enumerate(sequences):
            places.setdefault(len(sequence.output_ids), []).append(place)
        for length, alike in places.items():
            written = torch.tensor([sequences[place].output_ids for place in alike], dtype=torch.long)
            written = written.view(len(alike), length).to(logits.device)
            scores = logits[alike]
            for processor in self._processors if length else self._warpers:
                scores = processor(written, scores)
            chosen[alike] = self._drawn(scores, [sequences[place] for place in alike])
        logprobs = logits.gather(1, chosen[:, None]).squeeze(1) - logits.logsumexp(dim=-1)
        return chosen.tolist(), logprobs.tolist()

    def _drawn(self, scores: torch.Tensor, sequences: list[Sequence]) -> torch.Tensor:
        import torch

        if not self._settings.temperature:
            return scores.argmax(dim=-1)
        probabilities = torch.softmax(scores, dim=-1).nan_to_num(0.0)
        drawn = []
        for each, sequence in zip(probabilities, sequences, strict=True):
            if sequence.random is None:
                sequence.random = _generator(self._settings.seed, sequence.request.id, scores.device)
            weights = each / each.sum().clamp(min=1e-9) + 1e-20
            drawn.append(torch.multinomial(weights, 1, generator=sequence.random))
        return torch.cat(drawn)

    def append(self, sequence: Sequence, token: int, logprob: float) -> None:
        """Append a token to a sequence, or finish it."""
        if not math.isfinite(logprob):
            sequence.finite, sequence.finished = False, True
            return
        sequence.logprobs.append(logprob)
        if token in self.end_tokens:
            sequence.finish_reason, sequence.finished = "stop", True
            return
        if (size := self._settings.no_repeat_ngram) and len(sequence.output_ids) >= size - 1:
            sequence.followers.setdefault(tail(sequence.output_ids, size), set()).add(token)
        sequence.output_ids.append(token)
        if self._settings.stop and any(stop in self._decode(sequence.output_ids) for stop in self._settings.stop):
            sequence.finish_reason, sequence.finished = "stop", True
        elif len(sequence.output_ids) == self._settings.max_new_tokens:
            sequence.finished = True


def tail(tokens: list[int], size: int) -> tuple[int, ...]:
    """The last ``size - 1`` tokens; of a shorter output a value that no run of tokens equals."""
    return tuple(tokens[len(tokens) - size + 1 :]) if len(tokens) >= size - 1 else (-1,)


def _best(logits: Logits) -> tuple[list[int], list[float]]:
    """The index of each row's largest logit (the first of equals), and its log-probability."""
    if hasattr(logits, "best"):
        return logits.best()
    if not isinstance(logits, np.ndarray):
        best = logits.float().log_softmax(-1).max(-1)
        return best.indices.tolist(), best.values.tolist()
    with np.errstate(all="ignore"):
        chosen = logits.argmax(-1)
        largest = np.take_along_axis(logits, chosen[:, None], -1)
        # The softmax of the largest is 1 / sum(exp(logits - largest)).
        parts = np.subtract(logits, largest)
        return chosen.tolist(), (-np.log(np.exp(parts, out=parts).sum(-1))).tolist()


def _array(logits: np.ndarray | DeviceLogits) -> np.ndarray:
    return logits if isinstance(logits, np.ndarray) else logits.numpy()


def _host(row: Any) -> np.ndarray:
    """Logits as an array of NumPy."""
    found: np.ndarray = row if isinstance(row, np.ndarray) else row.float().cpu().numpy()
    return found


def _repetition(settings: InferenceSettings) -> Iterable[Any]:
    """Transformers' filters that depend on the output so far."""
    from transformers import generation

    if settings.repetition_penalty != 1.0:
        yield generation.RepetitionPenaltyLogitsProcessor(settings.repetition_penalty)
    if settings.no_repeat_ngram:
        yield generation.NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram)


def _warpers(settings: InferenceSettings) -> list[Any]:
    """Transformers' filters for sampling."""
    from transformers import generation

    if not settings.temperature:
        return []
    chosen: list[Any] = [generation.TemperatureLogitsWarper(settings.temperature)]
    if settings.top_k:
        chosen.append(generation.TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        chosen.append(generation.TopPLogitsWarper(settings.top_p))
    return chosen


def random_seed(seed: int, name: str) -> int:
    """The seed of a request's own draws, in 63 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8], "little") >> 1


def _generator(seed: int, name: str, device: Any) -> torch.Generator:
    import torch

    return torch.Generator(device=device).manual_seed(random_seed(seed, name))
