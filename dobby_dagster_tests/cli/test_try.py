"""``dobby try``: one text, one summary, nothing stored."""

import io
import sys
from pathlib import Path

import pytest

from dobby_dagster_tests.helpers.command import Dobby

CODE = "def area_of_circle(radius):\n    return 3.14159 * radius * radius\n"
SMALL = ("--model", "dobby-code-11m")


def given(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_text_from_standard_input_gets_a_summary(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, CODE.encode())
    plain = dobby("try", "--language", "python", *SMALL)
    assert plain.code == 0, plain.err
    assert len(plain.out.split()) >= 3
    assert plain.err.startswith("confidence 0.")
    given(monkeypatch, CODE.encode())
    made = dobby("try", "--language", "python", *SMALL, "--json").json
    assert made["summary"] == plain.out.strip()
    assert 0 < made["confidence"] <= 1
    assert (made["model"], made["truncated"]) == ("dobby-code-11m", False)
    assert made["output_tokens"] > 0
    assert not list(Path().glob("*.db*"))


def test_the_language_of_a_file_is_that_of_its_extension(dobby: Dobby) -> None:
    Path("area.py").write_text(CODE)
    Path("area.unknown").write_text(CODE)
    named = dobby("try", "area.unknown", "--language", "python", *SMALL)
    assert named.code == 0, named.err
    assert dobby("try", "area.py", *SMALL).out == named.out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "standard input is empty (as in: dobby try code.py"),
        (b" \n", "standard input is empty"),
        (b"\0\1\2", "standard input is binary (give it text"),
        (b"x" * 2_000_001, "standard input is larger than 2,000,000 bytes"),
    ],
)
def test_what_is_no_text_is_refused(dobby: Dobby, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str) -> None:
    given(monkeypatch, data)
    answer = dobby("try", *SMALL)
    assert (answer.code, answer.out) == (1, "")
    assert message in answer.err


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.py", "there is no file"), (".", "is a folder (name a file, or use dobby ingest)"), ("b.py", "binary")],
)
def test_a_file_that_can_not_be_read_is_named(dobby: Dobby, name: str, message: str) -> None:
    Path("b.py").write_bytes(b"\0\1\2")
    answer = dobby("try", name, *SMALL)
    assert (answer.code, answer.out) == (1, "")
    assert name in answer.err
    assert message in answer.err


def test_an_output_that_is_no_summary_is_an_error(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, b"def f(): pass")
    answer = dobby("try", "--max-new-tokens", "1", *SMALL)
    assert answer.code == 1
    assert answer.out == ""
