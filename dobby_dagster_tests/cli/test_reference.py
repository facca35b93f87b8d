"""What is written about the commands elsewhere is what the commands take."""

import pytest

from dobby_dagster.cli.database_in_use import MODEL_OPTIONS, options_of
from dobby_dagster.cli.reference import FILE, reference
from dobby_dagster_tests.helpers.command import COMMANDS


def test_the_reference_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == reference(), "run: make docs"


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"init", "models"}))
def test_printed_commands_get_the_options_that_they_take(name: str) -> None:
    taken = {option for parameter in COMMANDS[name].params for option in parameter.opts if parameter.help}
    if name == "export":
        taken.remove("--content")  # a switch
    assert set(options_of(name)) == taken & set(MODEL_OPTIONS)
