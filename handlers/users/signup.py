"""Parses the event of a sign-up, which another application puts on the bus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

# No control character and no line separator, so that a name cannot inject a header into the mail. In Python, `$` also
# matches before a final line break; `(?!\n)` excludes that.
_NAME = r"^[^\x00-\x1f\x7f\x85\u2028\u2029]*$(?!\n)"
_EMAIL = r"^[^@\s<>\"(),:;\[\]\\]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+$(?!\n)"


class SignUp(msgspec.Struct):
    """A user signed up. Other fields of the detail are ignored."""

    name: Annotated[
        str,
        msgspec.Meta(
            min_length=1, max_length=200, pattern=_NAME, description="The name in the mail's greeting.", examples=["An"]
        ),
    ]
    email: Annotated[
        str,
        msgspec.Meta(max_length=254, pattern=_EMAIL, description="The mail's address.", examples=["an@users.example"]),
    ]


class Malformed(ValueError):
    """The event is not a sign-up. The message names the wrong field."""


def parse(event: Mapping[str, Any]) -> SignUp:
    """Return the sign-up of an event.

    Arguments:
        event: with `id` and `detail`.

    Raises:
        Malformed: a field of the detail is missing or wrong.
    """
    try:
        return msgspec.convert(event.get("detail"), SignUp)
    except msgspec.ValidationError as error:
        raise Malformed(f"the sign-up {event.get('id')} is malformed: {error}") from None
