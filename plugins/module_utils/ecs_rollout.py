# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Follow ECS deployments to their end, all services at once, and say why one failed.

A deployment that is rolled back ends in a service that is perfectly steady, so steadiness proves nothing: what is
followed is *the deployment that this run started*, by its id, until ECS calls it COMPLETED.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from typing import Any

try:
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    BotoCoreError = ClientError = ()

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together, wait_until
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Change, Failed, Say

BATCH = 10  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
PAUSE = 2.0  # seconds between two looks at most; ECS itself moves at about this pace
# Seconds in which DescribeServices may not show yet what CreateService or UpdateService has answered: ECS's API is
# eventually consistent (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html)
UNSEEN_SECONDS = 30
LOG_LINES = 10
LAST_LINES = "last log lines"

# verdicts of judge()
WAITING, DONE, FAILED, OVERTAKEN = "waiting", "done", "failed", "overtaken"


@dataclass(frozen=True)
class Rollout:
    """One deployment to follow. ``since`` is the time of the last service event before it, or empty."""

    service: str
    deployment: str
    task_definition: str
    since: str


def read_services(aws: Aws, cluster: str, names: Sequence[str], tags: bool = False) -> dict[str, dict]:
    """Services by name as DescribeServices gives them, INACTIVE ones left out; batched and concurrent."""
    include = {"include": ["TAGS"]} if tags else {}

    def batch(some: Sequence[str]) -> list[dict]:
        return aws.client("ecs").describe_services(cluster=cluster, services=list(some), **include)["services"]

    batches = together(*(lambda i=i: batch(names[i : i + BATCH]) for i in range(0, len(names), BATCH)))
    return {s["serviceName"]: s for found in batches for s in found if s["status"] != "INACTIVE"}


def read_tasks(aws: Aws, cluster: str, **whose: str) -> list[dict]:
    """Tasks as DescribeTasks gives them, those that have stopped within the last hour among them.

    ``whose`` is ListTasks's serviceName or family. (It takes startedBy only alone, and then tells of no stopped task:
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html.) The running ones are listed first,
    and only then the stopped ones: the other way round, or at once, a task that stops in between is in neither list.
    """
    arns = [
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in aws.pages("ecs", "list_tasks", "taskArns", cluster=cluster, desiredStatus=status, **whose)
    ]
    arns = list(dict.fromkeys(arns))

    def batch(some: Sequence[str]) -> list[dict]:
        return aws.client("ecs").describe_tasks(cluster=cluster, tasks=list(some))["tasks"]

    batches = together(*(lambda i=i: batch(arns[i : i + 100]) for i in range(0, len(arns), 100)))
    return [task for found in batches for task in found]


def started(service: Mapping, seen: Iterable[Mapping] = ()) -> Rollout:
    """The deployment that a CreateService or UpdateService answer shows, or that a described service is in."""
    deployment = primary(service)
    return Rollout(
        service["serviceName"], deployment["id"], deployment["taskDefinition"], max(map(_when, seen), default="")
    )


def _when(event: Mapping) -> str:
    return event["createdAt"].astimezone(UTC).isoformat(timespec="microseconds")


def unfinished(services: Iterable[Mapping]) -> list[Rollout]:
    """The deployments that described services are in the middle of."""
    return [
        started(service, service.get("events", []))
        for service in services
        if judge(service, primary(service).get("id", ""))[0] != DONE
    ]


def as_output(rollouts: Iterable[Rollout]) -> dict[str, dict[str, str]]:
    """By service, for another task to follow."""
    return {rollout.service: {k: v for k, v in asdict(rollout).items() if k != "service"} for rollout in rollouts}


def primary(service: Mapping) -> dict[str, Any]:
    return next((item for item in service.get("deployments", []) if item["status"] == "PRIMARY"), {})


def short(arn: str) -> str:
    """``family:revision`` of a task definition's ARN, the id of a task's."""
    return arn.rsplit("/", 1)[-1]


def judge(service: Mapping | None, deployment: str) -> tuple[str, str]:
    """Where the deployment stands: a verdict, and its reason in words. Pure."""
    if service is None or service["status"] != "ACTIVE":
        return FAILED, "the service was deleted meanwhile"
    first = primary(service)
    ours = next((item for item in service["deployments"] if item["id"] == deployment), None)
    reason = first.get("rolloutStateReason", "")
    if ours is not None and ours.get("rolloutState") == "FAILED":
        return FAILED, ours.get("rolloutStateReason", "")
    if ours is None or ours is not first:
        # A quick roll-back may be over at the first look; the service's events still tell.
        mark = f"{deployment}) deployment failed: "
        told = next((e["message"] for e in service.get("events", []) if mark in e["message"]), "")
        if told or "rolling back" in reason:
            return FAILED, told.partition(mark)[2] or reason
        return OVERTAKEN, f"deployment {first.get('id')} of {short(first.get('taskDefinition', ''))} took its place"
    # no rolloutState: behind a Classic Load Balancer, where a lone deployment is a finished one
    state = ours.get("rolloutState") or ("COMPLETED" if len(service["deployments"]) == 1 else "IN_PROGRESS")
    # the service's own count: somebody may have scaled it since the deployment began
    running, desired = service["runningCount"], service["desiredCount"]
    if state == "COMPLETED" and running >= desired:  # more of them while those too many end, or are protected
        return DONE, f"{running} of {desired} running"
    return WAITING, f"{ours['runningCount']} of {desired} of {short(ours['taskDefinition'])} running"


def shows(service: Mapping | None, deployment: str) -> bool:
    """Whether a described service knows of the deployment, be it in its events only. Pure."""
    service = service or {}
    ids = [item["id"] for item in service.get("deployments", [])]
    return deployment in ids or any(f"{deployment})" in event["message"] for event in service.get("events", []))


def serving(service: Mapping | None, but_not: str = "") -> str:
    """Which revisions have running tasks: ``worker:6 (2 of 2 tasks)``."""
    found = [
        f"{short(item['taskDefinition'])} ({item['runningCount']} of {item['desiredCount']} tasks)"
        for item in (service or {}).get("deployments", [])
        if item.get("runningCount") and item["id"] != but_not
    ]
    return ", ".join(found) or "nothing, no task is running"


def follow(aws: Aws, cluster: str, rollouts: Sequence[Rollout], *, timeout: float, say: Say) -> dict[str, str]:
    """Wait for all of them together. Returns an account of each that did not come true, by service.

    When ECS rolls one back, the roll-back is waited for too, so that the account tells what serves in the end.
    """
    if not rollouts:
        return {}
    begun = time.monotonic()
    deadline = begun + timeout
    followed = {rollout.service: rollout for rollout in rollouts}
    pending = dict(followed)
    told: set[str] = set()
    seen: set[str] = set()
    verdicts: dict[str, tuple[str, str]] = {}
    evidence: dict[str, list[str]] = {}
    latest: dict[str, dict | None] = {}

    def probe() -> tuple[bool, str]:
        found = read_services(aws, cluster, list(pending))
        for name, rollout in list(pending.items()):
            service = latest[name] = found.get(name)
            _tell(service, rollout.since, told, say)
            if name not in evidence:
                verdicts[name] = judge(service, rollout.deployment)
                if shows(service, rollout.deployment):
                    seen.add(name)
                elif name not in seen and time.monotonic() - begun < UNSEEN_SECONDS:
                    verdicts[name] = WAITING, f"deployment {rollout.deployment} is not to be seen yet"
                if verdicts[name][0] in (FAILED, OVERTAKEN):
                    evidence[name] = why(aws, cluster, rollout)
            rolling_back = primary(service or {})
            if verdicts[name][0] == DONE or (
                name in evidence
                and (rolling_back.get("id") == rollout.deployment or rolling_back.get("rolloutState") != "IN_PROGRESS")
            ):
                del pending[name]
        return not pending, ", ".join(
            f"{name} {verdict} ({text})" for name, (verdict, text) in sorted(verdicts.items())
        )

    try:
        wait_until(
            probe,
            timeout=deadline - time.monotonic(),
            pause=PAUSE,
            what=f"rollout in {cluster}",
            variable="wait_timeout",
            say=say,
        )
    except Failed:
        for name, rollout in pending.items():
            evidence.setdefault(name, why(aws, cluster, rollout))
    # A single failed task may end a deployment: what it wrote last arrives in CloudWatch Logs later than that is known.
    for name, lines in evidence.items():
        if not any(line.startswith(LAST_LINES) for line in lines):
            evidence[name] = why(aws, cluster, followed[name])
    return {
        name: _account(followed[name], verdicts[name], lines, latest[name], timeout) for name, lines in evidence.items()
    }


def _tell(service: Mapping | None, since: str, told: set[str], say: Say) -> None:
    for event in reversed((service or {}).get("events", [])):
        if event["id"] not in told and _when(event) > since:
            told.add(event["id"])
            say(event["message"])


def _account(
    rollout: Rollout, verdict: tuple[str, str], lines: Sequence[str], service: Mapping | None, timeout: float
) -> str:
    what = {
        WAITING: f"not finished after {timeout:.0f} s (wait_timeout)",
        FAILED: "failed",
        OVERTAKEN: "was overtaken",
    }[verdict[0]]
    version = short(rollout.task_definition)
    now = serving(service, rollout.deployment if verdict[0] == FAILED else "")
    head = f"service {rollout.service}: deployment {rollout.deployment} of {version} {what}: {verdict[1]}"
    return "\n".join([head, *(f"  {line}" for line in lines), f"  serving now: {now}"])


def why(aws: Aws, cluster: str, rollout: Rollout) -> list[str]:
    """What became of the deployment's tasks: stop reason, exit codes, health and last log lines of the newest one."""
    try:
        tasks = read_tasks(aws, cluster, serviceName=rollout.service)
        tasks = [task for task in tasks if task.get("startedBy") == rollout.deployment]
        stopped = [task for task in tasks if task["desiredStatus"] == "STOPPED"]
        alive = [task for task in tasks if task["desiredStatus"] != "STOPPED"]
        failed = sorted(
            (t for t in stopped if not _wanted_stop(t)), key=lambda t: str(t.get("stoppedAt")), reverse=True
        )
        unwell = [task for task in alive if task.get("healthStatus") == "UNHEALTHY" or task["lastStatus"] != "RUNNING"]
        lines = [f"{len(failed)} of its tasks stopped"] if len(failed) > 1 else []
        for task in [*failed, *unwell][:1]:
            lines += task_lines(task)
        # the newest task's lines may still be on their way to CloudWatch Logs
        for task in [*failed, *unwell][:3]:
            log = log_lines(aws, task)
            if log:
                return lines + log
        return lines
    except (BotoCoreError, ClientError) as error:
        return [f"(why could not be found out: {error})"]


def _wanted_stop(task: Mapping) -> bool:
    """ECS also stops healthy tasks of a deployment that it gives up."""
    return task.get("stoppedReason", "").startswith("Scaling activity initiated by")


def task_lines(task: Mapping) -> list[str]:
    state = f"stopped: {task['stoppedReason']}" if task.get("stoppedReason") else f"is {task['lastStatus']}"
    code = f" ({task['stopCode']})" if task.get("stopCode") else ""
    lines = [f"task {short(task['taskArn'])} {state}{code}"]
    for container in task.get("containers", []):
        facts = []
        if container.get("exitCode") is not None:
            facts.append(f"exit code {container['exitCode']}")
        if container.get("healthStatus", "UNKNOWN") != "UNKNOWN":
            facts.append(f"health {container['healthStatus']}")
        if container.get("reason"):
            facts.append(container["reason"])
        if facts:
            lines.append(f"container {container['name']}: {', '.join(facts)}")
    return lines


def log_lines(aws: Aws, task: Mapping) -> list[str]:
    """The last lines that the task's containers sent to CloudWatch Logs with the awslogs driver.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html (stream names)
    """
    definition = aws.client("ecs").describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
    lines = []
    for container in definition["containerDefinitions"]:
        config = container.get("logConfiguration", {})
        options = config.get("options", {})
        if config.get("logDriver") != "awslogs" or options.get("awslogs-region", aws.region) != aws.region:
            continue
        stream = f"{options.get('awslogs-stream-prefix', '')}/{container['name']}/{short(task['taskArn'])}"
        try:
            events = aws.client("logs").get_log_events(
                logGroupName=options["awslogs-group"], logStreamName=stream, limit=LOG_LINES, startFromHead=False
            )["events"]
        except aws.client("logs").exceptions.ResourceNotFoundException:
            continue  # the container never wrote a line
        if events:
            lines.append(f"{LAST_LINES} of {options['awslogs-group']} {stream}:")
            lines += [f"  {event['message'].rstrip()}" for event in events]
    return lines


# the aggregate of the module ecs_rollout, which follows what tasks before it have started


def describe(aws: Aws, params: Mapping) -> None:
    """What is to be followed is given."""


def plan(aws: Aws, params: Mapping, current: None) -> list[Change]:
    return []


def apply(aws: Aws, params: Mapping, current: None, changes: Sequence[Change], say: Say) -> None:
    """Nothing is changed."""


def settled(params: Mapping, current: None) -> bool:
    return not params["deployments"]


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    rollouts = [Rollout(name, **deployment) for name, deployment in params["deployments"].items()]
    failed = follow(aws, params["cluster"], rollouts, timeout=params["wait_timeout"], say=say)
    try:
        report(failed, len(rollouts), params["retry"])
    except Failed as error:
        error.undone = [f"service {name}" for name in sorted(failed)]
        raise
    for line in running(aws, params["cluster"], list(params["deployments"])):
        say(line)


def report(failed: Mapping[str, str], of: int, retry: str | None = None) -> None:
    """Raise for the services that failed, each with its account."""
    if failed:
        accounts = "\n".join(failed[name] for name in sorted(failed))
        raise Failed(
            f"{len(failed)} of {of} services did not come up as asked.\n{accounts}\n"
            "Mend the cause and run the same command again: it sees what is still to be done."
            + (f"\n  {retry}" if retry else "")
        )


def running(aws: Aws, cluster: str, names: Sequence[str]) -> list[str]:
    """What runs where, a line for each service: revision, image, tasks by zone."""
    ecs = aws.client("ecs")
    services = read_services(aws, cluster, names)

    def line(name: str) -> str:
        service = services[name]
        definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
        arns = aws.pages("ecs", "list_tasks", "taskArns", cluster=cluster, serviceName=name)
        tasks = ecs.describe_tasks(cluster=cluster, tasks=arns[:100])["tasks"] if arns else []
        zones = Counter(task.get("availabilityZone", "?") for task in tasks if task["lastStatus"] == "RUNNING")
        images = ", ".join(dict.fromkeys(item["image"] for item in definition["containerDefinitions"]))
        where = ", ".join(f"{count} in {zone}" for zone, count in sorted(zones.items()))
        counts = f"{service['runningCount']} of {service['desiredCount']} tasks running"
        return f"{name}: {short(service['taskDefinition'])} ({images}), {counts}{': ' + where if where else ''}"

    return together(*(lambda name=name: line(name) for name in names if name in services))


def resources(aws: Aws, params: Mapping, current: None) -> list[str]:
    """They are those of the tasks before."""
    return []


def output(aws: Aws, params: Mapping, current: None) -> dict[str, Any]:
    return {"followed": sorted(params["deployments"])}
