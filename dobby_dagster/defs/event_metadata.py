"""The metadata of materializations, as the UI shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from dobby_dagster.domain.markdown import code, prose, table
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import Scope
from dobby_dagster.store.ledger.batch_reports import SUMMARY_COLUMNS
from dobby_dagster.store.ledger.relations import DOCUMENT, MEMBER, METRIC, OUTLINE, SUMMARY

if TYPE_CHECKING:
    from dobby_dagster.pipeline.outlines.derivation import Derived
    from dobby_dagster.pipeline.planning.planner import Changes
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster.store.source.source_relation import Source

SAMPLES = 10
CELL_LENGTH = 160


# The columns that the UI shows of each table; those of metrics are shown with each materialization.
COLUMNS = {
    "pending": {name: MEMBER.types[name] for name in ("batch", *RecordVersion.__dataclass_fields__)}
    | {"state": "String"},
    "summaries": {name: SUMMARY.types[name] for name in SUMMARY_COLUMNS} | {"partition": "String"},
}


def table_metadata(table: str) -> dict[str, Any]:
    """What the UI shows of an asset's table: where it is stored, and its columns with their types in CozoDB."""
    stored = {
        "pending": MEMBER, "summaries": SUMMARY, "outlines": OUTLINE, "documents": DOCUMENT, "metrics": METRIC,
    }[table]  # fmt: skip
    about = {"dobby/table": table, "dagster/table_name": stored.name, "dagster/storage_kind": "cozodb"}
    if table not in COLUMNS:
        return about
    columns = [
        dg.TableColumn(name, kind.rstrip("?"), constraints=dg.TableColumnConstraints(nullable=kind.endswith("?")))
        for name, kind in COLUMNS[table].items()
    ]
    return {**about, "dagster/column_schema": dg.TableSchema(columns)}


def source_metadata(store: CozoStore, source: Source, changes: Changes) -> dict[str, Any]:
    """What the source is, how its changes are found, and when one was found last."""
    relation = source.settings.relation
    changed_at = store.versions.last_change(relation)
    return {
        "relation": relation,
        "dagster/row_count": source.count(),
        "change_tracking": f"{changes.method}: {changes.reason}",
        **({} if changed_at is None else {"last_change": dg.MetadataValue.timestamp(changed_at)}),
    }


def plan_metadata(changes: Changes, partitions: Sequence[str]) -> dict[str, Any]:
    """What one poll of the source found."""
    return {
        "change_tracking": f"{changes.method}: {changes.reason}",
        "rows_read": changes.read,
        "records_new": changes.new,
        "records_changed": changes.changed,
        "records_deleted": changes.deleted,
        "partitions_added": dg.MetadataValue.md(", ".join(partitions) or "none: nothing is new"),
    }


def outline_metadata(derived: Derived) -> dict[str, Any]:
    """What became of the files and packages above the records of a batch."""
    shown = ", ".join(map(code, derived.written[:SAMPLES])) + (", …" if len(derived.written) > SAMPLES else "")
    return {
        "outlines_written": len(derived.written),
        "outlines_unchanged": derived.unchanged,
        "outlines_waiting": derived.waiting,
        "written": dg.MetadataValue.md(shown or "none"),
    }


def pending_metadata(members: int, pending: int) -> dict[str, Any]:
    """How many records of a batch are pending."""
    return {"dagster/partition_row_count": pending, "members": members, "records_settled": members - pending}


def summary_metadata(
    store: CozoStore, source: Source, scope: Scope, failed_share_limit: float, unsure_below: float = 0.0
) -> tuple[dict[str, Any], str]:
    """The metadata of a batch of summaries, and why its partition fails; the reason is empty where it succeeds."""
    from dobby_dagster.domain.confidence_text import shown_confidence
    from dobby_dagster.pipeline.planning.record_selection import evenly_spaced
    from dobby_dagster.pipeline.reporting.batch_metrics import batch_metrics

    values = batch_metrics(store, scope, unsure_below)
    rows = store.batch_reports.summaries(scope)
    errors = store.batch_reports.errors(scope)
    rows = sorted(rows, key=lambda row: row["key"])
    chosen = [rows[place] for place in evenly_spaced(len(rows), SAMPLES)]
    files = _files(source, [row["key"] for row in (*chosen, *errors[:SAMPLES])])
    samples = [[row["key"], files[row["key"]], row["text"], shown_confidence(row["confidence"])] for row in chosen]
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": len(rows),
        **{f"records_{name}": values[f"records_{name}"] for name in ("completed", "failed", "skipped")},
    }
    if errors:
        failures = [[e["key"], files[e["key"]], e["error"], str(e["retry_count"])] for e in errors[:SAMPLES]]
        metadata["failures"] = dg.MetadataValue.md(
            table({"key": code, "file": _file, "error": prose, "tries": str}, failures, CELL_LENGTH)
        )
        metadata["all_failures"] = f"dobby failed list --batch {scope.batch}"
    metadata |= {
        "records_per_minute": round(values["records_per_second"] * 60, 1),
        **{name: values[name] for name in ("summaries_unsure", "summaries_cut_off", "contents_truncated")},
        **_known(output_tokens=values["output_tokens"], confidence_mean=values["confidence_mean"]),
        "latency_p50_seconds": values["latency_p50_seconds"],
        "latency_p95_seconds": values["latency_p95_seconds"],
        "slots_in_use": round(values["slots_in_use"], 1),
        **_known(queue_mean_seconds=values["queue_mean_seconds"]),
        "memory_bytes": values["memory_bytes"],
        "samples": dg.MetadataValue.md(
            table({"key": code, "file": _file, "summary": prose, "confidence": str}, samples, CELL_LENGTH)
        ),
    }
    share = len(errors) / values["records"] if values["records"] else 0.0
    if share <= failed_share_limit:
        return metadata, ""
    named = ", ".join(sorted(error["key"] for error in errors)[:5])
    return metadata, (
        f"{len(errors)} of {counted(values['records'], 'record')} failed "
        f"({share:.0%}, limit {failed_share_limit:.0%}): "
        f"{named}{'…' if len(errors) > 5 else ''}; last error: {errors[-1]['error']}"
    )


def metric_metadata(values: dict[str, Any]) -> dict[str, Any]:
    """All metrics, to be plotted over partitions; unknown ones are omitted."""
    return _known(**{name: value for name, value in values.items() if value != ""})


def _file(place: str) -> str:
    return code(place) if place else ""


def _files(source: Source, keys: Sequence[str]) -> dict[str, str]:
    """The file and line of each record that was ingested from one; empty for the others."""
    found = source.get(list(keys))
    abouts = {key: found[key].metadata if key in found else {} for key in keys}
    return {key: f"{about['path']}:{about.get('line', 1)}" if "path" in about else "" for key, about in abouts.items()}


def _known(**values: Any) -> dict[str, Any]:
    return {
        name: dg.MetadataValue.timestamp(value)
        if name.endswith("_at")
        else round(value, 6)
        if isinstance(value, float)
        else value
        for name, value in values.items()
        if value is not None
    }
