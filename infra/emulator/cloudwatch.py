"""CloudWatch: publishes the metrics embedded in functions' logs, and describes alarms completely."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from ministack.services import cloudwatch, lambda_svc

from infra.emulator.replacing import Original

_describe_alarms = Original(cloudwatch, "_describe_alarms")
_emit_lambda_logs = Original(lambda_svc, "_emit_lambda_logs")


def install() -> None:
    """Complete MiniStack's CloudWatch."""
    _describe_alarms.replace(describe_alarms)
    _emit_lambda_logs.replace(emit_lambda_logs)


def emit_lambda_logs(function: Any, request_id: str, log_text: str, *details: Any, **named: Any) -> None:
    """Write a function's log, and publish the metrics embedded in it.

    Source: CloudWatch User Guide, "Specification: Embedded metric format".
    """
    _emit_lambda_logs(function, request_id, log_text, *details, **named)
    for line in (log_text or "").splitlines():
        if not line.startswith('{"_aws"'):
            continue
        record = json.loads(line)
        for directive in record["_aws"]["CloudWatchMetrics"]:
            data = [
                {
                    "MetricName": metric["Name"],
                    "Unit": metric["Unit"],
                    "Timestamp": record["_aws"]["Timestamp"] / 1000,
                    "Value": value,
                    "Dimensions": [{"Name": name, "Value": record[name]} for name in names],
                }
                for names in directive["Dimensions"]
                for metric in directive["Metrics"]
                for value in _list(record[metric["Name"]])
            ]
            request = {"Namespace": directive["Namespace"], "MetricData": data}
            cloudwatch._put_metric_data({}, request, False, is_json=True)


def describe_alarms(params: Any, body: Any, is_cbor: bool, is_json: bool = False) -> Any:
    """Describe alarms. MiniStack's XML omits most of their fields, so every plan would change them."""
    if is_cbor or is_json:
        return _describe_alarms(params, body, is_cbor, is_json)
    names = [value for name, value in sorted(params.items()) if name.startswith("AlarmNames.member.")]
    request = {"AlarmNames": [_list(name)[0] for name in names]} if names else {}
    found = json.loads(_describe_alarms({}, request, False, True)[2])
    return cloudwatch._xml(200, "DescribeAlarmsResponse", f"<DescribeAlarmsResult>{_xml(found)}</DescribeAlarmsResult>")


def _xml(value: Any) -> str:
    """Return a JSON value as XML of AWS's query protocol."""
    match value:
        case dict():
            fields = {
                name: _iso(inner) if name.endswith("Timestamp") else inner
                for name, inner in value.items()
                if inner is not None
            }
            return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in fields.items())
        case list():
            return "".join(f"<member>{_xml(inner)}</member>" for inner in value)
        case bool():
            return str(value).lower()
        case _:
            return escape(str(value))


def _iso(seconds: Any) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
