"""The sensor ``metrics_follow``, the one place of declarative automation: see the decisions, 26."""

import dagster as dg

from dobby_dagster.defs.assets import metrics
from dobby_dagster.domain.settings import Settings


def metrics_follow_sensor(settings: Settings) -> dg.AutomationConditionSensorDefinition:
    """The sensor for ``settings``."""
    enabled = settings.automation.enabled
    return dg.AutomationConditionSensorDefinition(
        "metrics_follow",
        target=dg.AssetSelection.assets(metrics),
        default_status=dg.DefaultSensorStatus.RUNNING if enabled else dg.DefaultSensorStatus.STOPPED,
        description="Materializes the metrics of batches whose summaries were made without them: in a run of which "
        "another batch failed, or by hand.",
    )
