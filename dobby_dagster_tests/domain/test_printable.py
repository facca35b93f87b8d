"""Untrusted text reaches a screen, a message or a log only as text that can be seen."""

import json
import logging
import os
import shutil
import subprocess
import unicodedata
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table

from dobby_dagster.cli.output import PlainConsole, PrintableFormatter
from dobby_dagster.domain.errors import DobbyError, StoreError
from dobby_dagster.domain.printable import MESSAGE_LENGTH, printable, printable_json, shell_word
from dobby_dagster_tests.helpers.command import PROCESS, Dobby
from dobby_dagster_tests.helpers.hostile_text import HOSTILE, invisible
from dobby_dagster_tests.helpers.records import fill

ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from("".join(HOSTILE.values())), max_size=60)


@given(ANY_TEXT)
def test_whatever_is_printed_can_be_seen_and_printing_twice_changes_nothing(text: str) -> None:
    once = printable(text)
    assert not invisible(once)
    assert not set("\u3164\ufe0f\u034f\U000e0100") & set(once)
    assert printable(once) == once
    assert not invisible(printable(text, lines=True), "\n\t")


@given(st.text())
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    ordinary = "".join(c for c in text if unicodedata.category(c)[0] in "LNPS" and c.isascii())
    assert printable(ordinary) == ordinary
    assert printable("Größe 大小 naïve e\u0301 → 🎉\u00a0x") == "Größe 大小 naïve e\u0301 → 🎉\u00a0x"


@given(st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers() | st.none()))
def test_json_can_be_seen_and_means_the_same(value: dict[str, object]) -> None:
    line = printable_json(value)
    assert not invisible(line)
    assert json.loads(line) == value


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_word_for_the_shell_is_the_same_text_after_pasting() -> None:
    words = [*HOSTILE.values(), "it's", "$(id)`id`", "\\n\\", "", "a b", "!x", "-x", "大\x1b小"]
    words = [word for word in words if "\ud800" not in word]
    line = "printf '%s\\0' " + " ".join(map(shell_word, words))
    assert not invisible(line)
    answer = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert [os.fsdecode(word) for word in answer.split(b"\0")[:-1]] == words


@given(ANY_TEXT)
def test_a_console_prints_text_and_nothing_else_whatever_brought_it(text: str) -> None:
    console, stream = PlainConsole(), StringIO()
    console.file, console.width = stream, 70
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    console.print(text, table)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as bar:
        bar.add_task(text)
    assert not invisible(stream.getvalue(), "\n\t")


def test_markup_and_emoji_codes_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    console, stream = PlainConsole(), StringIO()
    console.file = stream
    console.print(HOSTILE["markup"])
    assert stream.getvalue() == HOSTILE["markup"] + "\n"


@given(ANY_TEXT)
def test_an_error_is_one_line_that_can_be_seen(text: str) -> None:
    error = StoreError(f"{text} is damaged", hint=f"see {text}")
    assert not invisible(str(error))
    assert str(error) == f"{printable(text)} is damaged (see {printable(text)})"


def test_an_error_has_a_length() -> None:
    message = str(DobbyError("a" * 10**6 + "the end"))
    assert len(message) < 2 * MESSAGE_LENGTH
    assert message.endswith("the end")


def test_a_log_record_is_one_line_that_can_be_seen() -> None:
    record = logging.LogRecord("dobby", logging.ERROR, "", 0, "from %s", (HOSTILE["lines"] + HOSTILE["escape"],), None)
    line = PrintableFormatter("%(name)s: %(message)s").format(record)
    assert not invisible(line)


HOSTILE_KEY = HOSTILE["escape"] + HOSTILE["bidirectional"] + "[bold]" + HOSTILE["lines"]
WHERE = ("--database", "sqlite:///code.db", "--relation", "code_data")
FOREIGN_KEY = "größe → 🎉"


@pytest.mark.slow
def test_no_command_sends_a_hostile_key_or_name_to_the_screen(dobby: Dobby) -> None:
    fill({HOSTILE_KEY: "def f(a, b):\n    return a + b\n", "empty\x1b[31m": "", FOREIGN_KEY: ""})
    said = dobby("summarize", *WHERE, "--key", "id", "--content", "content")
    assert not invisible(said.out + said.err, "\n")
    _a_shown_key_can_be_pasted(said.out)
    for arguments in (
        ("show", HOSTILE_KEY, *WHERE),
        ("show", HOSTILE_KEY, *WHERE, "--json"),
        ("history", HOSTILE_KEY, *WHERE),
        ("export", *WHERE),
        ("export", *WHERE, "--format", "jsonl"),
        ("failed", "list", *WHERE),
        ("status", *WHERE),
        ("show", "\x1b[31mno such\x9b31m", *WHERE),
        ("failed", "release", "\x1b[31mno such", *WHERE),
        ("status", "--database", "\x1b[31mx"),
        ("summarize", *WHERE, "--key", "id", "--content", "\x1b[31mx"),
        ("summarize", *WHERE, "--model", "\x1b[31mx\nerror: forged"),
        ("export", *WHERE, "--format", "\x1b[31mx"),
        ("status", "--\x1b[31mno-option"),
        ("\x1b[31mno-command",),
        ("backfill", "\x1b[31mx", *WHERE),
    ):
        answer = dobby(*arguments)
        assert not invisible(answer.out + answer.err, "\n"), arguments
        assert "Traceback" not in answer.err
    assert r"\x1b]0;PWNED\x07" in dobby("export", *WHERE).out
    _an_encoding_that_lacks_characters_escapes_them()


def _a_shown_key_can_be_pasted(out: str) -> None:
    [line] = [line.strip() for line in out.splitlines() if "dobby show" in line]
    pasted = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
    assert HOSTILE_KEY in os.fsdecode(pasted).split("\0")


def _an_encoding_that_lacks_characters_escapes_them() -> None:
    for command in (["status"], ["show", FOREIGN_KEY]):
        ended = subprocess.run(
            [*PROCESS, *command, *WHERE],
            capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=False,
        )  # fmt: skip
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert ended.stdout.isascii()
    assert rb"gr\xf6\xdfe \u2192 \U0001f389" in ended.stdout
