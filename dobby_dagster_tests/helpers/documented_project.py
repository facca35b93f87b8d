"""A project of documented functions that a tiny model can learn to describe."""

from pathlib import Path

VERBS = ("add", "open", "read", "write", "count", "close", "sort", "merge")
NOUNS = ("list", "file", "value", "name", "string", "number", "folder", "line")


def function(verb: str, noun: str, number: int) -> str:
    """One function with its documentation; no two are alike."""
    return (
        f"def {verb}_{noun}_{number}(first, second):\n"
        f'    """{verb.capitalize()} the {noun} of the project and return it."""\n'
        f"    {noun} = first.{verb}(second, {number})\n"
        f"    return {noun}\n"
    )


def write_project(root: Path, files: int = 40) -> Path:
    """A folder with ``files`` modules of eight functions each."""
    root.mkdir()
    for index in range(files):
        verb = VERBS[index % len(VERBS)]
        text = "\n\n".join(function(verb, noun, index) for noun in NOUNS)
        (root / f"module_{index}.py").write_text(text)
    return root
