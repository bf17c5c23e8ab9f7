"""The scan of a hostile table in a process of its own: `python -m tests.unit.hostile ADDRESS` prints its peak in MB."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rollbook.engine.dynamodb import raw, scan
from rollbook.engine.formats import compression, document
from rollbook.engine.s3 import upload


class Nowhere:
    """S3 that keeps nothing."""

    def create_multipart_upload(self, **_: Any) -> dict[str, str]:
        return {"UploadId": "1"}

    def upload_part(self, **_: Any) -> dict[str, str]:
        return {"ETag": "1", "ChecksumCRC32": "1"}

    def complete_multipart_upload(self, **_: Any) -> dict[str, str]:
        return {"ETag": "1"}

    put_object = complete_multipart_upload


def main() -> None:
    aws = raw.Aws(endpoint_url=sys.argv[1], region_name="ap-southeast-1")
    aws.client("s3")
    writer, began = document.Writer(), datetime.now(UTC)
    pages = scan.pages(aws.dynamodb, "t", segments=2)
    chunks = writer.chunks(document.Header(document.FORMAT, "x", {}, began), pages, lambda: began)
    upload.put(Nowhere(), bucket="b", key="k", chunks=compression.compressed(chunks, "none"), content_type="text/plain")
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(int(peak.split()[1]) * 1024 // 10**6, writer.items)


if __name__ == "__main__":
    main()
