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


class Alarm(Construct):
    """An alarm that tells a topic when it goes off, and when it is over.

    Arguments:
        at_least: it goes off at this value and above.
        below: it goes off below this value; give one of the two.
        period_seconds, periods: it looks at so many periods, each of which has to be bad.
        missing_is_bad: no data counts as bad; otherwise as good.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        metric: Metric,
        topic_arn: str,
        at_least: float | None = None,
        below: float | None = None,
        period_seconds: int = 300,
        periods: int = 1,
        missing_is_bad: bool = False,
    ) -> None:
        super().__init__(scope, id_)
        threshold = at_least if at_least is not None else below
        if threshold is None or (at_least is not None and below is not None):
            raise ValueError(f"{name}: give one of at_least and below")
        self.name = name
        self._alarm = CloudwatchMetricAlarm(
            self,
            "alarm",
            alarm_name=name,
            alarm_description=description,
            namespace=metric.namespace,
            metric_name=metric.name,
            statistic=metric.statistic,
            dimensions=dict(metric.dimensions) or None,
            period=period_seconds,
            evaluation_periods=periods,
            datapoints_to_alarm=periods,
            comparison_operator="GreaterThanOrEqualToThreshold" if at_least is not None else "LessThanThreshold",
            threshold=threshold,
            treat_missing_data="breaching" if missing_is_bad else "notBreaching",
            alarm_actions=[topic_arn],
            ok_actions=[topic_arn],
        )
        self.arn = self._alarm.arn
