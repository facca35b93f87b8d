"""The quality gate: what passes, what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import DegenerateOutputError
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.pipeline.summarization.quality_gate import gate

INSTRUCTION = PromptLibrary.load().get("summary").text
CODE = 'def read(path):\n    """Read a file as UTF-8 text.\n\n    Read it with open(path), and return a = b.\n    t.clone() returns a new template with the same state.\n    """\n    with open(path, encoding="utf-8") as stream:\n        return stream.read()\n'


@pytest.mark.parametrize(
    "text",
    [
        "Read a file as UTF-8 text.",
        "Return the sum.",
        "Parse the header, the body and the trailer of the message.",
        "Convert the given list of lists to a list of dictionaries.",
        "Ein Satz auf Deutsch.",
        "Read it with open(path), and return a = b.",
        "t.clone() returns a new template with the same state.",
    ],
)
def test_good_summaries_pass(text: str) -> None:
    gate(text, CODE, INSTRUCTION)


@pytest.mark.parametrize(
    "sentence",
    [
        "Override for issubclass(subclass, cls).",
        "Like call_soon(), but thread-safe.",
        "Returns an import statement and calls a method of the module:",
        "Given integers xc, xe, yc and ye representing Decimals x = xc*10**xe and y = yc*1",
    ],
)
def test_a_sentence_of_the_documentation_passes_with_code_in_it(sentence: str) -> None:
    gate(sentence, f'def f(subclass, cls):\n    """{sentence}"""\n    return g(subclass, cls)\n', INSTRUCTION)


@pytest.mark.parametrize(
    "line",
    [
        "for every_item in all_the_items:",
        "for item in the list_of_items():",
        "Result compute(Input value, Mode mode) const;",
        "std::cout << value << std::endl;",
        "Item item = list_of_items.get(index)",
        "return self.items[index].value()",
        "Client client = new Client(the, default, list, of, names)",
        "Item item, other and another = take(first, second, third, fourth);",
        "Public function with(first, second, and, third, of, them) {",
    ],
)
def test_a_line_of_code_does_not(line: str) -> None:
    with pytest.raises(DegenerateOutputError, match="is an echo"):
        gate(line, f"first line\n    {line}\nlast line\n", INSTRUCTION)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        ("123 ... 4", "holds no words"),
        ("x", "holds no words"),
        ("A mapping with the keys build_file and build\n…\nbuild_file.", "is an echo"),
        ("You summarize code and text. Answer with one short sentence in English that says what", "is an echo"),
        (CODE, "is an echo"),
        ('with open(path, encoding="utf-8") as stream:', "is an echo"),
        ("the list of the list of the list of the list of the list", "repeats itself"),
        ("no no no no no no no no no", "repeats itself"),
        ("aaaaaaaaaaaaaaaaaaaaaaa", "repeats itself"),
    ],
)
def test_worthless_outputs_do_not(text: str, why: str) -> None:
    with pytest.raises(DegenerateOutputError, match=why):
        gate(text, CODE, INSTRUCTION)


FRAME = "class FrameBlock:\n    def read_frame(self, size):\n        return self.buffer.take(size, 4821, 17, 99)\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("materials materials materials", "repeats itself"),
        ("The materials, materials and materials.", "repeats itself"),
        ("Materials MATERIALS materials!", "repeats itself"),
        ("Returns the data frame data frame data frame.", "repeats itself"),
        ("Has a recipe with recipe with recipe.", "repeats itself"),
        ("Reads the name of the block of the block of the block.", "repeats itself"),
        ("Reads the file, then reads the file, then reads the file.", "repeats itself"),
        ("DataFrameFrameBufferFrameBlock", "repeats itself"),
        ("Returns the DataFrameFrameBufferFrameBlock of it.", "repeats itself"),
        ("Reads the frame_frame_frame of the buffer.", "repeats itself"),
        ("Reads the bufferbufferbuffer.", "repeats itself"),
        ("Reads the framererererer of it.", "repeats itself"),
        ("82734 19283 55 71 90", "holds no words"),
        ("Size 82734 19283 552 71 90", "holds numbers that are not in the content"),
        ("Returns 827341928355.", "holds numbers that are not in the content"),
        ("Returns the block 8f3ab29c1d4.", "holds numbers that are not in the content"),
        ("Reads \x00 a frame.", "control character"),
        ("Reads \x1b[31m a frame.", "control character"),
        ("Reads a \ufffd frame.", "control character"),
        ("Reads a" + chr(0xD800) + " frame.", "control character"),
        ("Reads a frame \u202e of it.", "control character"),
        ("def read_frame(self, size):", "code"),
        ("self.size = other.size;", "code"),
        ("if (frame == null) { return 0; }", "code"),
        ("```python\nread_frame(4)\n```", "code"),
        ("import os\nimport sys", "code"),
        ('Set -euo pipefail for file in "$@"; do gzip -k.', "code"),
        ("Set -euo pipefail.", "code"),
        ("SELECT name FROM frames WHERE size > 4", "code"),
        ("<div class='frame'>Frame</div>", "code"),
        ('{"frame": 4, "size": 2}', "code"),
        ("The quick brown fox jumps over the lazy dog near the river.", "no word of the content"),
    ],
)
def test_what_no_summary_is_does_not_pass(text: str, why: str) -> None:
    with pytest.raises(DegenerateOutputError, match=why):
        gate(text, FRAME, INSTRUCTION)


@pytest.mark.parametrize(
    "text",
    [
        "Reads a frame of the given size from the buffer.",
        "Takes 4821, 17 and 99 from the buffer.",
        "Returns frames; a frame holds one block, and a block holds one frame.",
        "Reads up to 16 bytes, 4 of them twice.",
        "Has had had no effect that that frame needs.",
        "Sets self.size = 4 and reads the frame.",
        "Calls read_frame(size) and returns what it gives.",
        "Liest einen Block der angegebenen Groesse aus dem Puffer und gibt ihn zur Verwendung heraus.",
        "Computes the sum.",
        "Reads text in windows1252, checked by SHA256withRSA on x86_64.",
        "Takes a list of frames and a list of sizes, and returns a list of blocks. Each block holds the bytes of one frame, "
        "read from the buffer in order.",
        "It checks if the block is a frame. If the block is not a frame, it is left alone. If it is, its size is read from "
        "the buffer and the block is returned with the size and the buffer.",
        "Berechnet\tdie Summe,\nund gibt sie aus.",
        "The class of a block.",
        "From here on, reads are buffered.",
    ],
)
def test_what_may_look_odd_and_is_right_passes(text: str) -> None:
    gate(text, FRAME, INSTRUCTION)


def test_a_name_of_the_content_may_repeat_itself() -> None:
    gate("Wraps FrameFrameFrameBuffer and its frames.", "class FrameFrameFrameBuffer:\n    frames = []\n", INSTRUCTION)
    gate("Says na na na to the caller.", "def sing():\n    say('na na na')  # to the caller\n", INSTRUCTION)
    with pytest.raises(DegenerateOutputError, match="repeats"):
        gate("Wraps FrameFrameFrameBuffer and its frames.", "class FrameBuffer:\n    frames = []\n", INSTRUCTION)


def test_without_the_content_only_what_needs_none_is_looked_at() -> None:
    for text in (
        "Wraps FrameFrameFrameBuffer.",
        "Size 82734 19283 552 71",
        "The quick brown fox jumps over lazy dogs.",
    ):
        gate(text, None, INSTRUCTION)
    for text in ("materials materials materials", "def f(x):", "a \x00 frame"):
        with pytest.raises(DegenerateOutputError):
            gate(text, None, INSTRUCTION)


@given(st.lists(st.sampled_from(["frame", "block", "size"]), min_size=1, max_size=3), st.integers(3, 9))
def test_whatever_comes_three_times_in_a_row_is_a_repetition(words: list[str], times: int) -> None:
    with pytest.raises(DegenerateOutputError, match="repeats itself"):
        gate(" ".join(words * times), "def f():\n    return 1\n", INSTRUCTION)


@given(st.text(), st.text())
def test_the_gate_never_fails_otherwise(text: str, content: str) -> None:
    try:
        gate(text, content, INSTRUCTION)
    except DegenerateOutputError as error:
        assert str(error).startswith("the output")
