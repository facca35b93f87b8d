"""Runs over ranges of partitions: their tags, which runs are active, and backfills submitted to the daemon."""

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill

from dobby_dagster.defs.assets import PER_BATCH
from dobby_dagster.domain.records import batch_id, batch_number

REQUESTED_BY_TAG = "dobby/asked_by"
PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
QUEUED = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
ACTIVE = (*QUEUED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@dataclass(frozen=True)
class ActiveRuns:
    """Runs and backfills of a Dagster instance that have not ended.

    Attributes:
        batches: The batches of all of those runs.
        queued: Runs requested by Dobby that have not started.
        backfills: Number of backfills.
    """

    batches: set[str]
    queued: int
    backfills: int


def ranges(wanted: Iterable[str], longest: int) -> list[tuple[str, str]]:
    """``wanted`` as ranges of consecutive batches, each of at most ``longest`` batches: first and last of each.

    >>> ranges(["batch-000001", "batch-000003", "batch-000002", "batch-000005"], 10)
    [('batch-000001', 'batch-000003'), ('batch-000005', 'batch-000005')]
    """
    groups: list[list[int]] = []
    for number in sorted({batch_number(batch) for batch in wanted}):
        if groups and groups[-1][-1] == number - 1 and len(groups[-1]) < longest:
            groups[-1].append(number)
        else:
            groups.append([number])
    return [(batch_id(group[0]), batch_id(group[-1])) for group in groups]


def range_tags(first: str, last: str) -> dict[str, str]:
    """The tags of a run over the partitions from ``first`` to ``last``."""
    return {RANGE_START_TAG: first, RANGE_END_TAG: last}


def batches_of(tags: dict[str, str]) -> Iterator[str]:
    """The batches of a run with ``tags``."""
    if PARTITION_TAG in tags:
        yield tags[PARTITION_TAG]
    if RANGE_START_TAG in tags:
        try:
            first, last = batch_number(tags[RANGE_START_TAG]), batch_number(tags[RANGE_END_TAG])
        except ValueError:  # partitions that a person added under another name
            yield from {tags[RANGE_START_TAG], tags[RANGE_END_TAG]}
        else:
            yield from (batch_id(number) for number in range(first, last + 1))


def active_runs(instance: dg.DagsterInstance) -> ActiveRuns:
    """The runs and backfills that have not ended."""
    batches: set[str] = set()
    queued = 0
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=list(ACTIVE))):
        batches.update(batches_of(dict(run.tags)))
        queued += run.status in QUEUED and REQUESTED_BY_TAG in run.tags
    open_backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]))
    return ActiveRuns(batches, queued, len(open_backfills))


def submit_backfill(instance: dg.DagsterInstance, batches: Sequence[str], title: str, requested_by: str) -> str:
    """Submit a backfill of ``batches`` to the daemon, as the UI does, which shows it under Runs, Backfills.

    Returns:
        The identifier of the backfill.
    """
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id=uuid.uuid4().hex[:8],
        asset_graph=AssetGraph.from_assets(PER_BATCH),
        partition_names=list(batches),
        asset_selection=[asset.key for asset in PER_BATCH],
        backfill_timestamp=time.time(),
        tags={REQUESTED_BY_TAG: requested_by},
        dynamic_partitions_store=instance,
        all_partitions=False,
        title=title[:100],
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id
