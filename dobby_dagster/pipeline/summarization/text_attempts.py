"""What an engine writes for many texts, with the quality gate and the second try of a run; nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dobby_dagster.domain.settings import SecondTry
from dobby_dagster.inference.engine import Avoid, Engine, Generation, Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.pipeline.summarization.second_try import Attempt, avoided, better


def text_attempts(
    engine: Engine,
    prompt: Prompt,
    texts: Sequence[tuple[str, str]],
    when: SecondTry,
    told: Callable[[], object] = lambda: None,
) -> dict[int, Attempt]:
    """The attempt that a run would keep for each text, by its index; those whose inference failed are left out.

    Args:
        engine: Any.
        prompt: Around each text.
        texts: Contents and their languages.
        when: Which outputs are generated once more, as in ``inference.second_try``.
        told: Called for each first output.
    """
    first = _attempts(engine, prompt, texts, dict.fromkeys(range(len(texts))), told)
    wanted = {i: avoid for i, one in first.items() if (avoid := avoided(one, texts[i][0], when))}
    for i, second in _attempts(engine, prompt, texts, wanted, lambda: None).items():
        first[i] = better(first[i], second, texts[i][0])
    return dict(sorted(first.items()))


def _attempts(
    engine: Engine,
    prompt: Prompt,
    texts: Sequence[tuple[str, str]],
    wanted: Mapping[int, Avoid | None],
    told: Callable[[], object],
) -> dict[int, Attempt]:
    found: dict[int, Attempt] = {}
    for answer in engine.infer((Request(str(i), *texts[i], avoid) for i, avoid in wanted.items()), prompt):
        told()
        if isinstance(answer, Generation):
            found[int(answer.id)] = Attempt.of(answer, texts[int(answer.id)][0], prompt.text)
    return found
