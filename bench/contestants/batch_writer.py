"""The restore that everyone writes: json.loads, TypeDeserializer, boto3's batch_writer. `… batch_writer ADDRESS`."""

from __future__ import annotations

import gzip
import json
import sys

import boto3
from boto3.dynamodb.types import TypeDeserializer

from bench.replay import DOCUMENT, REGION, TABLE


def main() -> None:
    """Write the recorded backup's items into the table, unchecked."""
    here = {"endpoint_url": sys.argv[1], "region_name": REGION}
    body = boto3.client("s3", **here).get_object(Bucket="bucket", Key=DOCUMENT)["Body"].read()
    deserialize = TypeDeserializer().deserialize
    items = json.loads(gzip.decompress(body))["items"]
    with boto3.resource("dynamodb", **here).Table(TABLE).batch_writer() as batch:
        for item in items:
            batch.put_item(Item={name: deserialize(value) for name, value in item.items()})
    print(len(items))


if __name__ == "__main__":
    main()
