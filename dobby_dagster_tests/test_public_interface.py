"""What other programs import: these names, typed, and nothing that is heavy before it is used."""

import subprocess
import sys
from importlib.resources import files

import dobby_dagster


def test_the_public_names_are_these_and_each_can_be_imported() -> None:
    assert dobby_dagster.__all__ == [
        "CozoDatabase", "CozoIOManager", "CozoStore", "ModelPool", "PipelineOptions", "Settings", "__version__",
        "build_assets", "build_definitions", "build_resources", "cozo_client", "load_settings", "record_batch_partitions",
        "search_summaries",
    ]  # fmt: skip
    for name in dobby_dagster.__all__:
        public = getattr(dobby_dagster, name)
        assert isinstance(public, str) or public.__doc__, name


def test_other_names_are_attribute_errors() -> None:
    assert not hasattr(dobby_dagster, "build_everything")


def test_the_package_says_that_it_is_typed() -> None:
    assert files(dobby_dagster).joinpath("py.typed").is_file()


def test_importing_the_package_imports_none_of_its_dependencies() -> None:
    code = (
        "import sys, dobby_dagster; print([m for m in ('dagster', 'pycozo', 'pydantic', 'torch') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
