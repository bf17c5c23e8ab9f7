"""Metrics, as lines of the log that CloudWatch reads (the embedded metric format); one dimension, the table."""

from __future__ import annotations

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

NAMESPACE = "Rollbook"
_UNITS = {"Seconds": MetricUnit.Seconds, "Bytes": MetricUnit.Bytes}


def put(table: str, **values: float) -> None:
    """Put metrics of a table. What a name ends in is its unit: `Seconds`, `Bytes`, or else a count."""
    metrics = Metrics(namespace=NAMESPACE)
    metrics.add_dimension("Table", table)
    for name, value in values.items():
        unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), MetricUnit.Count)
        metrics.add_metric(name, unit, value)
    metrics.flush_metrics()
