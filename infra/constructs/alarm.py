"""An alarm on one metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdktf_cdktf_provider_aws.cloudwatch_metric_alarm import CloudwatchMetricAlarm
from constructs import Construct


@dataclass(frozen=True)
class Metric:
    """A metric of CloudWatch: its namespace, name, statistic and dimensions."""

    namespace: str
    name: str
    statistic: str
    dimensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Condition:
    """When an alarm fires.

    Arguments:
        at_least: the threshold for values that are too high.
        below: the threshold for values that are too low. Give one of the two.
        period_seconds, periods: the alarm fires if the last `periods` periods all breach the threshold.
        missing_is_bad: whether missing data breaches the threshold.

    Raises:
        ValueError: both thresholds are given, or neither.
    """

    at_least: float | None = None
    below: float | None = None
    period_seconds: int = 300
    periods: int = 1
    missing_is_bad: bool = False

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.below is None):
            raise ValueError("give one of at_least and below")


class Alarm(Construct):
    """An alarm that publishes to a topic when it fires and when it ends."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        metric: Metric,
        condition: Condition,
        topic_arn: str,
    ) -> None:
        super().__init__(scope, id_)
        self.name = name
        is_floor = condition.below is not None
        self._alarm = CloudwatchMetricAlarm(
            self,
            "alarm",
            alarm_name=name,
            alarm_description=description,
            namespace=metric.namespace,
            metric_name=metric.name,
            statistic=metric.statistic,
            dimensions=dict(metric.dimensions) or None,
            period=condition.period_seconds,
            evaluation_periods=condition.periods,
            datapoints_to_alarm=condition.periods,
            comparison_operator="LessThanThreshold" if is_floor else "GreaterThanOrEqualToThreshold",
            threshold=condition.below if is_floor else condition.at_least,
            treat_missing_data="breaching" if condition.missing_is_bad else "notBreaching",
            alarm_actions=[topic_arn],
            ok_actions=[topic_arn],
        )
        self.arn = self._alarm.arn
