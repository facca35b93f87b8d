"""``dobby show``: one record's state and summaries."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import out, print_json, print_table
from dobby_dagster.domain.errors import DobbyError, SourceError
from dobby_dagster.domain.printable import printable

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened

# A misspelt key is compared with at most this many keys.
NEAR_KEYS = 20_000
FORMER = {
    "content": "former: from earlier content",
    "recipe": "former: from another model, prompt or setting",
    "deleted": "former: the record is deleted",
    "": "current",
}


@options.takes("database", "relation")
def show(
    given: options.Given,
    key: Annotated[str, typer.Argument(help="The record's key.")],
    as_json: options.Json = False,
) -> None:
    """Show a record's state and its summaries: the current one first, then former ones."""
    use = opened(given)
    recipe = use.recipe()
    state = use.store.reports.state_of(use.relation, key, recipe)
    if state is None:
        require_row(use, key)
        state = {"state": "pending", "reason": "not planned yet", "error": ""}
    rows = use.store.reports.summaries_of(use.relation, key, recipe)
    if as_json:
        print_json({"key": key, "state": state["state"], "reason": state["reason"], "error": state["error"],
                    "summaries": rows})  # fmt: skip
        return
    out.print(f"{printable(key)}: {state['state']} {state['reason'] or state['error']}".rstrip())
    for row in rows:
        out.print(f"\n{row['text']}")
        facts = ("model", "prompt", "confidence", "min_logprob", "prompt_tokens", "output_tokens", "truncated",
                 "finish_reason", "batch", "fingerprint")  # fmt: skip
        values = [(name, "unknown" if row[name] is None else row[name]) for name in facts]
        print_table(["", ""], [("summary", FORMER[row["former"]]), *values])


def require_row(use: Opened, key: str) -> None:
    """Raise unless the source has a row with ``key``.

    Raises:
        SourceError: It has none; the hint suggests a similar key.
    """
    message = f"there is no record '{key}' in '{use.relation}'"
    try:
        if use.source.get([key]):
            return
    except SourceError as error:
        raise SourceError(message, hint=str(error)) from error
    except DobbyError:
        raise
    except Exception:  # noqa: S110 - text that the column's type can't hold is no row's key
        pass
    known: list[str] = []
    for page in use.source.key_pages(NEAR_KEYS):
        known = page
        break
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"see {use.command('export')}"
    raise SourceError(message, hint=hint)
