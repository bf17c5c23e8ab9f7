"""CloudFront on the embedded AWS."""

from __future__ import annotations

from ops.local import aws


def test_an_updated_function_is_published_with_the_version_of_its_update(bare_port: int) -> None:
    """API model of CloudFront, UpdateFunctionResult: the version is in the header `ETtag`."""
    client = aws.client("cloudfront", bare_port, "us-east-1")
    settings = {"Comment": "first", "Runtime": "cloudfront-js-2.0"}
    code = b"function handler(event) { return event.request; }"
    made = client.create_function(Name="updated", FunctionConfig=settings, FunctionCode=code)
    changed = client.update_function(
        Name="updated", IfMatch=made["ETag"], FunctionConfig=settings | {"Comment": "second"}, FunctionCode=code
    )
    client.publish_function(Name="updated", IfMatch=changed["ETag"])
    live = client.describe_function(Name="updated", Stage="LIVE")["FunctionSummary"]
    assert live["FunctionConfig"]["Comment"] == "second"
