"""The IO manager: everything that flows between the assets lies in CozoDB.

Tables are pandas or Arrow. Streams are :class:`RecordStream`, consumed chunk by chunk: the iterator is the
back-pressure, and each chunk is one transaction.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from dobby_dagster.defs.resources import CozoDatabase, ModelPool, PipelineOptions
from dobby_dagster.defs.runs.step_retries import by_recommendation
from dobby_dagster.domain.scope import NO_RUN, BatchId, RunId

if TYPE_CHECKING:
    from dobby_dagster.defs.tables import Table


@dataclass(frozen=True)
class Verdict:
    """How one partition of a stream ended.

    Attributes:
        metadata: What the UI shows of it.
        reason: Why it is to fail; empty where it is not.
    """

    metadata: Mapping[str, Any]
    reason: str = ""


@dataclass
class RecordStream:
    """A stream of Arrow record batches, one a chunk.

    Attributes:
        chunks: Consumed once.
        verdicts: After the last chunk: how each partition ended.
    """

    chunks: Iterator[pa.RecordBatch]
    verdicts: Callable[[], Mapping[str, Verdict]] = dict


class CozoIOManager(dg.ConfigurableIOManager):
    """Stores and loads the assets' tables and streams.

    An asset names its table by ``dobby/table`` in its definition metadata; see
    :mod:`dobby_dagster.defs.tables` for what there is.
    """

    database: dg.ResourceDependency[CozoDatabase]
    models: dg.ResourceDependency[ModelPool]
    options: dg.ResourceDependency[PipelineOptions]

    @by_recommendation()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store a table or consume a stream; partitions that the stream condemns fail, the others are materialised.

        Raises:
            Failure: Some partition has more failed records than the limit; all that went well is stored.
        """
        table = self._table(context, RunId(context.run_id))
        if not isinstance(obj, RecordStream):
            table.write(_as_arrow(obj, context))
            return
        try:
            for chunk in obj.chunks:
                table.write(chunk)
        finally:  # a stop in the middle: what was started is released now, not when the process ends
            close = getattr(obj.chunks, "close", None)
            if close is not None:
                close()
        verdicts = obj.verdicts()
        condemned = {partition: verdict.reason for partition, verdict in verdicts.items() if verdict.reason}
        if not condemned:
            return
        for partition, verdict in verdicts.items():
            event = dg.AssetObservation if verdict.reason else dg.AssetMaterialization
            context.log_event(event(context.asset_key, partition=partition, metadata=verdict.metadata))
        page = f"/assets/{'/'.join(context.asset_key.path)}?view=events&partition="
        raise dg.Failure(
            "; ".join(f"{partition}: {reason}" for partition, reason in condemned.items()),
            metadata={partition: dg.MetadataValue.url(page + partition) for partition in condemned},
            allow_retries=False,
        )

    @by_recommendation()
    def load_input(self, context: dg.InputContext) -> Any:
        """Load a table as the type that the asset asks for, or a stream."""
        upstream = context.upstream_output
        if upstream is None:
            raise dg.DagsterInvariantViolationError("the input has no upstream asset")
        table = self._table(upstream, NO_RUN)
        partitions = sorted(map(BatchId, context.asset_partition_keys)) if context.has_asset_partitions else []
        wanted = context.dagster_type.typing_type
        if wanted is RecordStream:
            return RecordStream(table.stream(partitions))
        whole = table.read(partitions)
        return whole.to_pandas() if wanted.__module__.startswith("pandas") else whole

    def _table(self, context: dg.OutputContext, run: RunId) -> "Table":
        from dobby_dagster.defs.tables import TABLES

        name = (context.definition_metadata or {}).get("dobby/table")
        kind = TABLES.get(str(name))
        if kind is None:
            raise dg.DagsterInvariantViolationError(
                f"asset {context.asset_key.to_user_string()} has 'dobby/table' = {name!r}; "
                f"there is: {', '.join(TABLES)}"
            )
        return kind(self.database, self.models.recipe, self.options, run)


def _as_arrow(obj: Any, context: dg.OutputContext) -> pa.Table:
    import pandas as pd

    if isinstance(obj, pd.DataFrame):
        return pa.Table.from_pandas(obj, preserve_index=False)
    if isinstance(obj, pa.Table | pa.RecordBatch):
        return obj
    raise dg.DagsterInvariantViolationError(
        f"asset {context.asset_key.to_user_string()} returned {type(obj).__name__}; "
        "the CozoDB IO manager stores pandas DataFrames, Arrow tables and RecordStreams"
    )
