"""CloudTrail: a trail keeps the tags that it is made with."""

from __future__ import annotations

import json
from typing import Any

from ministack.services import cloudtrail

_create_trail = cloudtrail._create_trail


def install() -> None:
    """Complete MiniStack's CloudTrail."""
    cloudtrail._DISPATCH["CreateTrail"] = create_trail


def create_trail(body: dict[str, Any]) -> Any:
    """Make a trail, with its tags."""
    answer = _create_trail(body)
    if answer[0] == 200 and body.get("TagsList"):
        arn = json.loads(answer[2])["TrailARN"]
        cloudtrail._trail_tags[arn] = {tag["Key"]: tag.get("Value", "") for tag in body["TagsList"]}
    return answer
