"""Jobs for operators; their configuration is explained and validated in the launchpad."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from dobby_dagster.defs.partitions import add_partitions
from dobby_dagster.defs.resources import CozoDatabase, ModelPool, PipelineOptions
from dobby_dagster.defs.runs.batch_runs import submit_backfill
from dobby_dagster.defs.runs.crash_recovery import recover
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import Settings

if TYPE_CHECKING:
    from dobby_dagster.store.cozo_store import CozoStore

UPKEEP = "upkeep"


class SummarizeNewConfig(dg.Config):
    """How to find changes."""

    compare_everything: bool = Field(
        False, description="Read every row, even where triggers or a watermark tell what changed."
    )


class ResummarizeConfig(dg.Config):
    """Which records to summarise again; at least one of the three."""

    keys: list[str] = Field([], description="Records to select by key.")
    prefix: str = Field("", description="Also select records whose key starts with this.")
    confidence_below: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Select only records of a lower confidence, with the prefix or of all.",
    )


class ReleaseConfig(dg.Config):
    """Which failed records to try again."""

    keys: list[str] = Field([], description="Records to select by key; all failed ones where empty.")


class HistoryConfig(dg.Config):
    """How long to keep the history."""

    days: float = Field(90.0, ge=0, description="Drop superseded states older than this; 0 keeps all.")


def _start(context: dg.OpExecutionContext, store: "CozoStore", batches: Sequence[str], title: str) -> None:
    if not batches:
        context.log.info(f"{title}: nothing to process")
        return
    add_partitions(context.instance, store)
    backfill = submit_backfill(context.instance, batches, title, context.job_name)
    context.log.info(f"{title}: backfill {backfill} of {counted(len(batches), 'batch')}")
    context.add_output_metadata({"backfill": backfill, "batches": len(batches)})


@dg.op
def look_and_start(
    context: dg.OpExecutionContext,
    config: SummarizeNewConfig,
    database: CozoDatabase,
    models: ModelPool,
    options: PipelineOptions,
) -> None:
    """Cut new records into batches, and start a backfill of all unfinished batches."""
    from dobby_dagster.pipeline.planning.planner import plan

    store, source = database.store, database.records()
    plan(store, source, options.settings.batch_size, full_scan=config.compare_everything)
    store.recipes.remember(models.recipe)
    unfinished = store.states.unfinished(source.settings.relation, models.recipe.id, options.settings.max_retries)
    _start(context, store, list(unfinished), f"Summarise {counted(sum(unfinished.values()), 'record')}")


@dg.op
def forget_and_start(
    context: dg.OpExecutionContext, config: ResummarizeConfig, database: CozoDatabase, models: ModelPool
) -> None:
    """Delete the selected summaries of the model and prompt in use, and start a backfill that replaces them."""
    from dobby_dagster.pipeline.planning.record_selection import discard_summaries

    relation = database.source_settings.relation
    batches = discard_summaries(
        database.store, relation, models.recipe.id, config.keys, config.prefix, config.confidence_below
    )
    _start(context, database.store, list(batches), f"Summarise {counted(sum(batches.values()), 'record')} again")


@dg.op
def release_and_start(
    context: dg.OpExecutionContext, config: ReleaseConfig, database: CozoDatabase, models: ModelPool
) -> None:
    """Return failed records to pending, reset their retry counts, and start a backfill of their batches."""
    from dobby_dagster.pipeline.planning.record_selection import release

    released = release(database.store, database.source_settings.relation, models.recipe.id, config.keys)
    _start(
        context, database.store, list(released), f"Retry {counted(sum(map(len, released.values())), 'failed record')}"
    )


@dg.op
def clean_up(context: dg.OpExecutionContext, database: CozoDatabase) -> None:
    """Close runs whose process died, return the records that they had started to pending, free leaked pool slots."""
    context.log.info(str(recover(context.instance, database.store)))


@dg.op(out=dg.Out(dg.Nothing))
def check_database(context: dg.OpExecutionContext, database: CozoDatabase) -> None:
    """Read every row, and audit the ledger; fail where the database is damaged."""
    problems = database.store.check()
    if problems:
        raise dg.Failure(
            f"{database.settings.url} is damaged: {'; '.join(problems[:5])}; restore a backup", allow_retries=False
        )
    for violation in database.store.audit.examine():
        context.log.warning(f"{violation}; dobby {violation.remedy}")
    context.log.info(f"{database.settings.url} is valid")


def back_up_into(folder: Path | None, kept: int) -> dg.OpDefinition:
    """The op that backs up into ``folder``: a path from the settings, which the launchpad can't change."""

    @dg.op(name="back_up_database", ins={"checked": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def back_up_database(context: dg.OpExecutionContext, database: CozoDatabase) -> None:
        """Write a backup into automation.backup_folder, and delete the oldest; runs only after a successful check."""
        from dobby_dagster.pipeline.backup_rotation import back_up

        if folder is None:
            context.log.info("no backup: automation.backup_folder is not set")
            return
        result = back_up(database.store, folder, kept)
        for file, problem in result.damaged.items():
            context.log.warning(f"an older backup is damaged: {file}: {problem}")
        older = counted(len(result.deleted), "older backup")
        context.log.info(f"{result.path}: {result.contents.summary}, verified; {older} deleted")

    return back_up_database


@dg.op(ins={"saved": dg.In(dg.Nothing)})
def compact_history(context: dg.OpExecutionContext, config: HistoryConfig, database: CozoDatabase) -> None:
    """Drop superseded states of a certain age; current states and all summaries stay."""
    import time

    if not config.days:
        context.log.info("no history is dropped: automation.history_days is 0")
        return
    dropped = database.store.upkeep.compact(time.time() - config.days * 86_400)
    context.log.info(f"{counted(dropped, 'superseded state')} older than {config.days:g} days dropped")


@dg.job(executor_def=dg.in_process_executor)
def summarize_new() -> None:
    """Summarise new records: poll for changes, cut batches, start a backfill of all unfinished batches."""
    look_and_start()


@dg.job(executor_def=dg.in_process_executor)
def resummarize_records() -> None:
    """Summarise selected records again, with the model and prompt in use."""
    forget_and_start()


@dg.job(executor_def=dg.in_process_executor)
def release_quarantine() -> None:
    """Retry failed records, quarantined ones included."""
    release_and_start()


@dg.job(executor_def=dg.in_process_executor)
def recover_from_crash() -> None:
    """Clean up after dead processes, as the sensor `recovery` does."""
    clean_up()


def operations(settings: Settings) -> list[dg.JobDefinition]:
    """The jobs; upkeep takes its folder from ``settings``, and the days of history too unless overridden at launch."""
    automation = settings.automation
    back_up_database = back_up_into(automation.backup_folder, automation.backups_kept)

    @dg.graph(name=UPKEEP)
    def upkeep() -> None:
        """Check the database, back it up, drop old history; the schedule `nightly_upkeep` runs it."""
        compact_history(back_up_database(check_database()))

    config = {"compact_history": {"config": {"days": automation.history_days}}}
    nightly = upkeep.to_job(config={"ops": config}, executor_def=dg.in_process_executor)
    return [summarize_new, resummarize_records, release_quarantine, recover_from_crash, nightly]
