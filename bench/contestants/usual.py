"""The backup handler that everyone writes: boto3's paginator, its TypeDeserializer, json.dumps.

`python -m bench.contestants.usual ADDRESS`
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer

from bench.replay import REGION, TABLE


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else sorted(value) if isinstance(value, set) else str(value)


def main() -> None:
    """Make one backup, uncompressed."""
    here = {"endpoint_url": sys.argv[1], "region_name": REGION}
    deserialize = TypeDeserializer().deserialize
    parts: list[str] = []
    size = items = 0
    s3 = boto3.client("s3", **here)
    for page in boto3.client("dynamodb", **here).get_paginator("scan").paginate(TableName=TABLE):
        for item in page["Items"]:
            parts.append(json.dumps({name: deserialize(value) for name, value in item.items()}, default=_plain))
            size += len(parts[-1])
        items += len(page["Items"])
        if size > 5 * 1024 * 1024:
            s3.put_object(Bucket="bucket", Key="part", Body="\n".join(parts).encode())
            parts, size = [], 0
    s3.put_object(Bucket="bucket", Key="part", Body="\n".join(parts).encode())
    print(items)


if __name__ == "__main__":
    main()
