# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Deployments without a change of the inventory: the same once more, or back to an earlier revision; to their end.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html (history, 90 days of it)
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

try:
    from botocore.exceptions import ClientError
except ImportError:
    ClientError = ()

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout, ecs_verbs
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import (
    Aws,
    error_code,
    explain,
    together,
    wait_until,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_rollout import primary, short
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_service import replacing, resource
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    AnswerLost,
    Change,
    Refused,
    Say,
    refuse_foreign,
    update,
)

RESTARTED, ROLLED_BACK = "restarted", "rolled_back"
PREVIOUS = "previous"
# ServiceDeploymentStatus; see the second page above.
_STOPPABLE = ("PENDING", "IN_PROGRESS")
_STOPPING = ("STOP_REQUESTED", "ROLLBACK_REQUESTED")
_ROLLING_BACK = (*_STOPPING, "ROLLBACK_IN_PROGRESS")


# ---- describe ----


def describe(aws: Aws, params: Mapping) -> dict[str, dict[str, Any]]:
    """By short name: ``service``, ``revision`` (that of the newest deployment: ``task_definition``, ``image``).

    To roll back also ``deployment``, the newest one of its history, and ``target``, the revision to go back to, or in
    ``problem`` why there is none.
    """
    services = ecs_verbs.find(aws, params, params["services"])
    found = {name: {"service": service} for name, service in services.items()}

    def one(entry: dict[str, Any]) -> None:
        entry["revision"] = _revision(aws, primary(entry["service"])["taskDefinition"])
        if params["state"] == ROLLED_BACK:
            _look_back(aws, params, entry)

    together(*(lambda entry=entry: one(entry) for entry in found.values()))
    return found


def _revision(aws: Aws, name: str) -> dict[str, Any]:
    (definition,) = ecs_verbs.definitions(aws, [name]).values()
    return {
        "task_definition": definition["taskDefinitionArn"],
        "image": ecs_verbs.image(definition),
        "active": definition["status"] == "ACTIVE",
    }


def _look_back(aws: Aws, params: Mapping, entry: dict[str, Any]) -> None:
    history = _history(aws, entry["service"])
    entry["deployment"] = history[0] if history else None
    entry["target"], entry["problem"] = None, ""
    try:
        entry["target"] = _revision(aws, _back_to(aws, params["to"], entry, history))
    except Refused as reason:
        entry["problem"] = str(reason)
    except ClientError as error:
        if error_code(error) != "ClientException":
            raise
        entry["problem"] = f"to is {params['to']}, and there is no such revision."


def _history(aws: Aws, service: Mapping) -> list[dict[str, Any]]:
    """Service deployments, newest first; botocore knows no paginator for them."""
    place = {"cluster": service["clusterArn"], "service": service["serviceName"], "maxResults": 100}
    answer = aws.client("ecs").list_service_deployments(**place)
    found = answer["serviceDeployments"]
    while answer.get("nextToken"):
        answer = aws.client("ecs").list_service_deployments(**place, nextToken=answer["nextToken"])
        found += answer["serviceDeployments"]
    return sorted(found, key=lambda item: item["createdAt"], reverse=True)


def _back_to(aws: Aws, to: str, entry: Mapping, history: Sequence[Mapping]) -> str:
    """The task definition that ``to`` means; only what was served already is looked for by tag."""
    serving = entry["revision"]["task_definition"]
    if to.isdigit():
        return f"{short(serving).rpartition(':')[0]}:{to}"
    completed = [item["targetServiceRevisionArn"] for item in history if item["status"] == "SUCCESSFUL"]
    seen = {}
    for revision in _revisions(aws, completed):
        arn, images = revision["taskDefinition"], [c.get("image", "") for c in revision.get("containerImages", [])]
        # one in flight goes back to where it came from, be it the same revision
        if to == PREVIOUS and (arn != serving or (entry["deployment"] or {})["status"] in _STOPPABLE):
            return arn
        if to != PREVIOUS and any(named(image, to) for image in images):
            return arn
        seen[short(arn)] = ", ".join(images)
    known = "; ".join(f"{name} ({images})" for name, images in seen.items()) or "none"
    what = "no earlier one" if to == PREVIOUS else f"no one with the image {to}"
    raise Refused(f"of its completed deployments, of which AWS keeps 90 days, there is {what}. There are: {known}.")


def _revisions(aws: Aws, arns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Service revisions in the order of ``arns``, 20 a call, as many as are looked at."""
    for start in range(0, len(arns), 20):
        part = list(arns[start : start + 20])
        found = aws.client("ecs").describe_service_revisions(serviceRevisionArns=part)["serviceRevisions"]
        yield from sorted(found, key=lambda revision: part.index(revision["serviceRevisionArn"]))


def named(image: str, to: str) -> bool:
    """Whether ``to`` is the image, or its tag or digest; ``:7`` is the tag 7, as ``7`` is a revision's number."""
    return to == image or image.endswith((f":{to.removeprefix(':')}", f"@{to}"))


# ---- plan ----


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    changes = []
    for name, entry in current.items():
        label = resource(entry["service"]["serviceName"])
        refuse_foreign(label, ecs_verbs.tags(entry["service"]), params)
        if params["state"] == RESTARTED:
            before = f"{primary(entry['service'])['id']} of {short(entry['revision']['task_definition'])}"
            changes.append(Change(label, "update", "deployment", before, "a new one of the same", *_impact(entry)))
        else:
            changes += _plan_back(params, name, entry, label)
    return changes


def _plan_back(params: Mapping, name: str, entry: Mapping, label: str) -> list[Change]:
    deployment, target = entry["deployment"] or {}, entry["target"]
    if params["to"] == PREVIOUS and deployment.get("status") in _ROLLING_BACK:
        return []  # it is followed
    if target is None:
        raise Refused(f"{name} cannot be rolled back: {entry['problem']} Name another with to=<revision number>.")
    before, after = _shown(entry["revision"]), _shown(target)
    if _stops(params, entry):
        stop = Change(label, "update", "deployment", "in progress", "stopped and rolled back", *_impact(entry))
        return [stop, *update(label, before, after)]
    if before != after and not target["active"]:
        raise Refused(
            f"{name} cannot be rolled back: {after['task_definition']} was deregistered, and ECS starts no task of it. "
            "Name another with to=<revision number>."
        )
    return update(label, before, after, {"task_definition": _impact(entry)})


def _impact(entry: Mapping) -> tuple[str, str]:
    percents = entry["service"].get("deploymentConfiguration", {})
    return replacing(percents.get("minimumHealthyPercent", 100), percents.get("maximumPercent", 200))


def _stops(params: Mapping, entry: Mapping) -> bool:
    return params["to"] == PREVIOUS and (entry["deployment"] or {}).get("status") in _STOPPABLE


def _shown(revision: Mapping) -> dict[str, str]:
    return {"task_definition": short(revision["task_definition"]), "image": revision["image"]}


# ---- apply ----


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    planned = {change.resource for change in changes}
    entries = [entry for entry in current.values() if resource(entry["service"]["serviceName"]) in planned]
    failed: dict[str, str] = {}

    def one(entry: Mapping) -> ecs_rollout.Rollout | None:
        name = entry["service"]["serviceName"]
        try:
            return _start(aws, params, entry, say)
        except ClientError as error:
            # the other services go on; all accounts are given together
            failed[name] = f"service {name}: {error.operation_name} was refused: {explain(error)}"
            return None

    rollouts = [rollout for rollout in together(*(lambda entry=entry: one(entry) for entry in entries)) if rollout]
    failed.update(ecs_rollout.follow(aws, params["cluster"], rollouts, timeout=params["wait_timeout"], say=say))
    ecs_verbs.report(failed)


def _start(aws: Aws, params: Mapping, entry: Mapping, say: Say) -> ecs_rollout.Rollout:
    service = entry["service"]
    place = {"cluster": params["cluster"], "service": service["serviceName"]}
    ecs, events = aws.client("ecs"), service.get("events", [])
    if params["state"] == RESTARTED:
        answer = _once(aws, service, lambda: ecs.update_service(**place, forceNewDeployment=True)["service"])
        return ecs_rollout.started(answer, events)
    if not _stops(params, entry):
        target = entry["target"]["task_definition"]
        return ecs_rollout.started(ecs.update_service(**place, taskDefinition=target)["service"], events)
    arn = entry["deployment"]["serviceDeploymentArn"]
    ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
    _wait_for_roll_back(aws, params, [arn], say)
    return ecs_rollout.started(_read(aws, service), events)


def _once(aws: Aws, service: Mapping, restart: Callable[[], dict]) -> dict:
    """A restart whose answer is lost is not asked for again where it can be seen: the engine could not tell."""
    try:
        return restart()
    except AnswerLost:
        there = _read(aws, service)
        if primary(there).get("id") == primary(service).get("id"):
            raise
        return there


def _read(aws: Aws, service: Mapping) -> dict[str, Any]:
    name = service["serviceName"]
    return ecs_rollout.read_services(aws, service["clusterArn"], [name])[name]


def _wait_for_roll_back(aws: Aws, params: Mapping, arns: Sequence[str], say: Say) -> None:
    """Until what was stopped has begun to roll back: only then is there a deployment of the old revision to follow."""

    def probe() -> tuple[bool, str]:
        found = aws.client("ecs").describe_service_deployments(serviceDeploymentArns=list(arns))["serviceDeployments"]
        states = [item["status"] for item in found]
        return not any(state in (*_STOPPABLE, *_STOPPING) for state in states), ", ".join(states)

    wait_until(
        probe,
        timeout=params["wait_timeout"],
        pause=ecs_rollout.PAUSE,
        what="stopping the deployment",
        variable="wait_timeout",
        say=say,
    )


def settled(params: Mapping, current: Mapping) -> bool:
    return not ecs_rollout.unfinished(entry["service"] for entry in current.values())


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Also when nothing was changed: a roll-back may be under way already."""
    for entry in describe(aws, params).values():
        if (entry.get("deployment") or {}).get("status") in _STOPPING:
            _wait_for_roll_back(aws, params, [entry["deployment"]["serviceDeploymentArn"]], say)
    rollouts = ecs_rollout.unfinished(ecs_verbs.find(aws, params, params["services"]).values())
    ecs_verbs.report(ecs_rollout.follow(aws, params["cluster"], rollouts, timeout=params["wait_timeout"], say=say))


# ---- output ----


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    return [resource(entry["service"]["serviceName"]) for entry in current.values()]


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    return {
        "services": {
            name: {"service": entry["service"]["serviceName"], **_shown(entry["revision"])}
            for name, entry in current.items()
        }
    }
