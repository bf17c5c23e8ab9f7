"""Findings of checkov that are meant: each stands beside the resource that has it, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Accepted:
    """A finding that is meant.

    Arguments:
        check: checkov's id of it.
        kind: the Terraform type that has it.
        path: the construct's path under the stack; `*` stands for anything.
        reason: why it is so.
    """

    check: str
    kind: str
    path: str
    reason: str


ACCEPTED: list[Accepted] = []


def accept(kind: str, reasons: Mapping[str, str], path: str = "*") -> None:
    """Accept findings, by checkov's id, of every resource of a type, or of those under a path.

    `make check` fails on a finding that is not accepted, and on an acceptance that nothing has any more.
    """
    ACCEPTED.extend(Accepted(check, kind, path, reason) for check, reason in reasons.items())
