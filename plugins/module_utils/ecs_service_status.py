# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How services are: deployments, tasks, images, limits of the scaler, last events, and alarms that ring."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_verbs
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_rollout import short

_SCALING = "application-autoscaling"


def describe(aws: Aws, params: Mapping) -> dict[str, Any]:
    services = ecs_verbs.find(aws, params, params["services"])
    ids = {f"service/{params['cluster']}/{service['serviceName']}": name for name, service in services.items()}
    tasks, limits, alarms = together(
        lambda: dict(zip(services, together(*(lambda s=s: _tasks(aws, s) for s in services.values())), strict=True)),
        lambda: _limits(aws, list(ids)),
        lambda: _alarms(aws, params),
    )
    revisions = {
        *(deployment["taskDefinition"] for service in services.values() for deployment in service["deployments"]),
        *(task["taskDefinitionArn"] for some in tasks.values() for task in some),
    }
    return {
        "services": services,
        "tasks": tasks,
        "definitions": ecs_verbs.definitions(aws, revisions),
        "limits": {ids[id_]: limit for id_, limit in limits.items()},
        "alarms": alarms,
    }


def _tasks(aws: Aws, service: Mapping) -> list[dict]:
    cluster = service["clusterArn"]
    arns = aws.pages("ecs", "list_tasks", "taskArns", cluster=cluster, serviceName=service["serviceName"])
    parts = [arns[start : start + 100] for start in range(0, len(arns), 100)]
    ecs = aws.client("ecs")
    found = together(*(lambda p=p: ecs.describe_tasks(cluster=cluster, tasks=p)["tasks"] for p in parts))
    return sorted((task for part in found for task in part), key=lambda task: (task["createdAt"], task["taskArn"]))


def _limits(aws: Aws, ids: list[str]) -> dict[str, dict[str, int]]:
    """Those that have a scaler; 50 a call."""
    parts = [ids[start : start + 50] for start in range(0, len(ids), 50)]

    def ask(part: list[str]) -> list[dict]:
        return aws.pages(
            _SCALING, "describe_scalable_targets", "ScalableTargets", ServiceNamespace="ecs", ResourceIds=part
        )

    return {
        target["ResourceId"]: {"min": target["MinCapacity"], "max": target["MaxCapacity"]}
        for found in together(*(lambda part=part: ask(part) for part in parts))
        for target in found
        if target["ScalableDimension"] == "ecs:service:DesiredCount"
    }


def _alarms(aws: Aws, params: Mapping) -> list[dict]:
    """Those in ALARM. Not the ones of target tracking, whose names begin otherwise: to ring is their daily work."""
    if not params["alarm_name_prefix"]:
        return []
    arguments = {"AlarmNamePrefix": params["alarm_name_prefix"], "StateValue": "ALARM"}
    types = ["MetricAlarm", "CompositeAlarm"]
    pages = aws.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmTypes=types, **arguments)
    return [alarm for page in pages for kind in ("MetricAlarms", "CompositeAlarms") for alarm in page.get(kind, [])]


# ---- output ----


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    status: dict[str, Any] = {
        "cluster": params["cluster"],
        "services": [_service(params, current, name) for name in current["services"]],
        "alarms": [
            {"name": alarm["AlarmName"], "reason": alarm.get("StateReason", ""), "since": _clock(alarm, "StateUpdated")}
            for alarm in current["alarms"]
        ],
    }
    return {**status, "lines": lines(status)}


def _clock(item: Mapping, name: str) -> str | None:
    """A time of day in UTC; ``name`` is the field, with or without Timestamp."""
    moment = item.get(name) or item.get(f"{name}Timestamp")
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _service(params: Mapping, current: Mapping, name: str) -> dict[str, Any]:
    service, definitions = current["services"][name], current["definitions"]
    return {
        "name": name,
        "service": service["serviceName"],
        "status": service["status"],
        "running": service["runningCount"],
        "desired": service["desiredCount"],
        "pending": service["pendingCount"],
        "scaler": current["limits"].get(name),
        "deployments": [
            {
                "id": item["id"],
                "status": item["status"],
                "state": item.get("rolloutState"),
                "reason": item.get("rolloutStateReason", ""),
                "task_definition": short(item["taskDefinition"]),
                "image": ecs_verbs.image(definitions[item["taskDefinition"]]),
                "running": item["runningCount"],
                "desired": item["desiredCount"],
                "failed": item.get("failedTasks", 0),
                "since": _clock(item, "createdAt"),
            }
            for item in service["deployments"]
        ],
        "tasks": [_task(task, definitions[task["taskDefinitionArn"]]) for task in current["tasks"][name]],
        "events": [
            {"at": _clock(event, "createdAt"), "message": event["message"]}
            for event in service.get("events", [])[: params["events"]]
        ],
    }


def _task(task: Mapping, definition: Mapping) -> dict[str, Any]:
    return {
        "id": short(task["taskArn"]),
        "task_definition": short(task["taskDefinitionArn"]),
        "container": definition["containerDefinitions"][0]["name"],
        "image": ecs_verbs.image(definition),
        "status": task["lastStatus"],
        "health": task.get("healthStatus", "UNKNOWN"),
        "zone": task.get("availabilityZone"),
        "since": _clock(task, "startedAt") or _clock(task, "createdAt"),
        "enable_execute_command": task.get("enableExecuteCommand", False),
    }


def lines(status: Mapping) -> list[str]:
    """The same for people. Pure."""
    found = []
    for service in status["services"]:
        found += [*_service_lines(service), ""]
    found += [f"ALARM {alarm['name']} since {alarm['since']}: {alarm['reason']}" for alarm in status["alarms"]]
    return found if found else [f"There is no service in {status['cluster']}."]


def _service_lines(service: Mapping) -> list[str]:
    scaler, pending = service["scaler"], service["pending"]
    found = [
        f"{service['name']}: {service['running']} of {service['desired']} running"
        + (f", {pending} pending" if pending else "")
        + (f"; scaler {scaler['min']} to {scaler['max']}" if scaler else "; no scaler")
        + ("" if service["status"] == "ACTIVE" else f"; the service is {service['status']}")
    ]
    for item in service["deployments"]:
        failed = f", {item['failed']} tasks failed" if item["failed"] else ""
        found.append(
            f"  deployment {item['task_definition']} ({item['image']}) {item['state'] or item['status']} since "
            f"{item['since']}: {item['running']} of {item['desired']} running{failed}"
        )
        if item["state"] != "COMPLETED" and item["reason"]:
            found.append(f"    {item['reason']}")
    found += [
        f"  task {task['id']} {task['task_definition']} {task['status']} {task['health']} {task['zone']} "
        f"since {task['since']}"
        for task in service["tasks"]
    ]
    return found + [f"  {event['at']} {event['message']}" for event in service["events"]]
