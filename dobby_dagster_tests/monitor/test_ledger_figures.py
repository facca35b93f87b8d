"""What the metrics are made of, where no other test reads it."""

from pathlib import Path

from dobby_dagster.domain.settings import Settings
from dobby_dagster.monitor.ledger import Ledger
from dobby_dagster.monitor.ledger_figures import LedgerReader
from dobby_dagster.store.cozo_store import CozoStore


def size_of(url: str) -> int | None:
    settings = Settings(database={"url": url})
    CozoStore.open(settings.database)
    return LedgerReader(Ledger(lambda memory: settings)).read().database_bytes


def test_the_size_of_a_folder_is_that_of_all_files_below_it(tmp_path: Path) -> None:
    size = size_of(f"rocksdb:///{tmp_path / 'records'}")
    assert size is not None
    assert size > 10_000, "RocksDB's files are in a folder of that folder"


def test_a_copy_beside_a_file_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "records.db.copy").write_bytes(bytes(10_000_000))
    size = size_of(f"sqlite:///{tmp_path / 'records.db'}")
    assert size is not None
    assert 10_000 < size < 5_000_000
