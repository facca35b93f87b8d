"""The sensor ``metrics_follow``, the only use of declarative automation: see decision 26."""

import dagster as dg

from dobby_dagster.defs.assets import metrics, outlines, search_index
from dobby_dagster.domain.settings import Settings


def metrics_follow_sensor(settings: Settings) -> dg.AutomationConditionSensorDefinition:
    """The sensor for ``settings``."""
    enabled = settings.automation.enabled
    return dg.AutomationConditionSensorDefinition(
        "metrics_follow",
        target=dg.AssetSelection.assets(metrics, outlines, search_index),
        default_status=dg.DefaultSensorStatus.RUNNING if enabled else dg.DefaultSensorStatus.STOPPED,
        description="Materializes the metrics, the outlines and the search index of batches whose summaries were "
        "materialized without them: by hand, or in a run in which another batch failed.",
    )
