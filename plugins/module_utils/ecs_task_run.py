# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One task beside a service: its task definition, network, capacity and tags, with a command of its own; to its end.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_task_definition, ecs_verbs
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, patiently, wait_until
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_rollout import (
    LAST_LINES,
    LOG_LINES,
    PAUSE,
    read_tasks,
    short,
    task_lines,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    Change,
    Failed,
    Refused,
    Say,
    create,
    refuse_foreign,
)

# What a task wrote last may arrive in CloudWatch Logs after it is known to have ended; looks, a second apart.
_LAST_LOOKS = 3


def expand(aws: Aws, params: Mapping) -> dict[str, Any]:
    """With a name for this run, by which its task is found: one that was started is not started again.

    It is also RunTask's clientToken: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html
    """
    return {"run": f"nexus_learn-{uuid.uuid4().hex}", **params}


def describe(aws: Aws, params: Mapping) -> dict[str, Any]:
    """``service``, its ``definition``, the ``latest`` of the family if another image is wanted, the run's ``task``."""
    (service,) = ecs_verbs.find(aws, params, [params["service"]]).values()
    (definition,) = ecs_verbs.definitions(aws, [service["taskDefinition"]]).values()
    current = {"service": service, "definition": definition, "latest": None, "task": None, "log": []}
    if params["image"]:
        (current["latest"],) = ecs_verbs.definitions(aws, [definition["family"]]).values()
    task = current["task"] = _task(aws, params, definition["family"])
    if task:
        ran = ecs_verbs.definitions(aws, [task["taskDefinitionArn"]])[task["taskDefinitionArn"]]
        current["log"] = Log(aws, params, ran, task).read()
    return current


def _task(aws: Aws, params: Mapping, family: str) -> dict[str, Any] | None:
    tasks = read_tasks(aws, params["cluster"], family=family)
    return next((task for task in tasks if task.get("startedBy") == params["run"]), None)


class Log:
    """What the task's container has written so far."""

    def __init__(self, aws: Aws, params: Mapping, definition: Mapping, task: Mapping):
        name = _container(params, definition)["name"]
        places = [place for place in ecs_verbs.streams(aws, definition) if place[0] == name]
        self._logs = aws.client("logs")
        self._place = {
            "logGroupName": places[0][1],
            "logStreamName": places[0][2] + short(task["taskArn"]),
            "startFromHead": True,
        } if places else None  # fmt: skip
        self._token: dict[str, str] = {}

    def read(self) -> list[str]:
        """The lines since the last time. A page may be empty, and only an unchanged token says that it was the last."""
        lines: list[str] = []
        while self._place:
            try:
                answer = self._logs.get_log_events(**self._place, **self._token)
            except self._logs.exceptions.ResourceNotFoundException:
                break  # it has not written a line yet
            lines += [event["message"].rstrip() for event in answer["events"]]
            token = {"nextToken": answer["nextForwardToken"]}
            if token == self._token:
                break
            self._token = token
        return lines


def _container(params: Mapping, definition: Mapping) -> dict[str, Any]:
    """The one that is named, else the first, which is the application."""
    containers = definition["containerDefinitions"]
    found = [one for one in containers if params["container"] in (None, one["name"])]
    if not found:
        names = ", ".join(one["name"] for one in containers)
        raise Refused(f"container is {params['container']}; allowed with {params['service']}: {names}.")
    return found[0]


# ---- plan ----


def _wanted(aws: Aws, params: Mapping, current: Mapping) -> tuple[str, dict[str, Any] | None]:
    """The task definition to run; and what has to be registered for it, or None.

    It is a revision of the service's own family: a deployment of this image, if nothing else changes, takes it over.
    """
    definition, latest = current["definition"], current["latest"]
    if not params["image"] or params["image"] == _container(params, definition)["image"]:
        return definition["taskDefinitionArn"], None
    wanted = {key: value for key, value in definition.items() if key not in ecs_task_definition.READ_ONLY}
    wanted.pop("status", None)
    name = _container(params, definition)["name"]
    wanted["containerDefinitions"] = [
        {**one, "image": params["image"]} if one["name"] == name else one for one in wanted["containerDefinitions"]
    ]
    if ecs_task_definition.normal(latest) == ecs_task_definition.normal({**wanted, "status": "ACTIVE"}):
        return latest["taskDefinitionArn"], None
    family = f"{definition['family']}:{latest['revision'] + 1}"
    return aws.arn("ecs", f"task-definition/{family}"), wanted


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    refuse_foreign(f"service {current['service']['serviceName']}", ecs_verbs.tags(current["service"]), params)
    container = _container(params, current["definition"])
    if current["task"]:
        return []
    arn, register = _wanted(aws, params, current)
    image = params["image"] or container["image"]
    changes = []
    if register:
        changes.append(create(f"task definition {short(arn)}", {"image": image}))
    fields = {
        "task_definition": short(arn),
        "image": image,
        "container": container["name"],
        "command": params["command"],
        # names only: values may be secret
        "environment": sorted(params["environment"]),
    }
    return [*changes, create(_resource(params), fields)]


def _resource(params: Mapping) -> str:
    return f"task beside {params['service']}"


# ---- apply ----


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    service, ecs = current["service"], aws.client("ecs")
    tags = [tag for tag in service.get("tags", []) if not tag["key"].startswith("aws:")]
    tagged = {"tags": tags} if tags else {}
    arn, register = _wanted(aws, params, current)
    if register:
        arn = ecs.register_task_definition(**register, **tagged)["taskDefinition"]["taskDefinitionArn"]
    override = {"name": _container(params, current["definition"])["name"], "command": params["command"]}
    if params["environment"]:
        override["environment"] = [{"name": name, "value": str(v)} for name, v in params["environment"].items()]
    arguments = {
        key: service[key]
        for key in ("networkConfiguration", "capacityProviderStrategy", "launchType", "platformVersion")
        if service.get(key)
    }
    if "capacityProviderStrategy" in arguments:
        arguments.pop("launchType", None)  # DescribeServices may show both; RunTask takes one
    _start(aws, params["cluster"], arn, override, params["run"], {**arguments, **tagged}, say)


def run_before(
    aws: Aws, cluster: str, service: str, before: Mapping, definition: str, arguments: Mapping, say: Say
) -> None:
    """A task of a revision that is about to be deployed, once: what ecs_service does with run_task_before.

    ``before`` is ``{command, container, wait_timeout}``, ``definition`` an ARN, ``arguments`` more of RunTask's.
    """
    params = {**before, "cluster": cluster, "service": service}
    (described,) = ecs_verbs.definitions(aws, [definition]).values()
    name = _container(params, described)["name"]
    mark = f"before/{described['revision']}/"
    tasks = read_tasks(aws, cluster, family=described["family"])
    begun = [task for task in tasks if task.get("startedBy", "").startswith(mark)]
    if any(exit_code(task, name) == 0 for task in begun):
        return
    under_way = [task["startedBy"] for task in begun if task["lastStatus"] != "STOPPED"]
    run = under_way[0] if under_way else mark + uuid.uuid4().hex
    if not under_way:
        override = {"name": name, "command": before["command"]}
        _start(aws, cluster, definition, override, run, arguments, say)
    _follow(aws, {**params, "run": run}, described["family"], say)


def _start(aws: Aws, cluster: str, definition: str, override: Mapping, run: str, arguments: Mapping, say: Say) -> None:
    given = {
        "cluster": cluster,
        "taskDefinition": definition,
        "overrides": {"containerOverrides": [override]},
        "startedBy": run,
        "clientToken": run,
        **arguments,
    }
    # roles that were made seconds ago
    answer = patiently(lambda: aws.client("ecs").run_task(**given), ("unable to assume the role",), say)
    if answer["failures"]:
        reasons = "; ".join(one.get("reason", "") + " " + one.get("detail", "") for one in answer["failures"])
        raise Failed(f"The task was not started: {reasons.strip()}")


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    (service,) = ecs_verbs.find(aws, params, [params["service"]]).values()
    (definition,) = ecs_verbs.definitions(aws, [service["taskDefinition"]]).values()
    _follow(aws, params, definition["family"], say)


def _follow(aws: Aws, params: Mapping, family: str, say: Say) -> None:
    """Show the log as it comes until the task has ended; ``Failed`` unless its container ended with 0."""
    seen: dict[str, Any] = {}
    lines: list[str] = []

    def show() -> int:
        found = seen["log"].read() if "log" in seen else []
        for line in found:
            say(line)
        lines.extend(found)
        return len(found)

    def probe() -> tuple[bool, str]:
        task = seen["task"] = _task(aws, params, family)
        if task is None:
            return False, "starting"  # ECS shows what was started a moment later
        if "log" not in seen:
            (definition,) = ecs_verbs.definitions(aws, [task["taskDefinitionArn"]]).values()
            seen["name"], seen["log"] = _container(params, definition)["name"], Log(aws, params, definition, task)
        show()
        return task["lastStatus"] == "STOPPED", task["lastStatus"]

    wait_until(
        probe,
        timeout=params["wait_timeout"],
        pause=PAUSE,
        what=f"task {params['run']} of {params['service']}",
        variable="wait_timeout",
        say=say,
    )
    _look_again(show, lines)
    _judge(seen["task"], seen["name"], lines)


def _look_again(show: Callable[[], int], lines: Sequence[str]) -> None:
    for _ in range(_LAST_LOOKS):
        if not show() and lines:
            return
        time.sleep(1)


def _judge(task: Mapping, name: str, lines: Sequence[str]) -> None:
    if exit_code(task, name) == 0:
        return
    said = [f"{LAST_LINES}:", *(f"  {line}" for line in lines[-LOG_LINES:])] if lines else []
    raise Failed("\n".join(["The command did not end with exit code 0.", *(f"  {t}" for t in task_lines(task) + said)]))


def exit_code(task: Mapping | None, name: str) -> int | None:
    """None where it did not start."""
    containers = {one["name"]: one for one in (task or {}).get("containers", [])}
    return containers.get(name, {}).get("exitCode")


# ---- output ----


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    arn, register = _wanted(aws, params, current)
    return [*([f"task definition {short(arn)}"] if register else []), _resource(params)]


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    task = current["task"]
    arn = task["taskDefinitionArn"] if task else _wanted(aws, params, current)[0]
    name = _container(params, current["definition"])["name"]
    return {
        "task": short(task["taskArn"]) if task else None,
        "task_definition": short(arn),
        "exit_code": exit_code(task, name),
        "log": current["log"],
    }
