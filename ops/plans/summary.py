"""Summarize a plan as Markdown, text or JSON: losses first, then changes, then additions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from infra.prices import Prices
from ops.plans.changes import Action, Change, Plan, PlanError
from ops.plans.guard import Finding
from ops.plans.words import lines, reversibility

# Maximum length of a comment on GitHub, characters.
LONGEST = 65_536
_HEADS = {
    Action.DESTROY: "Destroyed",
    Action.REPLACE: "Replaced: destroyed and created again",
    Action.FORGET: "Forgotten",
    Action.CHANGE: "Changed",
    Action.ADOPT: "Adopted unchanged",
    Action.ADD: "Added",
}
_SIGNS = {
    Action.DESTROY: "-",
    Action.REPLACE: "-/+",
    Action.FORGET: ".",
    Action.CHANGE: "~",
    Action.ADOPT: "=",
    Action.ADD: "+",
}
Code = Callable[[Change], list[str]]


@dataclass(frozen=True)
class Context:
    """The context of a summary.

    Arguments:
        environment: its name.
        now: schedules show their firings after it (aware).
        code: returns the changed files of a function's zip.
        account_wide: what the stack sets for the whole account, in words; empty for nothing.
    """

    environment: str
    now: datetime
    prices: Prices
    code: Code
    findings: Sequence[Finding] = ()
    account_wide: str = ""

    @property
    def stopped(self) -> list[Finding]:
        """Return the findings without an exception."""
        return [finding for finding in self.findings if not finding.is_allowed]


def counts(plan: Plan) -> dict[str, int]:
    """Return the number of resources for each action."""
    found = Counter(change.action for change in plan.changes)
    return {str(action): found[action] for action in Action}


def monthly(plan: Plan, prices: Prices) -> float:
    """Return the change of the idle cost, dollars a month."""
    total = 0.0
    for change in plan.changes:
        total += {Action.ADD: 1, Action.DESTROY: -1}.get(change.action, 0) * prices.idle(change.kind)
    return round(total, 2) or 0.0  # not -0.0


def headline(plan: Plan) -> str:
    """Return the plan in one line."""
    if plan.is_empty:
        return "no changes"
    words = {
        "destroy": "destroyed",
        "replace": "replaced",
        "forget": "forgotten",
        "change": "changed",
        "adopt": "adopted unchanged",
        "add": "added",
    }
    parts = [f"{count:,} {words[name]}" for name, count in counts(plan).items() if count]
    if plan.outputs:
        parts.append(f"{len(plan.outputs)} outputs changed")
    return ", ".join(parts)


def markdown(plan: Plan, context: Context) -> str:
    """Return the plan as a comment for GitHub.

    A comment that is too long is shortened in steps: added resources become a number for each capability, then the
    attributes of changed resources are left out, then findings become a number for each rule. Destroyed and replaced
    resources are never left out; in the last step each has only its address.

    Raises:
        PlanError: the addresses of destroyed and replaced resources alone are too long.
    """
    for detail in range(5):
        text = _markdown(plan, context, detail)
        if len(text) <= LONGEST:
            return text
    lost = sum(change.action in {Action.DESTROY, Action.REPLACE} for change in plan.changes)
    raise PlanError(f"{lost:,} resources are destroyed or replaced: too many for one comment; split the change")


def _markdown(plan: Plan, context: Context, detail: int) -> str:
    """Return the comment; `detail` is the step of shortening, 0 for none (see `markdown`)."""
    out = [f"## Plan of `{context.environment}`: {headline(plan)}\n"]
    if context.account_wide:
        out.append(f"> **For the whole account:** {context.account_wide}.\n")
    difference = monthly(plan, context.prices)
    if not plan.is_empty:
        out.append(
            f"{_idle_cost(difference)} (prices of {context.prices.region} as of {context.prices.as_of}; usage is "
            "charged in addition).\n"
        )
    out += _findings(context.findings, detail)
    for action in (Action.DESTROY, Action.REPLACE, Action.FORGET):
        found = [change for change in plan.changes if change.action is action]
        if found:
            out.append(f"### {'⛔ ' if action is not Action.FORGET else ''}{_HEADS[action]} ({len(found):,})\n")
            for change in found:
                if detail > 3:
                    out.append(f"- {change.address}")
                    continue
                out.append(f"- **`{change.address}`** {_named(change)} {reversibility(change)}")
                if action is Action.REPLACE and detail < 3:
                    out += _details(change, context)
            out.append("")
    changed = [change for change in plan.changes if change.action is Action.CHANGE]
    if changed and detail > 3:
        out.append(f"### {_HEADS[Action.CHANGE]} ({len(changed):,})\n")
    elif changed:
        out.append(f"### {_HEADS[Action.CHANGE]} ({len(changed):,})\n")
        for change in changed:
            out.append(f"- `{change.address}` {_named(change)}".rstrip())
            if detail < 2:
                out += _details(change, context)
        out.append("")
    out += _by_capability(plan, Action.ADOPT, detail)
    out += _by_capability(plan, Action.ADD, detail)
    if plan.outputs:
        out.append(f"Outputs that change: {', '.join(f'`{name}`' for name in plan.outputs)}\n")
    if detail:
        out.append(f"_Shortened to fit a comment. Show all: `rollbook plan --env {context.environment}`_\n")
    return "\n".join(out)


def _named(change: Change) -> str:
    return f"({change.name})" if change.name and change.name not in change.address else ""


def _details(change: Change, context: Context) -> list[str]:
    body = [f"  {line}" for line in lines(change, context.now, context.code)]
    return ["  ```diff", *body, "  ```"] if body else []


def _findings(findings: Sequence[Finding], detail: int) -> Iterator[str]:
    stopped = [finding for finding in findings if not finding.is_allowed]
    if stopped:
        yield f"### 🛑 The guard stops this plan ({len(stopped)})\n"
        if detail > 2:
            by_rule = Counter(finding.rule for finding in stopped)
            yield from (f"- **{rule}**: {count:,}" for rule, count in by_rule.items())
            stopped = []
        for finding in stopped:
            expired = f"; its exception expired on {finding.expired.expires}" if finding.expired else ""
            yield f"- **{finding.rule}** `{finding.address}`: {finding.what}{expired}"
        yield ""
    for finding in findings:
        if finding.exemption:
            yield (
                f"- allowed until {finding.exemption.expires} by {finding.exemption.approved_by}: **{finding.rule}** "
                f"`{finding.address}`: {finding.what} ({finding.exemption.reason})\n"
            )


def _by_capability(plan: Plan, action: Action, detail: int) -> Iterator[str]:
    fitting = [change for change in plan.changes if change.action is action]
    if not fitting:
        return
    yield f"### {_HEADS[action]} ({len(fitting):,})\n"
    by_capability: dict[str, list[Change]] = {}
    for change in fitting:
        by_capability.setdefault(change.resource.capability, []).append(change)
    for capability, found in sorted(by_capability.items()):
        if detail:
            yield f"- {capability}: {len(found):,}"
            continue
        yield f"<details><summary>{capability}: {len(found):,}</summary>\n"
        yield from (f"- `{change.address}` {_named(change)}".rstrip() for change in found)
        yield "\n</details>\n"
    yield ""


def text(plan: Plan, context: Context) -> Iterator[str]:
    """Yield the whole plan as text."""
    yield f"Plan of {context.environment}: {headline(plan)}"
    if context.account_wide:
        yield f"For the whole account: {context.account_wide}."
    for finding in context.findings:
        word = "allowed" if finding.is_allowed else "STOPPED"
        yield f"{word} {finding.rule} {finding.address}: {finding.what}"
    yield from changes(plan, context)
    if not plan.is_empty:
        difference = monthly(plan, context.prices)
        yield f"{_idle_cost(difference)}."


def _idle_cost(difference: float) -> str:
    return f"Idle cost {difference:+,.2f} dollars a month" if difference else "Idle cost unchanged"


def changes(plan: Plan, context: Context) -> Iterator[str]:
    """Yield all changes as text."""
    for change in plan.changes:
        tail = f"  {reversibility(change)}" if change.action in {Action.DESTROY, Action.REPLACE, Action.FORGET} else ""
        yield f"{_SIGNS[change.action]:>3} {change.address} {_named(change)}{tail}".rstrip()
        yield from (f"      {line}" for line in lines(change, context.now, context.code))


def as_json(plan: Plan, context: Context) -> dict[str, Any]:
    """Return the plan as JSON; sensitive values are left out."""
    return {
        "environment": context.environment,
        "counts": counts(plan),
        "monthlyDollars": monthly(plan, context.prices),
        "changes": [
            {
                "address": change.address,
                "action": str(change.action),
                "capability": change.resource.capability,
                "name": change.name,
                "reversibility": reversibility(change),
                "lines": list(lines(change, context.now, context.code)),
            }
            for change in plan.changes
        ],
        "outputs": list(plan.outputs),
        "findings": [
            {
                "rule": finding.rule,
                "address": finding.address,
                "what": finding.what,
                "isAllowed": finding.is_allowed,
                "until": finding.exemption.expires.isoformat() if finding.exemption else None,
            }
            for finding in context.findings
        ],
    }
