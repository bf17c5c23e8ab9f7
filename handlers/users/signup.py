"""The event of a sign-up, which another application puts on the bus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

# No control character and no line separator, so that a name is never a second header of the mail. To Python alone `$`
# is also the place before a last line break.
_NAME = r"^[^\x00-\x1f\x7f\x85\u2028\u2029]*$(?!\n)"
_EMAIL = r"^[^@\s<>\"(),:;\[\]\\]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+$(?!\n)"


class SignUp(msgspec.Struct):
    """A user signed up. Other fields of the detail are ignored."""

    name: Annotated[
        str,
        msgspec.Meta(
            min_length=1, max_length=200, pattern=_NAME, description="As the mail greets them.", examples=["An"]
        ),
    ]
    email: Annotated[
        str,
        msgspec.Meta(max_length=254, pattern=_EMAIL, description="Where the mail goes.", examples=["an@users.example"]),
    ]


class Malformed(ValueError):
    """The event is not that of a sign-up; the message says where and why."""


def parse(event: Mapping[str, Any]) -> SignUp:
    """Return what an event says.

    Arguments:
        event: its `id` and its `detail`.

    Raises:
        Malformed: with the place in the detail that is wrong.
    """
    try:
        return msgspec.convert(event.get("detail"), SignUp)
    except msgspec.ValidationError as error:
        raise Malformed(f"the sign-up {event.get('id')} is malformed: {error}") from None
