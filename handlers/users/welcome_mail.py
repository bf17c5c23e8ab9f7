"""The welcome mail as text and as HTML. In the HTML, the name is escaped."""

from __future__ import annotations

import html
from dataclasses import dataclass

_TEXT = """Hello {name},

welcome! Your account is ready: {site}

If you did not sign up, please ignore this mail.
"""
_HTML = """<!doctype html>
<html lang="en">
<body style="font-family: system-ui, sans-serif; line-height: 1.5; color: #1b1f24">
<p>Hello {name},</p>
<p>welcome! <a href="{site}">Your account is ready.</a></p>
<p style="color: #5b6572">If you did not sign up, please ignore this mail.</p>
</body>
</html>
"""


@dataclass(frozen=True)
class WelcomeMail:
    """A mail: its subject and its two bodies."""

    subject: str
    text: str
    html: str


def welcome(name: str, site: str) -> WelcomeMail:
    """Return the mail for a user who signed up.

    Arguments:
        name: the user's name, without control characters.
        site: the URL in the mail.
    """
    return WelcomeMail(
        f"Welcome, {name}",
        _TEXT.format(name=name, site=site),
        _HTML.format(name=html.escape(name), site=html.escape(site)),
    )
