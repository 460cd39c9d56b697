# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the next deployment will find what it needs: all checks at once, before anything is touched. Reads only.

What is checked is what ``site.yml`` is about to leave behind, in the form of its *steps*: the arguments of each module
and its result in check mode. So what the run itself makes, or puts right, is no failure, and the inventory is read in
one place only. What a step does not manage, or IAM or AWS decides, is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

try:
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    BotoCoreError = ClientError = ()

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_task_definition
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, explain, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_cluster import strategy
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import is_unknown

OK, FAILED, UNKNOWN, NOT_APPLICABLE = "ok", "failed", "unknown", "not applicable"
CREATED, CHANGED = "to be created", "to be changed"


@dataclass(frozen=True)
class Finding:
    """What one check says of one thing. ``mend`` is the variable to change or the command that mends a failure."""

    check: str
    subject: str
    status: str
    evidence: str
    mend: str = ""

    def line(self) -> str:
        return f"{self.status:<14} {self.sentence()}"

    def sentence(self) -> str:
        return f"{self.check}: {self.subject}: {self.evidence}{f' {self.mend}' if self.mend else ''}"


@dataclass(frozen=True)
class Step:
    """A task of ``site.yml``: its module, its validated arguments, and what it returned in check mode."""

    task: str
    module: str
    args: Mapping[str, Any]
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Service:
    """A service as the options of ``ecs_service`` want it, and as it is there."""

    name: str
    wanted: Mapping[str, Any]
    there: Mapping[str, Any]
    task: Mapping[str, Any]
    """The task definition's normal form."""

    @property
    def containers(self) -> Mapping[str, Mapping[str, Any]]:
        return self.task["containers"]

    @property
    def role(self) -> str:
        """The role that the service is from, which begins the names of its variables: it is its main container's."""
        return "ecs_" + next(iter(self.wanted["task_definition"]["containers"]))["name"].replace("-", "_")

    @property
    def capacity(self) -> Mapping[str, Mapping[str, int]]:
        return strategy(self.wanted["capacity_provider_strategy"] or [])


class Stack:
    """What the steps say of the stack that will be there."""

    def __init__(self, steps: Sequence[Step]):
        self.steps = steps

    def of(self, module: str) -> list[Step]:
        return [step for step in self.steps if step.module == module]

    @cached_property
    def services(self) -> list[Service]:
        return [
            Service(
                item["name"],
                item,
                step.result["services"][item["name"]],
                ecs_task_definition.normal(ecs_task_definition.request(item["task_definition"], None)),
            )
            for step in self.of("ecs_service")
            if step.args["state"] == "present"
            for item in step.args["services"]
        ]

    def planned(self, resource: str) -> list[Mapping[str, Any]]:
        """What the steps change of a resource."""
        return [change for step in self.steps for change in step.result["changes"] if change["resource"] == resource]

    def pending(self, check: str, subject: str, *resources: str, paths: Iterable[str] = ("",)) -> Finding | None:
        """The finding for what a step makes or changes, where it does; ``paths`` are beginnings of fields."""
        changes = [
            change
            for resource in resources
            for change in self.planned(resource)
            if change["path"].startswith(tuple(paths)) or not change["path"]
        ]
        if not changes:
            return None
        made = any(change["action"] in ("create", "replace") for change in changes)
        what = ", ".join(dict.fromkeys(f"{one['resource']} {one['path']}".strip() for one in changes))
        if made:
            return Finding(check, subject, CREATED, "site.yml makes it.")
        return Finding(check, subject, CHANGED, f"site.yml puts it right: {what}.")


Check = Callable[[Aws, Stack], Iterable[Finding]]


def run(aws: Aws, stack: Stack, checks: Mapping[str, Check]) -> list[Finding]:
    """The findings of all checks, which are made at once, in the order of ``checks``."""
    if not stack.services:
        return [Finding(name, "all", UNKNOWN, "no service could be foreseen.") for name in checks]
    return [finding for found in together(*map(_guarded(aws, stack), checks.items())) for finding in found]


def _guarded(aws: Aws, stack: Stack) -> Callable[[tuple[str, Check]], Callable[[], list[Finding]]]:
    """A check that cannot read what it needs says so, and stops none of the others."""

    def guard(item: tuple[str, Check]) -> Callable[[], list[Finding]]:
        name, check = item

        def guarded() -> list[Finding]:
            try:
                return list(check(aws, stack))
            except (BotoCoreError, ClientError) as error:
                return [Finding(name, "all", UNKNOWN, explain(error))]

        return guarded

    return guard


def attempt(check: str, subject: str, ask: Callable[[], Finding]) -> Finding:
    """``ask()``, or that it is unknown where AWS does not answer or does not allow the question."""
    try:
        return ask()
    except (BotoCoreError, ClientError) as error:
        return Finding(check, subject, UNKNOWN, explain(error))


def result(findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "checks": [asdict(finding) for finding in findings],
        "failures": [finding.sentence() for finding in findings if finding.status == FAILED],
    }


def distinct(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))


def known(values: Iterable[str]) -> list[str]:
    """Without stand-ins for ids that AWS will choose."""
    return [value for value in values if not is_unknown(value)]


def statements(document: Mapping[str, Any], effect: str) -> Iterator[Mapping[str, Any]]:
    found = document.get("Statement", [])
    yield from (one for one in ([found] if isinstance(found, Mapping) else found) if one.get("Effect") == effect)
