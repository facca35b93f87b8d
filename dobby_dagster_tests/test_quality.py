"""The quality gate: what passes, what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import DegenerateOutputError
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.pipeline.quality import gate

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


@given(st.text(), st.text())
def test_the_gate_never_fails_otherwise(text: str, content: str) -> None:
    try:
        gate(text, content, INSTRUCTION)
    except DegenerateOutputError as error:
        assert str(error).startswith("the output")
