"""Jobs that a person launches with a few words of configuration: the launchpad explains and validates them."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from dobby_dagster.defs.partitions import add_partitions
from dobby_dagster.defs.resources import CozoDatabase, ModelPool, PipelineOptions
from dobby_dagster.defs.runs.batch_runs import submit_backfill
from dobby_dagster.defs.runs.crash_recovery import recover
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import Settings

UPKEEP = "upkeep"


class SummarizeNewConfig(dg.Config):
    """How to look."""

    compare_everything: bool = Field(
        False, description="Read every row, also where triggers or a watermark tell what changed."
    )


class ResummarizeConfig(dg.Config):
    """Which records to make anew; at least one of the three."""

    keys: list[str] = Field([], description="These records.")
    prefix: str = Field("", description="And all whose key begins so.")
    confidence_below: float = Field(0.0, ge=0, le=1, description="Of all, or of the prefix: those less sure than that.")


class ReleaseConfig(dg.Config):
    """Which failed records to try again."""

    keys: list[str] = Field([], description="These records; all that failed where none is named.")


class HistoryConfig(dg.Config):
    """How long history is kept."""

    days: float = Field(90.0, ge=0, description="Superseded states older than this are dropped; 0 keeps all.")


def _start(context: dg.OpExecutionContext, batches: list[str], title: str) -> None:
    if not batches:
        context.log.info(f"{title}: nothing to do")
        return
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
    """Cut what is new into batches, and start a backfill of all batches that have something to do."""
    from dobby_dagster.pipeline.planning.planner import plan

    store, source = database.store, database.records()
    plan(store, source, options.batch_size, recompare=config.compare_everything)
    store.recipes.remember(models.recipe)
    add_partitions(context.instance, store)
    left = store.states.unfinished(source.settings.relation, models.recipe.id, options.max_retries)
    _start(context, list(left), f"Summarise {counted(sum(left.values()), 'record')}")


@dg.op
def forget_and_start(
    context: dg.OpExecutionContext, config: ResummarizeConfig, database: CozoDatabase, models: ModelPool
) -> None:
    """Delete the chosen summaries of the model and prompt in use, and start a backfill that makes them anew."""
    from dobby_dagster.pipeline.planning.record_selection import redo

    relation = database.source_settings.relation
    batches = redo(database.store, relation, models.recipe.id, config.keys, config.prefix, config.confidence_below)
    _start(context, list(batches), f"Make {sum(batches.values()):,} summaries anew")


@dg.op
def release_and_start(
    context: dg.OpExecutionContext, config: ReleaseConfig, database: CozoDatabase, models: ModelPool
) -> None:
    """Return failed records to pending, their tries forgotten, and start a backfill of their batches."""
    from dobby_dagster.pipeline.planning.record_selection import release

    released = release(database.store, database.source_settings.relation, models.recipe.id, config.keys)
    _start(context, list(released), f"Try {sum(map(len, released.values())):,} failed records again")


@dg.op
def mend(context: dg.OpExecutionContext, database: CozoDatabase) -> None:
    """Close runs whose process died, return what they had begun to pending, free leaked pool slots."""
    context.log.info(str(recover(context.instance, database.store)))


@dg.op(out=dg.Out(dg.Nothing))
def check_database(context: dg.OpExecutionContext, database: CozoDatabase) -> None:
    """Read every row, and count what is there against the ledger; fail where something is wrong."""
    problems = database.store.check()
    if problems:
        raise dg.Failure(f"{database.url} is damaged: {'; '.join(problems[:5])}; restore a backup", allow_retries=False)
    for violation in database.store.audit.examine():
        context.log.warning(f"{violation}; dobby {violation.remedy}")
    context.log.info(f"{database.url} is sound")


def back_up_into(folder: Path | None, kept: int) -> dg.OpDefinition:
    """The op that backs up into ``folder``: a path of the settings, which no launchpad changes."""

    @dg.op(name="back_up_database", ins={"sound": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def back_up_database(context: dg.OpExecutionContext, database: CozoDatabase) -> None:
        """Write a backup where the settings say, and delete the oldest; only after the check has found it sound."""
        from dobby_dagster.pipeline.backup_rotation import back_up

        if folder is None:
            context.log.info("no backup: automation.backup_folder is not set")
            return
        done = back_up(database.store, folder, kept)
        for file, wrong in done.damaged.items():
            context.log.warning(f"an older backup is damaged: {file}: {wrong}")
        context.log.info(f"{done.path}: {done.held.summary}, verified; {len(done.deleted)} older backups deleted")

    return back_up_database


@dg.op(ins={"saved": dg.In(dg.Nothing)})
def compact_history(context: dg.OpExecutionContext, config: HistoryConfig, database: CozoDatabase) -> None:
    """Drop superseded states past their age; the state in force, and every summary, stays."""
    import time

    if not config.days:
        context.log.info("history is kept whole: automation.history_days is 0")
        return
    dropped = database.store.upkeep.compact(time.time() - config.days * 86_400)
    context.log.info(f"{dropped:,} superseded states older than {config.days:g} days dropped")


@dg.job(executor_def=dg.in_process_executor)
def summarize_new() -> None:
    """Summarise what is new: look for changes, cut batches, start a backfill of all that is to do."""
    look_and_start()


@dg.job(executor_def=dg.in_process_executor)
def resummarize_records() -> None:
    """Make the summaries of some records anew, with the model and prompt in use."""
    forget_and_start()


@dg.job(executor_def=dg.in_process_executor)
def release_quarantine() -> None:
    """Try failed records again, those that were set aside for good included."""
    release_and_start()


@dg.job(executor_def=dg.in_process_executor)
def recover_from_crash() -> None:
    """Mend what dead processes left behind; the sensor `recovery` does the same by itself."""
    mend()


def operations(settings: Settings) -> list[dg.JobDefinition]:
    """The jobs; where upkeep backs up is as ``settings`` have it, what it drops too unless the launchpad says else."""
    automation = settings.automation
    back_up_database = back_up_into(automation.backup_folder, automation.backups_kept)

    @dg.graph(name=UPKEEP)
    def upkeep() -> None:
        """Check the database, back it up, drop old history; the schedule `nightly_upkeep` runs it."""
        compact_history(back_up_database(check_database()))

    config = {"compact_history": {"config": {"days": automation.history_days}}}
    nightly = upkeep.to_job(config={"ops": config}, executor_def=dg.in_process_executor)
    return [summarize_new, resummarize_records, release_quarantine, recover_from_crash, nightly]
