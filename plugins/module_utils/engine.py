# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""describe -> normalise -> plan -> apply -> wait: what every module of this collection does.

An *aggregate* is a Python module of this package (``cloudwatch_log_groups``, ``ecs_service`` ...) with these functions:

``expand(aws, params) -> params`` (only where what is asked for depends on what there is)
    Put in place of a name that ends in ``*`` those of the resources that there are; see ``expanded``.
``describe(aws, params) -> current``
    Read what is there, batched and concurrent, in the aggregate's normal form. No writes.
``settle(aws, params, current, say) -> bool`` (only where AWS refuses changes while an earlier one is under way)
    Wait for what an earlier, interrupted run left in motion. True when there was something: then ``describe`` again,
    in check mode too, for a plan made from a half-way state would be wrong.
``plan(aws, params, current) -> list[Change]``
    What is to be done, field by field. Pure: of ``aws`` it uses only ``account_id``, ``region`` and ``partition``.
    Raises ``Refused`` for what must not be done.
``apply(aws, params, current, changes, say) -> dict | None``
    Carry out exactly these changes. Safe to run again after a crash at any point, and run again from ``describe`` on
    when the answer to a write is lost (``AnswerLost``): whether it was carried out, only AWS can tell. May return a
    part of ``output`` that only the answers to its writes tell exactly.
``wait(aws, params, say)``
    Return when everything of the list is as it should be; raise ``Failed`` with the reason when it will not be.
``settled(params, current) -> bool`` (only where ``wait`` asks AWS)
    Whether ``current`` shows that there is nothing to wait for, so that a run without changes need not ask again.
``output(aws, params, current) -> dict``
    The module's return values. Called in check mode too: what does not exist yet is predicted from ``params``.
    With ``state: gathered`` (Ansible's word for it) it returns what is there and nothing else: see ``run``. An
    aggregate that knows no other state has ``describe`` and ``output`` alone.
``resources(aws, params, current) -> list[str]``
    What the aggregate manages with ``state: present``, each as ``Change.resource`` names it. Pure, as ``plan`` is. What
    of it has no change is what a summary counts as unchanged.
``billed(aws, params, current, wanted) -> list[dict]`` (only where something costs by the month)
    What AWS bills for, as it is (``wanted`` false) or as ``params`` want it. Pure. ``prices`` says what an entry holds.

``run`` puts them together, so that check mode, diff and real runs cannot differ.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

# What a change does to people who use the resource meanwhile.
IN_PLACE, DISRUPTIVE, REPLACEMENT = "in-place", "disruptive", "replacement"
# The action of an entry that is no change: what state absent meets and does not delete.
LEAVE = "leave"

# The state of a module that is to report what is deployed, whatever the inventory asks for by now.
GATHERED = "gathered"

Say = Callable[[str], None]


class Refused(Exception):
    """The request is understood and will not be carried out; the message names the reason and what to change."""


class Failed(Exception):
    """AWS accepted the change, and it did not come true (a rollout that rolled back, a wait that ran out).

    ``undone`` names the resources, as in ``Change``, whose changes an earlier task has reported and that did not last.
    """

    undone: list[str] | None = None


class AnswerLost(Exception):
    """A write was sent, and its answer did not come: it was carried out, or not, or will be."""


# A write whose answer is lost is not sent again: a second CreateVpc would make a second VPC. This often in a row
# without getting on, it is given up. The first pause is for AWS to show what it has just made, the later ones for AWS
# to recover. https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
_LOST_ANSWERS, _LONGEST_PAUSE = 5, 16.0


class Exact(dict):
    """A mapping that is enforced whole: keys that are there and not given are removed (tags, environment)."""


@dataclass(frozen=True)
class Change:
    """One entry of a plan.

    ``action`` is create, update, replace, delete or leave; ``path`` is the dotted field (empty for a whole resource);
    ``note`` says what a disruptive change interrupts.
    """

    resource: str
    action: str
    path: str = ""
    before: Any = None
    after: Any = None
    impact: str = IN_PLACE
    note: str = ""


def unknown(kind: str, name: str) -> str:
    """The stand-in for an id that AWS alone can choose (``vpc-0abc...``), in check mode before the resource exists."""
    return f"(known after apply: {kind} {name})"


def is_unknown(value: Any) -> bool:
    return isinstance(value, str) and "(known after apply: " in value


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield ``(path, before, after)`` for every field that ``after`` gives and ``before`` does not match.

    Mappings are compared key by key; a key that ``after`` leaves out is not looked at, unless ``after`` is ``Exact``.
    Everything else is compared whole: bring lists into a normal order first where AWS has none.
    ``None`` means absent, so a field that is None in ``after`` and missing in ``before`` is no difference.
    """
    if isinstance(after, Mapping):
        known = before if isinstance(before, Mapping) else {}
        keys = list(after)
        if isinstance(after, Exact):
            keys += [key for key in known if key not in after]
        for key in keys:
            yield from differences(known.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif before != after:
        yield path, before, after


def create(resource: str, fields: Any) -> Change:
    return Change(resource, "create", after=fields)


def delete(resource: str, fields: Any = None, impact: str = DISRUPTIVE, note: str = "") -> Change:
    return Change(resource, "delete", before=fields, impact=impact, note=note)


def update(
    resource: str, before: Mapping, after: Mapping, impacts: Mapping[str, tuple[str, str]] | None = None
) -> list[Change]:
    """The updates that turn ``before`` into ``after``.

    ``impacts`` maps a path, or the beginning of one, to ``(impact, note)`` for fields whose change is not harmless.
    """
    changes = []
    for path, old, new in differences(before, after):
        impact, note = next(
            (value for start, value in (impacts or {}).items() if path == start or path.startswith(start + ".")),
            (IN_PLACE, ""),
        )
        changes.append(Change(resource, "update", path, old, new, impact, note))
    return changes


def by_resource(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """Group a plan by resource, in the plan's order."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.resource, []).append(change)
    return groups


def predicted(current: Any, wanted: Any) -> Any:
    """``current`` as it will be once ``wanted`` is enforced; for an aggregate's output in check mode."""
    if isinstance(wanted, Exact) or not isinstance(wanted, Mapping) or not isinstance(current, Mapping):
        return wanted
    return {**current, **{key: predicted(current.get(key), value) for key, value in wanted.items()}}


def user_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without those that AWS itself sets (``aws:...``), which nobody can change."""
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}


OWNER_TAGS = ("Project", "Environment", "Region")


def refuse_foreign(
    resource: str, current_tags: Mapping[str, str], params: Mapping[str, Any], along: Iterable[str] = ()
) -> None:
    """Refuse to touch a resource of the same name that another stack, or nobody, owns.

    ``along`` are more such resources: only all of them together can be taken over.

    Ownership is the tags Project, Environment and Region (names of IAM roles are shared by all regions). A module that
    is given no such tags owns whatever it names, and ``adopt`` takes over what it names: the plan then shows the tags,
    and everything else, that change.
    """
    if not is_foreign(current_tags, params["tags"]):
        return
    if is_adopted(resource, params):
        return
    keys = [key for key in OWNER_TAGS if key in params["tags"]]
    ours = " ".join(f"{key}={params['tags'][key]}" for key in keys)
    theirs = " ".join(f"{key}={current_tags[key]}" for key in keys if key in current_tags) or "no such tags"
    raise Refused(
        f"{resource} exists and belongs to somebody else: it carries {theirs}, this stack is {ours}. "
        "It was not touched. Set name_prefix in the inventory to a name of its own for this environment, or, if it "
        f"really is yours, take it over with -e '{json.dumps({'adopt': [resource, *along]})}'; add --check --diff to "
        "see first what would change."
    )


def is_adopted(resource: str, params: Mapping[str, Any]) -> bool:
    return any(fnmatchcase(resource, pattern) for pattern in params.get("adopt") or ())


def tag_changes(changes: Iterable[Change]) -> tuple[dict[str, str], list[str]]:
    """Of the changes of one resource: the tags to set, and the keys of those to take away."""
    tags = {change.path.removeprefix("tags."): change.after for change in changes if change.path.startswith("tags.")}
    new = {key: value for key, value in tags.items() if value is not None}
    return new, [key for key in tags if key not in new]


def is_foreign(current_tags: Mapping[str, str], wanted_tags: Mapping[str, str] | None) -> bool:
    """Whether another stack, or nobody, owns a resource: what ``refuse_foreign`` refuses and state absent leaves."""
    wanted = wanted_tags or {}
    return any(current_tags.get(key) != wanted[key] for key in OWNER_TAGS if key in wanted)


def leave(resource: str, reason: str) -> Change:
    """An entry of a plan for what is not deleted; ``run`` makes a warning of it."""
    return Change(resource, LEAVE, note=reason)


def leave_foreign(resource: str, current_tags: Mapping[str, str]) -> Change:
    theirs = " ".join(f"{key}={current_tags[key]}" for key in OWNER_TAGS if key in current_tags)
    return leave(resource, f"it belongs to somebody else: it carries {theirs or 'no tags that say whose it is'}")


def is_pattern(name: str) -> bool:
    return name.endswith("*")


def refuse_pattern(name: str, params: Mapping[str, Any]) -> None:
    """Refuse a name that ends in ``*`` where it could mean what this stack does not own."""
    if params["state"] != "absent" or not {"Project", "Environment"} <= set(params["tags"] or {}):
        raise Refused(
            f"{name} stands for several resources, and only state: absent takes that, with the tags Project and "
            "Environment, which tell which of them are yours. Give the whole name, or both tags."
        )


def expanded(
    items: Iterable[Mapping], field: str, params: Mapping[str, Any], find: Callable[[str], Iterable[str]]
) -> list[Mapping]:
    """``items`` with one whose name ends in ``*`` replaced by one for each name that ``find`` finds by its beginning.

    A name that is in ``items`` itself is not found again. Whose the found ones are, ``plan`` sees by their tags.
    """
    items = list(items)
    result = [item for item in items if not is_pattern(item[field])]
    for item in items:
        if is_pattern(item[field]):
            refuse_pattern(item[field], params)
            known = {one[field] for one in result}
            result += [{**item, field: name} for name in sorted(set(find(item[field][:-1])) - known)]
    return result


def run(
    aggregate: Any, aws: Any, params: Mapping[str, Any], *, check_mode: bool, say: Say, lock: Any = None
) -> dict[str, Any]:
    """Bring the aggregate to what ``params`` say and return the module's result.

    Returns ``changed``, ``settled`` (there was nothing to change and nothing to wait for), ``changes`` (the plan),
    ``diff`` (before and after, field by field), ``warnings`` (what is left alone), ``resources`` and ``billed`` (see
    above), and the aggregate's output. An error that comes after the plan was made carries it as ``planned``: what may
    have been carried out, or not. ``lock`` (see ``lock.py``) is held while something is changed, and not looked at
    otherwise.
    """
    seen = _look(aggregate, aws, params, say)
    changes = [change for change in seen[2] if change.action != LEAVE]
    with lock.hold(aws, changes) if lock and changes and not check_mode else nullcontext(False) as just_taken:
        if just_taken:  # somebody else may have changed what the plan was made from
            seen = _look(aggregate, aws, params, say)
        result = _carry_out(aggregate, aws, *seen, check_mode=check_mode, say=say)
    if lock:
        result["warnings"] += lock.warnings
    return result


def _look(aggregate: Any, aws: Any, params: Mapping[str, Any], say: Say) -> tuple[Mapping[str, Any], Any, list[Change]]:
    """``params`` with patterns replaced, what is there, and the plan that they make."""
    if hasattr(aggregate, "expand"):
        params = aggregate.expand(aws, params)
    current = _described(aggregate, aws, params, say)
    return params, current, [] if params.get("state") == GATHERED else aggregate.plan(aws, params, current)


def _carry_out(
    aggregate: Any, aws: Any, params: Mapping, current: Any, planned: list[Change], *, check_mode: bool, say: Say
) -> dict[str, Any]:
    if params.get("state") == GATHERED:
        return {
            "changed": False,
            "settled": True,
            "changes": [],
            "diff": diff([]),
            "warnings": [],
            "resources": [],
            "billed": _billed(aggregate, aws, params, current, []),
            **aggregate.output(aws, params, current),
        }
    changes = [change for change in planned if change.action != LEAVE]
    # Also without changes: an earlier run may have been stopped while it waited.
    settled = not changes and (not hasattr(aggregate, "settled") or aggregate.settled(params, current))
    resources = aggregate.resources(aws, params, current) if params.get("state") != "absent" else []
    billed = _billed(aggregate, aws, params, current, changes)
    told: dict[str, Any] = {}
    if not check_mode:
        try:
            if changes:
                told = _apply(aggregate, aws, params, current, changes, say)
            if not settled:
                aggregate.wait(aws, params, say)
            if changes:
                current = aggregate.describe(aws, params)
        except Exception as error:
            error.planned = [asdict(change) for change in changes]  # type: ignore[attr-defined]
            raise
    return {
        "changed": bool(changes),
        "settled": settled,
        "changes": [asdict(change) for change in changes],
        "diff": diff(changes),
        "warnings": [f"{change.resource} is left alone: {change.note}" for change in planned if change.action == LEAVE],
        "resources": resources,
        "billed": billed,
        **predicted(aggregate.output(aws, params, current), told),
    }


def _billed(
    aggregate: Any, aws: Any, params: Mapping, current: Any, changes: Iterable[Change]
) -> dict[str, Any] | None:
    """``{region, before, after}``: what is billed now, and what will be once ``changes`` are carried out."""
    if not hasattr(aggregate, "billed"):
        return None
    before = after = aggregate.billed(aws, params, current, False)
    if params.get("state") == "absent":
        gone = {change.resource for change in changes}
        before, after = [item for item in before if item["resource"] in gone], []
    elif params.get("state") != GATHERED:
        after = aggregate.billed(aws, params, current, True)
    return {"region": aws.region, "before": before, "after": after}


def _described(aggregate: Any, aws: Any, params: Mapping[str, Any], say: Say) -> Any:
    current = aggregate.describe(aws, params)
    if hasattr(aggregate, "settle") and aggregate.settle(aws, params, current, say):
        current = aggregate.describe(aws, params)
    return current


def _apply(
    aggregate: Any, aws: Any, params: Mapping[str, Any], current: Any, changes: list[Change], say: Say
) -> dict[str, Any]:
    """Carry out the plan; each time that the answer to a write is lost, look what is there and what is left to do."""
    lost = 0
    while changes:
        try:
            return aggregate.apply(aws, params, current, changes, say) or {}
        except AnswerLost as error:
            failure = error
        say(f"{failure}; looking what is there")
        time.sleep(min(2.0**lost, _LONGEST_PAUSE))
        current = _described(aggregate, aws, params, say)
        left = [change for change in aggregate.plan(aws, params, current) if change.action != LEAVE]
        lost = lost + 1 if left == changes else 0
        if lost == _LOST_ANSWERS:
            raise failure
        changes = left
    return {}


def diff(changes: Iterable[Change]) -> dict[str, Any]:
    """A plan in the form that ``--diff`` prints: one entry per resource, and in it one per field."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for resource, group in by_resource(changes).items():
        for change in group:
            if change.path:
                before.setdefault(resource, {})[change.path] = change.before
                after.setdefault(resource, {})[change.path] = change.after
            else:
                if change.before is not None:
                    before[resource] = change.before
                if change.after is not None:
                    after[resource] = change.after
    return {"before": before, "after": after}
