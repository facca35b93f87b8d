"""``dobby migrate``: what a deployment runs before its services start."""

import gzip
from pathlib import Path

from dobby_dagster.store.ledger.schema import LATEST
from dobby_dagster_tests.helpers.command import Dobby

FORMER = Path(__file__).parents[1] / "store" / "fixtures" / "schema-3.db.gz"


def test_a_database_is_created_once(dobby: Dobby) -> None:
    said = f"sqlite:///new.db has schema version {LATEST}.\n"
    assert dobby("migrate", "--database", "sqlite:///new.db").out == said
    assert dobby("migrate", "--database", "sqlite:///new.db").out == said
    assert dobby("status", "--database", "sqlite:///new.db", "--json").code == 0


def test_a_database_of_a_former_version_is_brought_to_this_one(dobby: Dobby) -> None:
    Path("former.db").write_bytes(gzip.decompress(FORMER.read_bytes()))
    answer = dobby("migrate", "--database", "sqlite:///former.db", "--json")
    assert answer.json == {"database": "sqlite:///former.db", "schema_version": LATEST}


def test_a_database_that_ends_with_the_command_is_refused(dobby: Dobby) -> None:
    answer = dobby("migrate", "--database", "mem://gone")
    assert (answer.code, answer.out) == (1, "")
