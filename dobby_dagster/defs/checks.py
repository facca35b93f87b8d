"""Asset checks: the invariants of the stored data, performance contracts, and summaries that need review."""

from typing import Any

import dagster as dg

from dobby_dagster.defs.assets import metrics, summaries
from dobby_dagster.defs.partitions import record_batch_partitions
from dobby_dagster.defs.resources import ContractLimits, CozoDatabase, ModelPool, PipelineOptions
from dobby_dagster.domain.scope import BatchId, Scope


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "members_accounted_for",
            asset=summaries,
            description="Every member of a batch is completed, failed, skipped or in a live run.",
        ),
        dg.AssetCheckSpec(
            "summaries_are_sound",
            asset=summaries,
            description="No stored summary is empty, an echo of its prompt, repetitive or an error message.",
        ),
        dg.AssetCheckSpec(
            "completed_have_summaries",
            asset=summaries,
            description="Each completed record has exactly one summary, of its own content; no other record has one.",
        ),
        dg.AssetCheckSpec(
            "error_rate",
            asset=summaries,
            description="At most 1 % of the records failed.",
        ),
    ],
    name="summaries_invariants",
    can_subset=True,
)
def summaries_invariants(context: dg.AssetCheckExecutionContext, database: CozoDatabase, models: ModelPool) -> Any:
    """Check the stored data of the run's partitions."""
    from dobby_dagster.pipeline.reporting.invariants import examine

    found = examine(database.store, models.recipe, models.chosen_prompt, chosen_batches(context))
    for name, problems, severity in (
        ("members_accounted_for", found.unaccounted, dg.AssetCheckSeverity.ERROR),
        ("summaries_are_sound", found.degenerate, dg.AssetCheckSeverity.ERROR),
        ("completed_have_summaries", found.mismatched, dg.AssetCheckSeverity.ERROR),
        ("error_rate", found.failing, dg.AssetCheckSeverity.WARN),
    ):
        if dg.AssetCheckKey(summaries.key, name) not in context.selected_asset_check_keys:
            continue
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=summaries.key,
            passed=not problems,
            severity=severity,
            metadata={
                "examined": found.examined,
                "problems": len(problems),
                "first": "; ".join(problems[:10]) or "none",
            },
        )


@dg.asset_check(
    asset=metrics,
    description="Speed, latency, memory and error rate are within the limits of [contracts], or of the first batches.",
)
def performance_contracts(
    context: dg.AssetCheckExecutionContext, database: CozoDatabase, models: ModelPool, limits: ContractLimits
) -> dg.AssetCheckResult:
    """Compare the stored metrics of the run's partitions with the contracts; a broken contract is a warning."""
    from dobby_dagster.pipeline.monitoring.contract_results import results_of_batches

    found = results_of_batches(database.store, models.recipe, chosen_batches(context), limits.settings)
    broken = [result for result in found if result.holds is False]
    return dg.AssetCheckResult(
        passed=not broken,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "measured": sum(result.holds is not None for result in found),
            "unknown": sum(result.holds is None for result in found),
            "broken": len(broken),
            "first": "; ".join(f"{result.batches[0]}: {result}" for result in broken[:10]) or "none",
        },
    )


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "summaries_are_sure",
            asset=summaries,
            description="At most half of the summaries are unsure, with a confidence below pipeline.unsure_below.",
        ),
        dg.AssetCheckSpec(
            "summaries_are_whole",
            asset=summaries,
            description="At most one in ten summaries was cut off at the token limit of the prompt.",
        ),
    ],
    name="summaries_in_doubt",
    can_subset=True,
)
def summaries_in_doubt(
    context: dg.AssetCheckExecutionContext, database: CozoDatabase, models: ModelPool, options: PipelineOptions
) -> Any:
    """Count the summaries of the run's partitions that need review; too many are a warning."""
    from dobby_dagster.pipeline.reporting.doubtful_summaries import (
        CUT_OFF_SHARE_LIMIT,
        UNSURE_SHARE_LIMIT,
        DoubtfulCounts,
    )

    reports = database.store.batch_reports
    rows = [row for batch in chosen_batches(context) for row in reports.outputs(Scope(models.recipe.id, batch))]
    found = DoubtfulCounts.of(rows, options.settings.unsure_below)
    for name, count, limit, way_out in (
        ("summaries_are_sure", found.unsure, UNSURE_SHARE_LIMIT, "dobby redo --model PATH"),
        ("summaries_are_whole", found.cut_off, CUT_OFF_SHARE_LIMIT, "dobby summarize --max-new-tokens N"),
    ):
        if dg.AssetCheckKey(summaries.key, name) not in context.selected_asset_check_keys:
            continue
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=summaries.key,
            passed=count <= limit * found.summaries,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"summaries": found.summaries, "count": count, "limit": limit, "way_out": way_out},
        )


def chosen_batches(context: dg.AssetCheckExecutionContext) -> list[BatchId]:
    """The partitions of the run, or all where the check runs without partitions."""
    step = context.op_execution_context
    if step.has_partition_key or step.has_partition_key_range:
        return list(map(BatchId, step.partition_keys))
    return list(map(BatchId, context.instance.get_dynamic_partitions(str(record_batch_partitions.name))))


CHECKS = [summaries_invariants, summaries_in_doubt, performance_contracts]
