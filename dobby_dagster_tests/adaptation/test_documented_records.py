"""Which records an adaptation learns from, and which it holds out."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.adaptation.documented_records import (
    LEAST_JUDGED,
    MOST_JUDGED,
    MOST_OF_A_SENTENCE,
    DocumentedRecord,
    documented_records,
    part_of,
    split,
)
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.records import Record
from dobby_dagster.ingest.documentation.documented_code import DocumentedCode
from dobby_dagster_tests.helpers.documented_project import function
from dobby_dagster_tests.helpers.hostile_text import HOSTILE


def record(content: str, key: str = "a.py::f", language: str = "python", **changed: object) -> Record:
    return Record(key, content, "record", **{"content_type": "function", "language": language} | changed)  # type: ignore[arg-type]


GO = "// Area returns the area of the circle.\nfunc Area(r float64) float64 {\n\treturn 3.14159 * r * r\n}\n"
RUST = "/// Returns the area of the circle.\nfn area(r: f64) -> f64 {\n    3.14159 * r * r\n}\n"


def test_the_file_is_that_of_the_stored_path() -> None:
    [found] = documented_records([record(GO, "old::src/a.go::Area", "go", metadata={"path": "old::src/a.go"})])
    assert (found.file, found.parts.sentence) == ("old::src/a.go", "Returns the area of the circle.")


def test_documented_functions_of_several_languages_are_found() -> None:
    python = record(function("read", "file", 1), "a.py::read_file_1")
    found = documented_records([python, record(GO, "a.go::Area", "go"), record(RUST, "a.rs::area", "rust")])
    assert [one.parts.sentence for one in found] == [
        "Read the file of the project and return it.",
        "Returns the area of the circle.",
        "Returns the area of the circle.",
    ]
    assert all(one.parts.sentence not in one.parts.code for one in found)
    assert [one.file for one in found] == ["a.py", "a.go", "a.rs"]
    assert found[0].parts.documented == python.content


@pytest.mark.parametrize(
    "left_out",
    [
        record("def f(x):\n    return x + 1 + 2 + 3 + 4 + 5 + 6\n"),
        record(GO, "a.go::Area", "cobol"),
        record(RUST, "a.rs::area", "rust", content_type="section"),
        record(RUST, "a.rs::area", "rust", metadata={"derived": "class"}),
        record("x" * 200_000),
        record("def f(:\n"),
        record("(" * 5_000),
        *(record(text) for text in HOSTILE.values()),
        Record("k", None, "record", language="python"),
        Record("k", b"\xff\x00", "record", language="python"),
        Record("k", {"a": 1}, "record", language="python"),
    ],
)
def test_what_has_no_sentence_of_use_is_left_out(left_out: Record) -> None:
    assert documented_records([left_out]) == []


def test_a_sentence_and_a_code_come_a_few_times_only() -> None:
    same = [record(function("read", "file", number), f"{number}.py::f") for number in range(40)]
    assert len(documented_records(same)) == MOST_OF_A_SENTENCE
    assert len(documented_records([same[0]] * 5)) == 1


def made(files: Iterator[str] | list[str]) -> list[DocumentedRecord]:
    parts = DocumentedCode("def f(): ...", "", 0, "Does a thing.")
    return [DocumentedRecord(f"{file}::f{number}", file, "python", parts) for number, file in enumerate(files)]


@given(st.lists(st.text(max_size=8), max_size=60), st.integers(0, 3))
def test_a_file_is_in_one_part_whatever_else_there_is(files: list[str], seed: int) -> None:
    whole = split(made(files), seed)
    parts = [{one.file for one in part} for part in (whole.learned, whole.stopping, whole.judged)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert set().union(*parts) == set(files)
    alone = split(made(files[:1]), seed)
    assert all(one.file in parts[0] for one in alone.learned)
    assert split(made(files), seed).digest == whole.digest


def test_many_held_out_functions_are_a_sample() -> None:
    judged = next(name for name in map(str, range(100)) if part_of(name) == "judged")
    found = split(made([judged] * 1_000), 0)
    assert len(found.judged) == MOST_JUDGED
    assert [one.key for one in found.judged] == sorted(
        (one.key for one in found.judged), key=lambda key: int(key.partition("::f")[2])
    )


def test_too_few_functions_are_named() -> None:
    with pytest.raises(SourceError, match=rf"^3 documented functions can't .* to compare \(at least {LEAST_JUDGED}\)"):
        split(made(["a", "b", "c"]), 0).require_enough()
