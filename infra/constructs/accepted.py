"""Accepted findings of checkov. Each is declared with its reason in the module of its resource."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Accepted:
    """An accepted finding.

    Arguments:
        check: checkov's id of the check.
        kind: the Terraform type.
        path: the construct's path within the stack; `*` matches any characters.
        reason: why the finding is accepted.
    """

    check: str
    kind: str
    path: str
    reason: str


ACCEPTED: list[Accepted] = []


def accept(kind: str, reasons: Mapping[str, str], path: str = "*") -> None:
    """Accept findings, by checkov's id, for all resources of a type, or only for those under a path.

    `make check` fails on a finding that is not accepted, and on an acceptance without a finding.
    """
    ACCEPTED.extend(Accepted(check, kind, path, reason) for check, reason in reasons.items())
