"""Writes metrics to the log in CloudWatch's embedded metric format. Their only dimension is the table."""

from __future__ import annotations

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

NAMESPACE = "Rollbook"
_UNITS = {"Seconds": MetricUnit.Seconds, "Bytes": MetricUnit.Bytes}


def put(table: str, **values: float) -> None:
    """Write metrics of a table. The ending of a name sets the unit: `Seconds`, `Bytes`, otherwise a count."""
    metrics = Metrics(namespace=NAMESPACE)
    metrics.add_dimension("Table", table)
    for name, value in values.items():
        unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), MetricUnit.Count)
        metrics.add_metric(name, unit, value)
    metrics.flush_metrics()
