"""Renders chat templates as transformers does; run as a program, for an untrusted template, with limits.

A template is a program in Jinja's language. Jinja's sandbox keeps it from files and from Python, but not from running
forever or filling the memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.sandbox.limited_process import answer, read_question

LONGEST_PROMPT = 1_000_000
_HINT = "do not use this model, or give it another chat_template.jinja"


class _MessagesRefusedError(ModelError):
    """The template raised an error itself: some refuse a system message."""

    code = "messages_refused"


def render(template: str, special: dict[str, str], prompts: Sequence[tuple[str, str]]) -> list[str]:
    """Render prompts up to where the model continues.

    The environment is that of transformers, without the current date: it would change prompts without changing the
    fingerprint. Templates that check for it have a fixed date for that case.

    Args:
        template: Jinja.
        special: Special tokens by name, such as ``bos_token``.
        prompts: Pairs of a system and a user text.

    Raises:
        ModelError: The template is malformed, unsafe, or can't be rendered.

    >>> render("{% for m in messages %}[{{ m.content }}]{% endfor %}", {}, [("Summarize.", "x = 1")])
    ['[Summarize.][x = 1]']
    """
    compiled = _compiled(template)
    return [_rendered(compiled, special, system, user) for system, user in prompts]


def _rendered(compiled: Any, special: dict[str, str], system: str, user: str) -> str:
    try:
        return _once(compiled, special, [{"role": "system", "content": system}, {"role": "user", "content": user}])
    except _MessagesRefusedError:
        return _once(compiled, special, [{"role": "user", "content": f"{system}\n\n{user}"}])


def _once(compiled: Any, special: dict[str, str], messages: list[dict[str, str]]) -> str:
    from jinja2 import TemplateError, UndefinedError
    from jinja2.exceptions import SecurityError

    given: dict[str, Any] = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": True}
    try:
        text: str = compiled.render(special | given)
    except SecurityError as error:
        raise _refusal(f"does something unsafe: {error}") from None
    except UndefinedError as error:
        if "strftime_now" in str(error):
            raise _refusal("asks for today's date, which would change prompts behind the fingerprint's back") from None
        raise _refusal(f"can't be rendered: {error}") from None
    except TemplateError as error:
        raise _MessagesRefusedError(f"the chat template refuses the prompt: {error}", hint=_HINT) from None
    except Exception as error:  # in an expression of the template: a division by zero, a wrong type
        raise _refusal(f"can't be rendered: {type(error).__name__}: {error}") from None
    if len(text) > LONGEST_PROMPT:
        raise _refusal(f"makes a prompt of {len(text):,} characters; {LONGEST_PROMPT:,} are allowed")
    return text


def _compiled(template: str) -> Any:
    from jinja2 import TemplateError, nodes
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """``{% generation %}`` marks what the model wrote, for training; its body is rendered as it is."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    class CheckedNamespace(Namespace):
        """Refuses names with underscores, which could reach Python's internals, as transformers does."""

        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                raise SecurityError(f"a namespace can't hold {name!r}")
            super().__setitem__(name, value)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["namespace"] = CheckedNamespace
    try:
        return environment.from_string(template)
    except TemplateError as error:
        raise _refusal(f"is malformed: {error}") from None
    except (RecursionError, SyntaxError, MemoryError, ValueError, OverflowError) as error:
        raise _refusal(f"is malformed: {type(error).__name__}") from None


def _refusal(message: str) -> ModelError:
    return ModelError(f"the chat template {message}", hint=_HINT)


def main() -> None:
    """Render the template and prompts from standard input."""
    question = read_question()
    try:
        answer({"texts": render(question["template"], question["special"], question["prompts"])})
    except ModelError as error:
        answer({"refusal": error.message.removeprefix("the chat template ")})
    except (MemoryError, RecursionError) as error:
        answer({"refusal": f"can't be rendered: {type(error).__name__}"})


if __name__ == "__main__":
    main()
