"""``dobby try``: one text, one summary; nothing is stored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.output import note, out, print_json
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.plurals import counted


@options.takes("model", "device", "prompt", "prompt_file", "max_new_tokens")
def try_(
    given: options.Given,
    file: Annotated[Path | None, typer.Argument(help="A text file; by default standard input.")] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of the text, as python; by default by the file's extension.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Summarise one text with this model and prompt. No database is opened, and nothing is stored.

    Example: echo 'def area(r): return 3.14159 * r * r' | dobby try --language python
    """
    from dobby_dagster.ingest.code.languages import language_of
    from dobby_dagster.pipeline.summarization.single_text import summarize_text

    text = _text_of(file)
    known = language_of(file, text) if file is not None else None
    made = summarize_text(given.load().settings, text, language or (known.name if known else ""))
    written, model = made.generation, made.model
    if as_json:
        print_json(
            {
                "summary": written.text, "confidence": written.confidence, "model": model.name, "prompt": made.prompt,
                "engine": model.engine, "device": model.device, "numbers": model.numbers, "seconds": made.seconds,
                "load_seconds": model.load_seconds, "prompt_tokens": written.prompt_tokens,
                "output_tokens": written.output_tokens, "truncated": written.truncated,
                "finish_reason": written.finish_reason,
            }
        )  # fmt: skip
        return
    out.print(written.text, soft_wrap=True)
    tokens = "" if written.output_tokens is None else f", {counted(written.output_tokens, 'token')}"
    note(
        f"confidence {shown_confidence(written.confidence)}{tokens}, {made.seconds * 1_000:.0f} ms after"
        f" {model.load_seconds:.1f} s of loading; {model.name} in {model.numbers} on {model.device} by {model.engine},"
        f" prompt {made.prompt}"
    )
    if written.truncated:
        note("The text is longer than the prompt may be: its middle was left out.")
    if written.cut_off:
        note("The summary was cut off at its token limit; see --max-new-tokens.")


def _text_of(file: Path | None) -> str:
    """The text to summarise.

    Raises:
        SourceError: There is none, or it is not text.
    """
    from dobby_dagster.ingest.regular_files import NotReadError
    from dobby_dagster.ingest.source_files import MAX_BYTES, display, resolved, text_of
    from dobby_dagster.ingest.text_decoding import decoded

    if file is not None:
        if resolved(file).is_dir():
            raise SourceError(f"'{display(file)}' is a folder", hint="name a file, or use dobby ingest")
        try:
            return text_of(file)
        except NotReadError as error:
            raise SourceError(f"'{display(file)}' can't be read: {error}") from None
    if sys.stdin.isatty():
        note("Type or paste the text; end it with Ctrl-D on a line of its own.")
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise SourceError(f"standard input is larger than {MAX_BYTES:,} bytes")
    text = decoded(Path("stdin"), data)
    if text is None:
        raise SourceError("standard input is binary", hint="give it text, as in: dobby try code.py")
    if not text.strip():
        raise SourceError("standard input is empty", hint="as in: dobby try code.py, or cat code.py | dobby try")
    return text
