"""What an engine should generate: transformers' own model, tokenizer and chat template, and a plain loop in float32."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dobby_dagster.inference.engine import Generation
from dobby_dagster.inference.engine_features import EngineFeatures
from dobby_dagster.inference.prompts import Prompt

if TYPE_CHECKING:
    from dobby_dagster_tests.helpers.model_server import Reply


@dataclass
class Output:
    """A text with the log-probabilities of its tokens, the end of text included."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = "length"


class Reference:
    """Reads a folder by transformers' loaders; nothing here is Dobby's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def model(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32, local_files_only=True).eval()

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import PreTrainedTokenizerFast

        # AutoTokenizer replaces parts of tokenizer.json by those of the architecture's first model.
        return PreTrainedTokenizerFast.from_pretrained(self.folder, local_files_only=True)

    def outputs(self, contents: Sequence[str], prompt: Prompt, new: int = 8, **filters: Any) -> list[Output]:
        """The output for each content in the language Python."""
        system, before, after = prompt.filled("python")
        return [
            self.generate(
                [{"role": "system", "content": system}, {"role": "user", "content": f"{before}{content}{after}"}],
                new,
                **filters,
            )
            for content in contents
        ]

    def generate(
        self, messages: list[dict[str, str]], new: int, *, ban: int = 0, penalty: float = 1.0, draw: Any = None
    ) -> Output:
        """An output of at most ``new`` tokens.

        Args:
            messages: The chat.
            new: Most tokens.
            ban: No n-gram of this length is generated twice; 0: off.
            penalty: On the tokens that were generated before.
            draw: From the logits to a token, in place of the likeliest.
        """
        import torch

        prompt = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        output = Output()
        while len(output.ids) < new:
            with torch.inference_mode():
                logits = self.model(torch.tensor([prompt + output.ids])).logits[0, -1]
            scores = logits.clone()
            for token in set(output.ids):
                scores[token] = scores[token] / penalty if scores[token] > 0 else scores[token] * penalty
            scores[_banned(output.ids, ban)] = -torch.inf
            token = int(draw(scores) if draw else scores.argmax())
            output.logprobs.append(float(logits.log_softmax(-1)[token]))
            if token == self.tokenizer.eos_token_id:
                output.finish_reason = "stop"
                break
            output.ids.append(token)
        output.text = self.tokenizer.decode(output.ids, skip_special_tokens=True).strip()
        return output

    def reply(self, body: dict[str, Any]) -> Reply:
        """An answer to a chat completion request, as a server gives it."""
        import torch

        random = torch.Generator().manual_seed(body["seed"])

        def draw(scores: Any) -> Any:
            return torch.multinomial((scores / body["temperature"]).softmax(-1), 1, generator=random)

        output = self.generate(body["messages"], body["max_tokens"], draw=draw if body["temperature"] else None)
        content = [{"token": "", "logprob": value, "top_logprobs": []} for value in output.logprobs]
        choice = {
            "message": {"content": output.text},
            "finish_reason": output.finish_reason,
            "logprobs": {"content": content},
        }
        usage = {"prompt_tokens": 9, "completion_tokens": len(output.ids)}
        return 200, {}, {"choices": [choice], "usage": usage}


def _banned(ids: list[int], size: int) -> list[int]:
    """The tokens that would complete an n-gram for the second time."""
    if not size or len(ids) < size:
        return []
    tail = ids[len(ids) - size + 1 :]
    return [ids[i + size - 1] for i in range(len(ids) - size + 1) if ids[i : i + size - 1] == tail]


def assert_alike(engine: EngineFeatures, found: Sequence[Generation], expected: Sequence[Output]) -> None:
    """Texts, ends and scores are those of the reference, within the tolerance that the table gives the engine."""
    others = [(one.text, other.text) for one, other in zip(found, expected, strict=True) if one.text != other.text]
    assert len(others) <= (1 - engine.token_agreement) * len(found), others
    for one, other in zip(found, expected, strict=True):
        if one.text == other.text:
            assert (one.output_tokens, one.finish_reason) == (len(other.ids), other.finish_reason)
            scores = (statistics.fmean(other.logprobs), min(other.logprobs))
            assert (one.mean_logprob, one.min_logprob) == pytest.approx(scores, abs=engine.logprob_tolerance)


@contextmanager
def reference_server(reference: Reference) -> Iterator[str]:
    """The URL of a server that generates by ``reference``, one request at a time."""
    from dobby_dagster_tests.helpers.model_server import Scripted  # it needs the packages of an engine by URL

    one = threading.Lock()

    def reply(number: int, body: dict[str, Any]) -> Reply:
        with one:
            return reference.reply(body)

    with Scripted(reply) as server:
        yield server.url
