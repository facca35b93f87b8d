"""``dobby adapt``: the model is trained on the project's own documented functions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note, out, print_json, print_table
from dobby_dagster.cli.progress_bars import progress, working
from dobby_dagster.cli.record_lookup import typed
from dobby_dagster.domain.printable import shell_word

if TYPE_CHECKING:
    from dobby_dagster.adaptation.adaptation import Adaptation, Adapted
    from dobby_dagster.cli.database_in_use import Opened

FOLDER = Path("models/adapted")
_PAGE = 500
_STEPS = 1_000


@options.takes("database", *options.SOURCE, "model", "prompt", "prompt_file")
def adapt(
    given: options.Given,
    prefix: Annotated[str, typer.Argument(help="Only keys that begin so, as src/.")] = "",
    folder: Annotated[Path, typer.Option("--out", "-o", help="The folder of the adapted model.")] = FOLDER,
    minutes: Annotated[float, typer.Option(min=0.05, max=1_440, help="Of training, at most.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides the examples and their order.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that dobby adapt made.")] = False,
    as_json: options.Json = False,
) -> None:
    """Train the model on the documented functions of your project; the result is kept if it is better there.

    A part of the files is held out, and both models are compared on it. An interrupted training goes on where it was
    when the same command is given again. It needs torch.

    Example: dobby adapt --out models/my-project --minutes 10
    """
    from dobby_dagster.adaptation.adaptation import Adaptation
    from dobby_dagster.adaptation.documented_records import documented_records, split
    from dobby_dagster.domain.filesystem import expanded

    use = opened(given)
    with working("Reading records"):
        pages = use.source.pages(_PAGE, typed(prefix))
        parts = split(documented_records(record for page in pages for record in page), seed)
    adaptation = Adaptation(use.settings, parts, expanded(folder).absolute(), seconds=60 * minutes, seed=seed)
    adaptation.require_possible(force=force)
    with adaptation.folder.held():
        found = _adapted(adaptation, force=force, minutes=minutes)
    if as_json:
        kept = None if found.kept is None else str(found.kept)
        print_json({**asdict(found), "kept": kept, "better": found.comparison.better})
        return
    _show(found, use)


def _adapted(adaptation: Adaptation, *, force: bool, minutes: float) -> Adapted:
    """Train and compare, with progress."""
    if adaptation.begin(force=force):
        note("Going on with the training that was interrupted.")
    learned, judged = len(adaptation.split.learned), len(adaptation.split.judged)
    note(
        f"{learned:,} documented functions to learn, {judged:,} in other files to compare both models; training takes"
        f" {minutes:g} minutes at most."
    )
    try:
        with progress("Training", _STEPS) as advance:
            done = 0

            def told(share: float) -> None:
                nonlocal done
                advance(int(share * _STEPS) - done)
                done = int(share * _STEPS)

            adaptation.train(told)
        with progress("Comparing", 4 * len(adaptation.split.judged)) as advance:
            return adaptation.judge(advance)
    except KeyboardInterrupt:
        note("Stopped; the same command goes on with the training.")
        raise


def _show(found: Adapted, use: Opened) -> None:
    rows = [
        (each.name, f"{each.before:.1f} %", f"{each.after:.1f} %", f"{each.low:+.1f} to {each.high:+.1f}")
        for each in found.comparison.differences
    ]
    print_table(["on held-out functions", "before", "after", "difference, 95 %"], rows)
    if found.kept is None:
        out.print(
            "The adapted model is not better by more than the noise, and was deleted; nothing else was changed."
            " More documented functions, or more --minutes, may help.",
            soft_wrap=True,
        )
        return
    out.print(
        "The confidence was calibrated again on the held-out functions."
        if found.recalibrated
        else "The confidence is calibrated as the base's: the held-out functions are too few to do it again.",
        soft_wrap=True,
    )
    out.print("To summarise with it:", soft_wrap=True)
    command = use.command(f"summarize --model {shell_word(str(found.kept))}")
    out.print(f"  {command}", soft_wrap=True)
