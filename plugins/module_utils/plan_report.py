# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run of ansible-playbook changes, or would change: one dictionary for programs, and its text for people. Pure.

``summary`` makes the dictionary of what the tasks of this collection's modules returned. It is what the callback
``nexus_learn.aws.plan`` writes as JSON:

================== ===========================================================================================
schema             1; a key that is removed or changes its meaning raises it
playbook           file name
check_mode         whether all of the tasks only foretold
started, finished  ISO 8601, UTC
complete           false when a failure stopped the run: what comes after it was not looked at
counts             ``create``, ``update``, ``replace``, ``delete``, ``unchanged``: numbers of resources
changes            of tasks that succeeded: ``resource``, ``action``, ``path``, ``before``, ``after``, ``impact``,
                   ``note`` (as in ``engine.Change``), ``task``, ``role``, ``host``
unchanged          the other resources that these tasks manage
warnings           sentences; among them what is left alone because somebody else owns it
failures           ``task``, ``role``, ``host``, ``msg``, ``refused`` (nothing of it was touched), ``error_code``,
                   ``went_on`` (it was rescued or ignored), ``planned`` (changes of which nobody knows how many were
                   made, or, of a roll-out that failed, those of its services; null when it failed before it had a plan)
not_reached        changes, as above, that were foreseen before the run, of tasks that a failure kept from running
skipped, unknown   ``task``, ``role``, ``host`` of those skipped, and of those whose result is hidden (``no_log``)
cost               see ``cost``; null when nothing that costs was looked at
================== ===========================================================================================
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils import prices
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import DISRUPTIVE, IN_PLACE, REPLACEMENT

OK, FAILED, SKIPPED = "ok", "failed", "skipped"
# What is kept of a module's result; the rest (outputs) is nobody's business here.
KEPT = ("changes", "planned", "undone", "resources", "billed", "warnings", "msg", "refused", "error_code", "censored")
ACTIONS = ("create", "update", "replace", "delete")


def entry(
    *, task: str, role: str, host: str, check_mode: bool, outcome: str, result: Mapping[str, Any]
) -> dict[str, Any]:
    """What one task, or one round of its loop, did: the input of ``summary``. ``outcome`` is OK, FAILED or SKIPPED."""
    kept = {key: result[key] for key in KEPT if key in result}
    return {"task": task, "role": role, "host": host, "check_mode": check_mode, "outcome": outcome, "result": kept}


def summary(
    entries: Sequence[Mapping[str, Any]],
    *,
    playbook: str,
    started: datetime,
    finished: datetime,
    foreseen: Sequence[Mapping[str, Any]] = (),
    stopped: Iterable[str] = (),
    assumed: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, Any]:
    """``entries`` in the order of the run; ``stopped`` are the hosts whose run a failure ended.

    ``foreseen`` are entries of what was planned before it, as far as that was possible.
    """
    stopped = set(stopped)
    done = [item for item in entries if item["outcome"] == OK]
    failed = [item for item in entries if item["outcome"] == FAILED]
    undone = {(item["host"], label) for item in failed for label in item["result"].get("undone", [])}
    asked = [{**change, **_where(item)} for item in done for change in item["result"].get("changes", [])]
    changes = [change for change in asked if (change["host"], change["resource"]) not in undone]
    managed = {(item["host"], label): None for item in done for label in item["result"].get("resources", [])}
    actions = _actions(changes)
    unchanged = [label for host, label in managed if (host, label) not in {*actions, *undone}]
    last = {item["host"]: item for item in failed}
    reached = [_where(item) for item in entries]
    missed = [item for item in foreseen if item["host"] in stopped and _where(item) not in reached]
    return {
        "schema": 1,
        "playbook": playbook,
        "check_mode": all(item["check_mode"] for item in entries),
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds"),
        "complete": not stopped,
        "counts": {
            **{action: list(actions.values()).count(action) for action in ACTIONS},
            "unchanged": len(unchanged),
        },
        "changes": changes,
        "unchanged": unchanged,
        "warnings": [str(text) for item in entries for text in item["result"].get("warnings") or []],
        "failures": [
            {
                **_where(item),
                "msg": str(item["result"].get("msg", "")),
                "refused": bool(item["result"].get("refused")),
                "error_code": item["result"].get("error_code") or None,
                "went_on": item["host"] not in stopped or item is not last[item["host"]],
                "planned": _planned(item, asked),
            }
            for item in failed
        ],
        "not_reached": [{**change, **_where(item)} for item in missed for change in item["result"]["changes"]],
        "skipped": [_where(item) for item in entries if item["outcome"] == SKIPPED],
        "unknown": [_where(item) for item in done if "censored" in item["result"]],
        "cost": cost([_billed(item, undone) for item in done if item["result"].get("billed")], assumed),
    }


def _planned(failure: Mapping[str, Any], asked: Iterable[Mapping]) -> list[Mapping] | None:
    undone = failure["result"].get("undone")
    if undone is None:
        return failure["result"].get("planned")
    return [change for change in asked if change["host"] == failure["host"] and change["resource"] in undone]


def _billed(item: Mapping[str, Any], undone: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A version that did not come up costs nothing: the one before it goes on."""
    billed = item["result"]["billed"]

    def side(name: str, failed: bool) -> list[Mapping]:
        return [one for one in billed[name] if ((item["host"], one["resource"]) in undone) == failed]

    return {**billed, "after": side("after", False) + side("before", True)}


def has_news(report: Mapping[str, Any]) -> bool:
    """Whether a person wants to read it: not after a run that only looked something up (``state: gathered``)."""
    return bool(any(report["counts"].values()) or report["failures"] or report["warnings"] or report["unknown"])


def _where(item: Mapping[str, Any]) -> dict[str, str]:
    return {key: item[key] for key in ("task", "role", "host")}


def _actions(changes: Iterable[Mapping]) -> dict[tuple[str, str], str]:
    """What happens to each resource as a whole; several tasks may have changed the same one."""
    actions: dict[tuple[str, str], str] = {}
    for change in changes:
        key = change["host"], change["resource"]
        action = "replace" if change["impact"] == REPLACEMENT else change["action"]
        if actions.get(key) in (None, "update"):
            actions[key] = action
    return actions


def cost(
    billed: Iterable[Mapping[str, Any]], assumed: Mapping[str, Sequence[float]] | None = None
) -> dict[str, Any] | None:
    """The month's cost of what was looked at, before and after: ``billed`` are results of ``engine.run``.

    ``currency``, ``prices_of`` (month), ``regions``, ``borrowed`` (regions with prices of us-east-1), ``hours``,
    ``before``, ``after`` and ``delta`` (``{min, typical, max}``), ``lines`` (``resource``, ``what``, ``before`` and
    ``after``, null for what is not there), ``unpriced`` (sentences) and ``assumed``.
    """
    sides: dict[tuple[str, str], dict[str, Any]] = {}
    for result in billed:
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for side in ("before", "after"):
            for item in result[side]:
                found.setdefault((result["region"], item["resource"]), {})[side] = item
        for key, items in found.items():
            # of several tasks on one resource the first knows how it was, the last how it will be
            before = sides.get(key, items)
            sides[key] = {"before": before.get("before"), "after": items.get("after")}
    if not sides:
        return None
    regions = list(dict.fromkeys(region for region, _ in sides))
    estimates = {
        (region, side): prices.estimate(
            [items[side] for (its_region, _), items in sides.items() if its_region == region and items[side]],
            region,
            assumed,
        )
        for region in regions
        for side in ("before", "after")
    }
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for (region, side), estimate in estimates.items():
        for line in estimate["lines"]:
            there = lines.setdefault((region, line["resource"]), {"resource": line["resource"], "before": None})
            there |= {"what": line["what"], side: _named(line["cost"])}
    ordered = [{"after": None, **lines[key]} for key in sides if key in lines]
    totals = {
        side: prices.plus(prices.NOTHING, *(estimates[region, side]["total"] for region in regions))
        for side in ("before", "after")
    }
    return {
        "currency": "USD",
        "prices_of": prices.AS_OF,
        "hours": prices.HOURS,
        "regions": regions,
        "borrowed": sorted({region for (region, _), estimate in estimates.items() if estimate["borrowed"]}),
        "before": _named(totals["before"]),
        "after": _named(totals["after"]),
        "delta": _named(prices.plus(totals["after"], prices.times(totals["before"], -1))),
        "lines": ordered,
        "unpriced": list(dict.fromkeys(text for estimate in estimates.values() for text in estimate["unpriced"])),
        "assumed": {
            name: {**_named((assumed or {}).get(name, usual)), "what": what}
            for name, (usual, what) in prices.ASSUMED.items()
        },
    }


def _named(values: Sequence[float]) -> dict[str, float]:
    # + 0.0: a difference of nothing is not -0.0
    return {name: round(value, 2) + 0.0 for name, value in zip(("min", "typical", "max"), values, strict=True)}


# ---- text: (style, line) each; the styles are those of the callback ----

Line = tuple[str, str]
_SIGNS = {"create": "+", "update": "~", "replace": "-/+", "delete": "-"}
_VERBS = {
    True: ("to create", "to change", "to replace", "to delete"),
    False: ("created", "changed", "replaced", "deleted"),
}
_NAMES_SHOWN = 8
_LINES_SHOWN = 10
_WIDTH = 100


def text(report: Mapping[str, Any]) -> list[Line]:
    """What a person reads at the end of a run."""
    lines: list[Line] = [("head", _headline(report)), *_changes_text(report["changes"])]
    for failure in report["failures"]:
        lines += _failure_text(failure)
    if not report["complete"]:
        lines.append(
            ("failed", "Stopped there: what comes after it was not looked at, and its state is not known here.")
        )
    if report["not_reached"]:
        lines += [("warn", "Foreseen before the run, and not reached:"), *_changes_text(report["not_reached"])]
    for item in report["unknown"]:
        lines.append(
            ("warn", f"{_title(item)} keeps its result to itself (no_log): what it changed is not known here.")
        )
    lines += [("warn", f"! {warning}") for warning in report["warnings"] if " is left alone: " in warning]
    if report["cost"]:
        lines += _cost_text(report["cost"], report["check_mode"])
    return lines


def _headline(report: Mapping[str, Any]) -> str:
    foretold, counts = report["check_mode"], report["counts"]
    parts = [f"{counts[action]} {verb}" for action, verb in zip(ACTIONS, _VERBS[foretold], strict=True)]
    word = "Plan" if foretold else "Done" if report["complete"] else "Done before the failure"
    return f"{word}: {', '.join(parts)}, {counts['unchanged']} unchanged"


def _title(item: Mapping[str, str]) -> str:
    return f"{item['role']} : {item['task']}" if item["role"] else item["task"]


def _kind_and_name(resource: str) -> tuple[str, str]:
    """``replication group a-b`` -> (``replication group``, ``a-b``): plain words, then the name."""
    found = re.fullmatch(r"((?:[A-Za-z0-9]+ )+)(\S.*)", resource)
    return (found[1].rstrip(), found[2]) if found else ("", resource)


def _changes_text(changes: Sequence[Mapping[str, Any]], indent: str = "  ") -> Iterator[Line]:
    """Resource by resource in the order of the run; those of a kind that change alike stand together."""
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for change in changes:
        groups.setdefault((change.get("host", ""), change["resource"]), []).append(change)
    several_hosts = len({host for host, _ in groups}) > 1
    actions = {key: _actions({"host": key[0], **change} for change in group)[key] for key, group in groups.items()}
    alike: dict[str, list[tuple[str, str]]] = {}
    for key, group in groups.items():
        # of a new resource only the name is shown, so what it gets makes no difference here
        fields = ("note",) if actions[key] in ("create", "delete") else ("path", "before", "after", "impact", "note")
        signs = [{field: change[field] for field in fields} for change in group]
        same = [key[0] if several_hosts else "", _kind_and_name(key[1])[0], actions[key], signs]
        alike.setdefault(json.dumps(same, sort_keys=True, default=str), []).append(key)
    for keys in alike.values():
        group, action = groups[keys[0]], actions[keys[0]]
        kind = _kind_and_name(keys[0][1])[0]
        names = [_kind_and_name(resource)[1] for _, resource in keys]
        label = f"{kind} {names[0]}".strip() if len(keys) == 1 else f"{kind} ({len(keys)}): {_some(names)}"
        host = f" on {keys[0][0]}" if several_hosts else ""
        yield action, f"{indent}{_SIGNS[action]} {label}{host}"
        if action in ("update", "replace"):
            for change in group:
                for line in _field(change["path"], change["before"], change["after"]):
                    yield "field", f"{indent}    {line}"
        yield from ((style, f"{indent}    {line}") for style, line in _notes(group, action))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def _notes(group: Sequence[Mapping[str, Any]], action: str) -> Iterator[Line]:
    """Each note once, with the fields that it is about when others of the resource change too."""
    notes: dict[tuple[str, str], list[str]] = {}
    for change in group:
        if change["note"] or (change["impact"] != IN_PLACE and action != "delete"):
            notes.setdefault((change["impact"], change["note"]), []).append(change["path"])
    for (impact, note), paths in notes.items():
        about = f"{', '.join(paths)}: " if len(paths) < len(group) and all(paths) else ""
        if impact == IN_PLACE:
            yield "note", f"({about}{note})"
        else:
            word = "disruptive" if impact == DISRUPTIVE else impact
            yield "warn", f"! {word}: {about}{note or 'interrupts those who use it'}"


def _field(path: str, before: Any, after: Any) -> Iterator[str]:
    """``path: before -> after``, or of long values only what differs."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in {**before, **after}:
            if before.get(key) != after.get(key):
                yield from _field(f"{path}.{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        gone = [f"- {_short(item)}" for item in before if item not in after]
        new = [f"+ {_short(item)}" for item in after if item not in before]
        parts = [*gone, *new] or ["the same in another order"]
        if sum(map(len, parts)) <= _WIDTH:
            yield f"{path}: {', '.join(parts)}"
        else:
            yield f"{path}:"
            yield from (f"  {part}" for part in parts)
    elif isinstance(before, str) and isinstance(after, str) and ("\n" in before or "\n" in after):
        yield f"{path}:"
        diff = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1))[2:]
        yield from (f"  {line}" for line in diff[:_LINES_SHOWN])
        if len(diff) > _LINES_SHOWN:
            yield f"  ... and {len(diff) - _LINES_SHOWN} more lines"
    else:
        old, new_value = _value(before), _value(after)
        if len(old) + len(new_value) > _WIDTH:
            old, new_value = _cut(old, new_value)
        yield f"{path}: {old} -> {new_value}"


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    return value if isinstance(value, str) and value else json.dumps(value, default=str)


def _short(value: Any) -> str:
    shown = _value(value)
    return shown if len(shown) <= _WIDTH else f"{shown[:_WIDTH]}..."


def _cut(old: str, new: str) -> tuple[str, str]:
    """Long values around the place where they begin to differ."""
    same = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, same - 24)

    def part(value: str) -> str:
        head = "..." if start else ""
        rest = value[start:]
        return f"{head}{rest}" if len(rest) <= _WIDTH else f"{head}{rest[:_WIDTH]}..."

    return part(old), part(new)


def _failure_text(failure: Mapping[str, Any]) -> Iterator[Line]:
    word = "Refused" if failure["refused"] else "Failed"
    went_on = " (rescued or ignored; the run went on)" if failure["went_on"] else ""
    yield "failed", f"{word}: {_title(failure)}{went_on}"
    message = failure["msg"].splitlines() or ["no reason is given"]
    yield from (("field", f"    {line}") for line in message[:_LINES_SHOWN])
    if len(message) > _LINES_SHOWN:
        yield "field", "    ... (the rest stands above, where it failed)"
    if failure["planned"]:
        yield "warn", "    These changes were under way; which of them were made is not known. The next run will see:"
        yield from _changes_text(failure["planned"], "      ")


# ---- cost ----


def _money(values: Mapping[str, float] | None, sign: bool = False) -> str:
    if values is None:
        return "-"
    form = "+.2f" if sign else ".2f"
    if values["min"] == values["typical"] == values["max"]:
        return format(values["typical"], form)
    return " / ".join(format(values[name], form) for name in ("min", "typical", "max"))


def _cost_head(cost: Mapping[str, Any]) -> str:
    borrowed = " and ".join(cost["borrowed"])
    where = ", ".join(cost["regions"]) + (f", us-east-1 where {borrowed} has no price here" if borrowed else "")
    return f"Cost a month in {cost['currency']}, list prices of {cost['prices_of']}, {where} (min / typical / max)"


def _cost_text(cost: Mapping[str, Any], foretold: bool) -> Iterator[Line]:
    """The sums, and the lines that change."""
    yield "head", f"{_cost_head(cost)}, of what this run looked at:"
    if not any(cost["delta"].values()):
        yield "field", f"    {_money(cost['after'])}, unchanged"
        return
    now, then = ("now", "then") if foretold else ("before", "now")
    yield "field", f"    {now:6}  {_money(cost['before'])}"
    yield "field", f"    {then:6}  {_money(cost['after'])}   ({_money(cost['delta'], sign=True)})"
    changed = [line for line in cost["lines"] if line["before"] != line["after"]]
    dearest = sorted(changed, key=lambda line: -abs(_typical(line["after"]) - _typical(line["before"])))
    for line in dearest[:_LINES_SHOWN]:
        what = f" ({line['what']})" if line["what"] else ""
        yield "note", f"      {line['resource']}: {_money(line['before'])} -> {_money(line['after'])}{what}"
    if len(changed) > _LINES_SHOWN:
        yield "note", f"      ... and {len(changed) - _LINES_SHOWN} more; all of them: playbooks/cost.yml"
    yield from (("note", f"      not in it: {sentence}") for sentence in cost["unpriced"][:_LINES_SHOWN])


def _typical(values: Mapping[str, float] | None) -> float:
    return values["typical"] if values else 0.0


def cost_lines(cost: Mapping[str, Any] | None) -> list[Line]:
    """Line by line, deployed and wanted beside each other: the text of playbooks/cost.yml."""
    if cost is None:
        return [("head", "Nothing that costs by the month was looked at.")]
    rows = [(line["resource"], _money(line["before"]), _money(line["after"]), line["what"]) for line in cost["lines"]]
    rows.insert(0, ("", "deployed now", "as the inventory asks", ""))
    rows.append(("together", _money(cost["before"]), _money(cost["after"]), f"{_money(cost['delta'], sign=True)}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines: list[Line] = [("head", f"{_cost_head(cost)}, {cost['hours']} hours")]
    for number, (name, before, after, what) in enumerate(rows):
        style = "head" if number in (0, len(rows) - 1) else "field"
        columns = f"  {name:{widths[0]}}  {before:>{widths[1]}}  {after:>{widths[2]}}  {what}"
        lines.append((style, columns.rstrip()))
    lines.append(("note", "Assumed (min / typical / max):"))
    lines += [("note", f"  {_money(item)} {item['what']} [{name}]") for name, item in cost["assumed"].items()]
    lines.append(("note", "Not in it: free tiers, discounts, taxes, data transfer, requests, images in ECR."))
    lines += [("warn", f"No price here: {sentence}") for sentence in cost["unpriced"]]
    return lines
