# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what was read of a stack to what is wrong with it. Pure: facts in (``diagnose.describe``), findings out.

``RULES`` are in the order in which one thing explains another: what Redis cannot do, no worker can. A finding that is
but a symptom is put under the first one before it that concerns the same services. A rule says nothing where the facts
that it needs could not be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_rollout import primary, serving, short
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_service import resource as service_resource

MINUTE = 60.0
# Stopped tasks, scaling and beat are judged by what happened within this time.
RECENT = 30 * MINUTE
# A deployment that is still at work after this long is not merely slow.
SLOW_DEPLOYMENT = 15 * MINUTE
# So often within RECENT, tasks fail again and again although their service is steady in between.
OFTEN = 3
# So often within RECENT, the scaler takes workers away and brings them back.
STORM = 3
# Per cent of maxmemory: ElastiCache advises to act well before Redis refuses writes.
FULL = 95.0
# Seconds beyond the visibility timeout, or the time at which beat should have run: nobody will do it any more.
LATE = 60.0
# Until a worker has looked for such messages (unacked_restore_interval in worker/config/celery.py), and ended them.
SWEEP = 30.0

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
CANNOT_PULL = "CannotPull"
OUT_OF_MEMORY = "OutOfMemoryError"
NO_LOG_STREAM = "failed to create Cloudwatch log stream"
SECRETS_FAILED = "unable to pull secrets"
FAILED_CHECKS = "failed container health checks"
FAILED_ELB_CHECKS = "failed ELB health checks"
# What Redis and redis-py say to a wrong password: https://redis.io/docs/latest/commands/auth/
REFUSED = re.compile(r"WRONGPASS|NOAUTH|invalid username-password pair|AuthenticationError|invalid password", re.I)
# celery.worker.consumer: "consumer: Cannot connect to %s: %s.\n%s\n"; celery.beat says "beat: Connection error: %s."
DISCONNECTED = re.compile(
    r"Cannot connect to redis|beat: Connection error|ConnectionError|Error \d+ connecting to", re.I
)
# What they say when it is over: a healthy task's last words may be of an outage of yesterday.
CONNECTED = re.compile(r"Connected to redis|\bready\.$|Sending due task")
# celery.app.amqp.Queues.select and celery.bin.worker
WRONG_QUEUE = re.compile(r"queue '([^']+)' isn't defined|Trying to select queue subset")

# The inventory's variables for a service's memory; those of workers are the guide's.
MEMORY = {"backend": "ecs_backend_memory", "beat": "ecs_celery_beat_memory", "worker": "celery_memory"}
TAGS = {"backend": "ecs_backend", "beat": "ecs_celery_beat", "worker": "ecs_celery_worker"}

Facts = Mapping[str, Any]


@dataclass
class Finding:
    """``cause`` names the kind; ``affects`` the services that suffer; ``because_of`` the number of what explains it."""

    cause: str
    resource: str
    text: str
    evidence: str
    command: str
    affects: list[str] = field(default_factory=list)
    because_of: int | None = None
    number: int = 0


@dataclass(frozen=True)
class Commands:
    """What mends things, ready to be pasted; ``inventory`` is what ansible-playbook gets as -i."""

    inventory: str
    cluster: str

    def site(self, *arguments: str) -> str:
        return " ".join(["ansible-playbook site.yml -i", self.inventory, *arguments])

    def role(self, kind: str) -> str:
        """A run of the role that deploys services of a kind; of all where the kind is not known."""
        return self.site(*([f"--tags {TAGS[kind]}"] if kind else []))

    def variables(self, tags: str, **values: Any) -> str:
        """Such a run of site.yml; what is given with -e has to go into the inventory to last."""
        return self.site(f"--tags {tags}", f"-e '{json.dumps(values)}'")

    def diagnose(self, *arguments: str) -> str:
        return " ".join(["ansible-playbook playbooks/diagnose.yml -i", self.inventory, *arguments])

    def verb(self, verb: str, service: str, **values: Any) -> str:
        name = service.removeprefix(self.cluster.removesuffix("cluster")).removesuffix("-service")
        given = " ".join(f"-e {key}={value}" for key, value in {"service": name, **values}.items())
        return f"ansible-playbook playbooks/{verb}.yml -i {self.inventory} {given}"

    def restart(self, service: str) -> str:
        return self.verb("restart", service)


def findings(facts: Facts, commands: Commands) -> list[dict[str, Any]]:
    """All of them, the most fundamental first; each follows what it is because of."""
    found = [finding for rule in RULES for finding in rule(facts, commands)]
    parents = {id(finding): _parent(finding, found[:place], found) for place, finding in enumerate(found)}
    ordered: list[Finding] = []

    def add(finding: Finding) -> None:
        ordered.append(finding)
        finding.number = len(ordered)
        for child in found:
            if parents[id(child)] is finding:
                child.because_of = finding.number
                add(child)

    for finding in found:
        if parents[id(finding)] is None:
            add(finding)
    return [asdict(finding) for finding in ordered]


def _parent(finding: Finding, before: Sequence[Finding], everything: Sequence[Finding]) -> Finding | None:
    """What explains it."""
    if finding.cause in DRIFTS:
        return next((one for one in everything if one.cause not in DRIFTS and one.resource == finding.resource), None)
    if finding.cause == "secret_not_rolled_out":
        return next((one for one in before if one.resource.startswith("secret ")), None)
    if finding.cause not in SYMPTOMS:
        return None
    return next((one for one in before if set(one.affects) & set(finding.affects) or not one.affects), None)


# what facts are made of


def has_failed(task: Mapping) -> bool:
    """Whether it ended by itself, did not start, or was ended for its health; not on a deployment's or user's wish."""
    reason = task.get("stoppedReason", "")
    return task.get("stopCode") in ("TaskFailedToStart", "EssentialContainerExited") or (
        FAILED_CHECKS in reason or FAILED_ELB_CHECKS in reason
    )


def log_group(container: Mapping) -> str:
    options = (container.get("logConfiguration") or {}).get("options", {})
    return options.get("awslogs-group", "") if options.get("awslogs-create-group") != "true" else ""


def secrets_of(container: Mapping) -> dict[str, tuple[str, str]]:
    """``{variable: (ARN, JSON key)}`` of the secrets in Secrets Manager.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
    """
    found = {}
    for secret in container.get("secrets", []):
        parts = secret["valueFrom"].split(":")
        if parts[2:3] == ["secretsmanager"]:
            found[secret["name"]] = ":".join(parts[:7]), next(iter(parts[7:8]), "")
    return found


def where(url: Any) -> dict[str, Any] | None:
    """Where a Redis URL leads, without the password in it."""
    try:
        parts = urlsplit(url)
        return {"scheme": parts.scheme, "host": parts.hostname, "port": parts.port or 6379} if parts.hostname else None
    except (ValueError, AttributeError, TypeError):
        return None


def groups_of(service: Mapping) -> list[str]:
    return service.get("networkConfiguration", {}).get("awsvpcConfiguration", {}).get("securityGroups", [])


def groups_of_node(node: Mapping) -> list[str]:
    return [group["SecurityGroupId"] for group in node.get("SecurityGroups", [])]


def _services(facts: Facts) -> dict[str, Mapping]:
    return facts["services"] or {}


def _container(facts: Facts, arn: str) -> Mapping:
    """The first container of a revision, which is the application's."""
    definition = (facts.get("definitions") or {}).get(arn)
    return definition["containerDefinitions"][0] if definition else {}


def _of(facts: Facts, name: str) -> Mapping:
    """The container that a service is to run."""
    return _container(facts, primary(_services(facts)[name]).get("taskDefinition", ""))


def _kind(container: Mapping) -> str:
    """By its command, or the name that our roles give it, also where the command is another one."""
    command, name = container.get("command") or [], container.get("name", "")
    kinds = (kind for kind in ("worker", "beat") if kind in command or name.endswith(f"-{kind}"))
    return next(kinds, "backend" if container else "")


def _queues(container: Mapping) -> list[str]:
    """What a worker's command says it consumes; none for other commands."""
    found = re.search(r"(?:--queues[= ]|-Q ?)(\S+)", " ".join(container.get("command") or []))
    return found.group(1).split(",") if found and _kind(container) == "worker" else []


def _workers(facts: Facts) -> list[str]:
    return [name for name in _services(facts) if _kind(_of(facts, name)) == "worker"]


def _tasks(facts: Facts, name: str) -> list[Mapping]:
    return [task for task in facts["tasks"] or [] if task.get("group") == f"service:{name}"]


def _running(facts: Facts, name: str) -> list[Mapping]:
    return [task for task in _tasks(facts, name) if task["desiredStatus"] == "RUNNING"]


def _at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _events(service: Mapping, words: str, after: float) -> list[Mapping]:
    """The newest first, as ECS has them."""
    return [one for one in service.get("events", []) if words in one["message"] and one["createdAt"] > after]


def _log(facts: Facts, tasks: Iterable[Mapping]) -> list[tuple[Mapping, str]]:
    return [(task, line) for task in tasks for line in (facts.get("logs") or {}).get(task["taskArn"], [])]


def _still_says(facts: Facts, task: Mapping, pattern: re.Pattern) -> str | None:
    """The last line of a task that matches, unless it has said since that it is connected."""
    said = None
    for _, line in _log(facts, [task]):
        said = line if pattern.search(line) else None if CONNECTED.search(line) else said
    return said


def _last_line(facts: Facts, task: Mapping) -> str:
    """What it said last; a line that ends a traceback says more than those before it."""
    lines = [line for _, line in _log(facts, [task])]
    return f'; its last log line: "{lines[-1]}"' if lines else ""


def _account(facts: Facts, task: Mapping) -> str:
    """What became of a task, in ECS's words."""
    parts = [f"task {short(task['taskArn'])}: {task.get('stoppedReason') or task['lastStatus']}"]
    for container in task.get("containers", []):
        code = [f"exit code {container['exitCode']}"] if container.get("exitCode") is not None else []
        reason = [container["reason"]] if container.get("reason") not in (None, task.get("stoppedReason")) else []
        if code or reason:
            parts.append(f"container {container['name']}: {', '.join(code + reason)}")
    return "; ".join(parts) + _last_line(facts, task)


def _reasons(task: Mapping) -> str:
    return " ".join([task.get("stoppedReason", ""), *(one.get("reason") or "" for one in task.get("containers", []))])


def _newest_deployment(facts: Facts, name: str) -> Mapping:
    history = (facts.get("deployments") or {}).get(name) or []
    return max(history, key=lambda one: one["createdAt"], default={})


def _undone(facts: Facts, name: str) -> bool:
    """Whether the last deployment failed, and was rolled back if there was something to go back to."""
    newest = _newest_deployment(facts, name)
    return newest.get("status", "").startswith("ROLLBACK") or (
        newest.get("status") == "STOPPED" and primary(_services(facts)[name]).get("rolloutState") == "FAILED"
    )


def _failures(facts: Facts, name: str) -> list[Mapping]:
    """The failed tasks that matter by now, the newest first.

    Those since the service was last steady, those that fail again and again, and those of a deployment that was undone.
    """
    service = _services(facts)[name]
    current = {item["id"] for item in service["deployments"]}
    failed = [task for task in _tasks(facts, name) if has_failed(task) and task.get("stoppedAt")]
    failed.sort(key=lambda task: task["stoppedAt"], reverse=True)
    steady = _events(service, "has reached a steady state", 0)
    since = steady[0]["createdAt"] if steady else 0
    ours = [task for task in failed if task.get("startedBy") in current]
    recent = [task for task in ours if task["stoppedAt"] > facts["now"] - RECENT]
    if len(recent) >= OFTEN:
        return recent
    newest = _newest_deployment(facts, name)
    undone = [
        task
        for task in failed
        if _undone(facts, name)
        and task.get("startedBy") not in current
        and newest["createdAt"] <= task["createdAt"] <= newest.get("finishedAt", facts["now"])
    ]
    return [task for task in ours if task["stoppedAt"] > since] or undone


# the rules, the most fundamental first


def not_deployed(facts: Facts, commands: Commands) -> Iterator[Finding]:
    expected = facts["expected"]
    if facts["redis"] == []:
        name = expected["replication_group"]
        yield Finding(
            "redis_missing", f"replication group {name}", "There is no Redis",
            f"DescribeReplicationGroups knows no {name}", commands.site(),
        )  # fmt: skip
    if facts["services"] is None:
        return
    for name in expected["services"]:
        if name not in facts["services"]:
            yield Finding(
                "service_missing", service_resource(name), "The service is not there",
                f"cluster {expected['cluster']} has {', '.join(sorted(facts['services'])) or 'no services'}",
                commands.site(), [name],
            )  # fmt: skip


def redis_down(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """A node that ElastiCache began to recover and has not finished, or one in a state that it stays in.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/AutoFailover.html
    """
    group = facts["redis"]
    if not group:
        return
    name = group["ReplicationGroupId"]
    roles = {
        one["CacheClusterId"]: one.get("CurrentRole", "")
        for part in group.get("NodeGroups") or []
        for one in part.get("NodeGroupMembers", [])
    }
    down: dict[str, str] = {}
    for event in group["events"]:
        if event["Message"].startswith("Recovering cache nodes"):
            down.setdefault(event["SourceIdentifier"], f"{event['Message']} ({_at(event['Date'])})")
        elif event["Message"].startswith("Finished recovery"):
            down.pop(event["SourceIdentifier"], None)
    for member, node in group["nodes"].items():
        if node["CacheClusterStatus"].startswith(("incompatible", "restore-failed")):
            down[member] = node["CacheClusterStatus"]
    if group["Status"] in ("create-failed", "deleting"):
        down[name] = group["Status"]
    primaries = [member for member in down if roles.get(member) == "primary"]
    for member in primaries or sorted(down):
        failover = group.get("AutomaticFailover") == "enabled"
        others = [one for one in roles if one != member and one not in down]
        if primaries:
            why = "no replica took over: there is none that works" if failover else "automatic failover is off"
            text = f"The primary node {member} is lost, and {why}"
        else:
            text = f"{member} does not serve"
        command = (
            f"aws elasticache test-failover --replication-group-id {name} --node-group-id 0001"
            if primaries and failover and others
            else f"aws elasticache describe-events --source-type cache-cluster --source-identifier {member}"
        )
        yield Finding(
            "failover_failed" if primaries and failover else "redis_node_down", f"replication group {name}", text,
            f"ElastiCache: {member}: {down[member]}, and no end of it since; the group is {group['Status']}", command,
        )  # fmt: skip
        return


def security_group_closed(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """No rule lets a service's tasks in on Redis's port, or out to it."""
    group, known = facts["redis"], facts["security_groups"]
    if not group or not known:
        return
    doors = sorted({one for node in group["nodes"].values() for one in groups_of_node(node)} & set(known))
    port = facts["expected"]["redis_port"]
    if not doors:
        return
    shut: dict[str, list[str]] = {}
    for name, service in _services(facts).items():
        own = groups_of(service)
        if own and not any(_lets(rule, port, own) for door in doors for rule in known[door].get("IpPermissions", [])):
            shut.setdefault("in", []).append(name)
        elif own and not any(
            _lets(rule, port, doors) for one in own for rule in known.get(one, {}).get("IpPermissionsEgress", [])
        ):
            shut.setdefault("out", []).append(name)
    for way, names in shut.items():
        ids = doors if way == "in" else sorted({one for name in names for one in groups_of(_services(facts)[name])})
        described = ", ".join(f"{known[one]['GroupName']} ({one})" for one in ids if one in known)
        rules = [_rule(rule) for one in ids for rule in known.get(one, {}).get(
            "IpPermissions" if way == "in" else "IpPermissionsEgress", [])]  # fmt: skip
        yield Finding(
            "security_group_closed", f"security group {known[ids[0]]['GroupName'] if ids[0] in known else ids[0]}",
            f"Tasks of {', '.join(names)} are not let {way} to Redis's port {port}",
            f"{described} has {'; '.join(rules) or 'no rules'}", commands.site("--tags network"), names,
        )  # fmt: skip


def _lets(rule: Mapping, port: int, peers: Sequence[str]) -> bool:
    """Whether a rule covers the port for one of the groups. Addresses are taken to be the right ones."""
    if rule["IpProtocol"] not in ("tcp", "6", "-1"):
        return False
    if rule["IpProtocol"] != "-1" and not rule["FromPort"] <= port <= rule["ToPort"]:
        return False
    named = [pair["GroupId"] for pair in rule.get("UserIdGroupPairs", [])]
    return any(peer in named for peer in peers) or bool(
        rule.get("IpRanges") or rule.get("Ipv6Ranges") or rule.get("PrefixListIds")
    )


def _rule(rule: Mapping) -> str:
    peers = [pair["GroupId"] for pair in rule.get("UserIdGroupPairs", [])]
    peers += [one["CidrIp"] for one in rule.get("IpRanges", [])]
    protocol = "all" if rule["IpProtocol"] == "-1" else f"{rule['IpProtocol']} {rule['FromPort']}-{rule['ToPort']}"
    return f"{protocol} for {', '.join(peers) or 'nobody'}"


def another_vpc(facts: Facts, commands: Commands) -> Iterator[Finding]:
    group, known = facts["redis"], facts["security_groups"]
    vpcs = set(((group or {}).get("vpcs") or {}).values())
    theirs = {name: {known[one]["VpcId"] for one in groups_of(service) if one in (known or {})}
              for name, service in _services(facts).items()}  # fmt: skip
    apart = sorted(name for name, own in theirs.items() if vpcs and own and not vpcs & own)
    if apart:
        yield Finding(
            "another_vpc", f"replication group {group['ReplicationGroupId']}",
            f"Tasks of {', '.join(apart)} run in another VPC than Redis",
            f"Redis's subnet group is in {', '.join(vpcs)}, they are in "
            f"{', '.join(sorted({one for name in apart for one in theirs[name]}))}", commands.site(), apart,
        )  # fmt: skip


def secret_incomplete(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """A secret, or a key in it, that the next task will not get."""
    missing: dict[tuple[str, str], list[str]] = {}
    for name in _services(facts):
        for arn, key in secrets_of(_of(facts, name)).values():
            secret = (facts["secrets"] or {}).get(arn)
            if secret is None or (secret and not secret["deleted"] and "keys" not in secret):
                continue  # could not be read
            if not secret or secret["deleted"]:
                missing.setdefault((arn, ""), []).append(name)
            elif key and key not in secret["keys"]:
                missing.setdefault((arn, key), []).append(name)
    for (arn, key), names in missing.items():
        secret = facts["secrets"][arn]
        called = secret.get("name") or arn
        services = sorted(set(names))
        if key:
            keys = ", ".join(secret["keys"]) or "none"
            text, evidence = f"The secret lacks the key {key}, so no new task starts", f"its keys: {keys}"
        else:
            state = "is scheduled for deletion" if secret else "is not there"
            text, evidence = f"The secret {state}, so no new task starts", f"task definitions refer to {arn}"
        evidence += "".join(f"; {_account(facts, task)}" for name in services
                            for task in _failures(facts, name)[:1] if SECRETS_FAILED in _reasons(task))  # fmt: skip
        yield Finding("secret_incomplete", f"secret {called}", text, evidence, commands.site(), services)


def wrong_redis_url(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """The URL that tasks are given is not that of the Redis that there is."""
    group = facts["redis"]
    if not group:
        return
    parts = group.get("NodeGroups") or []
    there = {(one["Address"], one["Port"]) for part in parts for one in (part["PrimaryEndpoint"],)}
    for origin, (url, names, command) in _urls(facts, commands).items():
        tls = group["TransitEncryptionEnabled"]
        optional = group.get("TransitEncryptionMode") == "preferred"
        if url["scheme"] != ("rediss" if tls else "redis") and not (tls and optional):
            yield Finding(
                "tls_mismatch", origin,
                f"Tasks are told to speak {'plain Redis' if tls else 'TLS'}, and Redis "
                f"{'demands TLS' if tls else 'speaks none'}",
                f"the URL begins with {url['scheme']}://, and {group['ReplicationGroupId']} has transit encryption "
                f"{group.get('TransitEncryptionMode', 'enabled') if tls else 'disabled'}",
                command, names,
            )  # fmt: skip
        elif there and (url["host"], url["port"]) not in there:
            yield Finding(
                "wrong_redis_url", origin, "Tasks are sent to another address than Redis's",
                f"the URL leads to {url['host']}:{url['port']}, the primary endpoint is "
                + ", ".join(f"{host}:{port}" for host, port in there),
                command, names,
            )  # fmt: skip


def _urls(facts: Facts, commands: Commands) -> dict[str, tuple[Mapping, list[str], str]]:
    """Where the services' URLs stand -> (where they lead, services, what writes them anew)."""
    found: dict[str, tuple[Mapping, list[str], str]] = {}
    for name in _services(facts):
        container = _of(facts, name)
        plain = {one["name"]: one["value"] for one in container.get("environment", [])}
        for variable in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
            origin, url, command = "", None, ""
            if variable in secrets_of(container):
                secret = (facts["secrets"] or {}).get(secrets_of(container)[variable][0]) or {}
                origin, url = f"secret {secret.get('name')}", secret.get("url")
                command = commands.site()
            elif variable in plain:
                tag = TAGS[_kind(container)]
                origin, url = f"{service_resource(name)}", where(plain[variable])
                command = f"take {variable} out of {tag}_environment, then {commands.site('--tags ' + tag)}"
            if url:
                names = found.setdefault(origin, (url, [], command))[1]
                names += [name] if name not in names else []
    return found


def wrong_token(facts: Facts, commands: Commands) -> Iterator[Finding]:
    said: dict[str, str] = {}
    for name in _services(facts):
        for task in [*_running(facts, name), *_failures(facts, name)]:
            if line := _still_says(facts, task, REFUSED):
                said[name] = f'task {short(task["taskArn"])} of {name}: "{line}"'
        errors = ((facts["inside"] or {}).get("errors") or {}).values()
        if _kind(_of(facts, name)) == "backend" and "AuthenticationError" in errors:
            said.setdefault(name, f"{name} meets AuthenticationError")
    if said:
        secrets = {arn for name in said for arn, _ in secrets_of(_of(facts, name)).values()}
        called = next((facts["secrets"][arn]["name"] for arn in secrets if (facts["secrets"] or {}).get(arn)), None)
        group = facts["expected"]["replication_group"]
        yield Finding(
            "wrong_token", f"secret {called}" if called else f"replication group {group}",
            "Redis refuses the token that tasks are given", "; ".join(said.values()),
            # site.yml makes a new token where the secret has none, gives it to Redis, and deploys all services anew
            f"aws secretsmanager put-secret-value --secret-id {called} --secret-string '{{}}' && {commands.site()}",
            sorted(said),
        )  # fmt: skip


def log_group_missing(facts: Facts, commands: Commands) -> Iterator[Finding]:
    users: dict[str, list[str]] = {}
    for name in _services(facts):
        users.setdefault(log_group(_of(facts, name)), []).append(name)
    for group, names in sorted(users.items()):
        if group and (facts["log_groups"] or {}).get(group) is False:
            evidence = [_account(facts, task) for name in names for task in _failures(facts, name)[:1]
                        if NO_LOG_STREAM in _reasons(task)]  # fmt: skip
            yield Finding(
                "log_group_missing", f"log group {group}", "The log group is not there, so no new task starts",
                "; ".join([f"task definitions of {', '.join(names)} name it, DescribeLogGroups does not", *evidence]),
                commands.site("--tags observability"), names,
            )  # fmt: skip


def failing_tasks(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """Why tasks of a service do not start, or do not stay, as their own last words have it."""
    for name in _services(facts):
        failures = _failures(facts, name)
        if not failures:
            continue
        newest = failures[0]
        container = _container(facts, newest["taskDefinitionArn"])
        kind, reasons = _kind(container), _reasons(newest)
        evidence = (f"{len(failures)} tasks stopped; " if len(failures) > 1 else "") + _account(facts, newest)
        label = service_resource(name)
        wrong_queue = next((line for _, line in _log(facts, failures) if WRONG_QUEUE.search(line)), None)
        if CANNOT_PULL in reasons:
            yield Finding(
                "image_not_found", label, f"The image {container.get('image')} cannot be pulled", evidence,
                commands.site("-e app_image=<an image that is there>"), [name],
            )  # fmt: skip
        elif OUT_OF_MEMORY in reasons:
            memory = int(facts["definitions"][newest["taskDefinitionArn"]]["memory"]) if container else 0
            yield Finding(
                "out_of_memory", label, f"Tasks need more than the {memory} MiB that they have", evidence,
                commands.variables(TAGS[kind], **{MEMORY[kind]: 2 * memory}) if kind else commands.site(), [name],
            )  # fmt: skip
        elif wrong_queue:
            yield _wrong_queue(facts, commands, name, container, f'a task says: "{wrong_queue}"')
        elif NO_LOG_STREAM in reasons or (SECRETS_FAILED in reasons and "did not contain json key" in reasons):
            continue  # the two rules before this one
        elif SECRETS_FAILED in reasons:
            yield Finding(
                "secret_unreadable", label, "Tasks do not get their secrets", evidence, commands.role(kind),
                [name],
            )  # fmt: skip
        elif not _undone(facts, name) or newest.get("startedBy") in {
            item["id"] for item in _services(facts)[name]["deployments"]
        }:
            unwell = FAILED_CHECKS in reasons or FAILED_ELB_CHECKS in reasons
            yield Finding(
                "unhealthy" if unwell else "crash_loop", label,
                "Tasks run and do not pass their health checks" if unwell else "Tasks end soon after they have started",
                evidence, f"aws logs tail {log_group(container)} --since 30m; mend what it says, then "
                + commands.role(kind), [name],
            )  # fmt: skip


def _wrong_queue(facts: Facts, commands: Commands, name: str, container: Mapping, evidence: str) -> Finding:
    consumed = _queues(container)
    known = sorted((facts["inside"] or {}).get("queues") or [])
    wrong = [queue for queue in consumed if queue not in known] if known else consumed
    wanted = known or ["<the queues of task_queues>"]
    return Finding(
        "wrong_queue_name", service_resource(name),
        f"The workers are told to consume {', '.join(wrong)}, which the application does not have",
        f"{evidence}; the application's queues: {', '.join(known) or 'unknown'}",
        commands.variables("ecs_celery_worker", celery_queues=wanted), [name],
    )  # fmt: skip


def cannot_connect(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """Tasks that run, healthy or not (an outage is no reason to end them), and say that Redis does not answer."""
    for name in _services(facts):
        said = {task["taskArn"]: line for task in _running(facts, name)
                if (line := _still_says(facts, task, DISCONNECTED))}  # fmt: skip
        for arn, line in list(said.items())[:1]:
            yield Finding(
                "cannot_connect", service_resource(name), "Tasks do not reach Redis",
                f'task {short(arn)}: "{line}"', commands.site(), [name],
            )  # fmt: skip


def deployment_undone(facts: Facts, commands: Commands) -> Iterator[Finding]:
    for name, service in _services(facts).items():
        if not _undone(facts, name):
            continue
        newest = _newest_deployment(facts, name)
        tasks = [_account(facts, task) for task in _failures(facts, name)[:1]]
        differing = {change["resource"] for change in facts["differences"] or []}
        as_asked = facts["differences"] is not None and service_resource(name) not in differing
        evidence = [f"{newest['status']} since {_at(newest.get('updatedAt') or newest['createdAt'])}"]
        evidence += [newest["statusReason"]] if newest.get("statusReason") else []
        evidence += [f"serving now: {serving(service)}"]
        yield Finding(
            "deployment_undone", service_resource(name),
            "The last deployment was undone", "; ".join(evidence + tasks),
            "mend what the tasks say, then "
            + (commands.restart(name) if as_asked else commands.role(_kind(_of(facts, name)))), [name],
        )  # fmt: skip


def not_enough_tasks(facts: Facts, commands: Commands) -> Iterator[Finding]:
    for name, service in _services(facts).items():
        kind, desired = _kind(_of(facts, name)), service["desiredCount"]
        target = next((one for one in facts["scalable_targets"] or []
                       if one["ResourceId"].endswith(f"/{name}")), None)  # fmt: skip
        if desired == 0 and not (target and target["MinCapacity"] == 0):  # else the scaler may, for the night say
            least = target["MinCapacity"] if target else 1
            yield Finding(
                "beat_dead" if kind == "beat" else "scaled_to_zero", service_resource(name),
                "Nobody schedules the periodic tasks: beat is scaled to 0" if kind == "beat"
                else "The service is scaled to 0",
                f"desired count 0, running {service['runningCount']}",
                commands.verb("scale", name, count=least)
                if kind == "worker" else commands.role(kind), [name],
            )  # fmt: skip
        stuck = _events(service, "unable to", facts["now"] - RECENT)
        slow = facts["now"] - primary(service).get("createdAt", facts["now"]) > SLOW_DEPLOYMENT
        if service["runningCount"] < desired and (stuck or slow):
            yield Finding(
                "tasks_missing", service_resource(name),
                f"{service['runningCount']} of {desired} tasks run, and it does not get better",
                f'ECS: "{stuck[0]["message"]}"' if stuck
                else f"the deployment began {_at(primary(service)['createdAt'])}",
                commands.restart(name), [name],
            )  # fmt: skip


def redis_full(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """A Redis without room refuses what is new; only the eviction of tasks would be worse."""
    group, inside = facts["redis"], (facts["inside"] or {}).get("redis") or {}
    if not group:
        return
    used = {}
    if inside.get("maxmemory"):
        used[f"INFO: {inside['used_memory']} of {inside['maxmemory']} bytes"] = (
            100 * inside["used_memory"] / inside["maxmemory"]
        )
    if "DatabaseMemoryUsagePercentage" in (group["metrics"] or {}):
        percent = group["metrics"]["DatabaseMemoryUsagePercentage"]
        used[f"CloudWatch: DatabaseMemoryUsagePercentage {percent:.0f}"] = percent
    over = [text for text, percent in used.items() if percent >= FULL]
    if over:
        waiting = (facts["inside"] or {}).get("queues") or {}
        told = (
            [f"messages waiting: {', '.join(f'{name} {count}' for name, count in waiting.items())}"] if waiting else []
        )
        yield Finding(
            "redis_full", f"replication group {group['ReplicationGroupId']}",
            "Redis is full: it refuses new tasks and results", "; ".join([*over, *told]),
            commands.variables("elasticache", redis_node_type=_bigger(group.get("CacheNodeType", ""))),
        )  # fmt: skip


def _bigger(node_type: str) -> str:
    """The next size of the same family."""
    family, _, size = node_type.rpartition(".")
    sizes = ["micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge"]
    if size not in sizes[:-1] or (size == "medium" and ".t" in family):
        return "<a larger one>"
    return f"{family}.{sizes[sizes.index(size) + 1]}"


def redis_evicts(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """Celery's queues are keys like any other: evicted, their tasks are lost without a word.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/ParameterGroups.Redis.html (volatile-lru is the default)
    """
    for name, changed in ((facts["redis"] or {}).get("parameters") or {}).items():
        policy = changed.get("maxmemory-policy", "volatile-lru")
        if policy != "noeviction":
            evicted = ((facts["inside"] or {}).get("redis") or {}).get("evicted_keys")
            told = "" if evicted is None else f"; keys evicted so far: {evicted}"
            yield Finding(
                "redis_evicts", f"cache parameter group {name}", "Redis may throw tasks away when it is full",
                f"maxmemory-policy is {policy}, not noeviction{told}", commands.site("--tags elasticache"),
            )  # fmt: skip


def beat_doubled(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """Two beats send every periodic task twice."""
    running = [
        task
        for task in facts["tasks"] or []
        if task["desiredStatus"] == "RUNNING" and _kind(_container(facts, task["taskDefinitionArn"])) == "beat"
    ]
    if len(running) < 2:
        return
    services = [name for name in _services(facts) if _kind(_of(facts, name)) == "beat"]
    stray = [task for task in running if task.get("group") not in [f"service:{name}" for name in services]]
    mending = [f"aws ecs stop-task --cluster {commands.cluster} --task {short(task['taskArn'])}" for task in stray]
    if any(_services(facts)[name]["desiredCount"] > 1 for name in services):
        mending.append(commands.site("--tags ecs_celery_beat"))
    yield Finding(
        "beat_doubled", service_resource(services[0]) if services else f"cluster {commands.cluster}",
        f"{len(running)} beats run, and each sends every periodic task",
        ", ".join(f"task {short(task['taskArn'])} ({task.get('group') or 'no group'})" for task in running),
        " && ".join(mending) or commands.site("--tags ecs_celery_beat"), services,
    )  # fmt: skip


def beat_silent(facts: Facts, commands: Commands) -> Iterator[Finding]:
    services = [name for name in _services(facts) if _kind(_of(facts, name)) == "beat"]
    for entry, times in ((facts["inside"] or {}).get("beat") or {}).items():
        late = times["last_run"] is not None and times["last_run"] - times["interval"]
        if services and late and late > LATE:
            yield Finding(
                "beat_silent", service_resource(services[0]), f"beat does not send {entry}",
                f"it ran {times['last_run']:.0f} s ago, and is due every {times['interval']:.0f} s",
                commands.restart(services[0]), services,
            )  # fmt: skip


def no_consumer(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """A queue that tasks go to and nobody takes them from."""
    inside = facts["inside"] or {}
    known, consumers = inside.get("queues"), inside.get("consumers")
    if known is None or consumers is None or not all(_of(facts, name) for name in _services(facts)):
        return
    named = {name: _queues(_of(facts, name)) for name in _workers(facts)}
    for name, queues in named.items():
        if set(queues) - set(known) and not _failures(facts, name):
            yield _wrong_queue(facts, commands, name, _of(facts, name), f"its command has --queues={','.join(queues)}")
    for queue in sorted(known):
        if consumers.get(queue):
            continue
        by = [name for name, queues in named.items() if queue in queues]
        if by and not known[queue] and not any(_services(facts)[name]["desiredCount"] for name in by):
            continue  # there is nothing to do, and that nobody may is another rule's finding
        evidence = f"{known[queue]} messages wait in {queue}; "
        if by:
            yield Finding(
                "workers_silent", service_resource(by[0]), f"No worker answers that consumes the queue {queue}",
                evidence + f"{', '.join(by)} should consume it, and "
                f"{inside['workers']['answering']} of {inside['workers']['listening']} workers answer",
                " && ".join(commands.restart(name) for name in by), by,
            )  # fmt: skip
        else:
            told = "; ".join(f"{name} consumes {', '.join(queues)}" for name, queues in named.items())
            only = service_resource(next(iter(named))) if len(named) == 1 else f"queue {queue}"
            yield Finding(
                "no_consumer", only, f"No service consumes the queue {queue}",
                evidence + (told or "no worker service"),
                commands.variables("ecs_celery_worker", celery_queues=sorted(known)), sorted(named),
            )  # fmt: skip


def workers_hang(facts: Facts, commands: Commands) -> Iterator[Finding]:
    workers = (facts["inside"] or {}).get("workers") or {"listening": 0, "answering": 0}
    names = _workers(facts)
    if workers["answering"] < workers["listening"] and names:
        yield Finding(
            "workers_hang", service_resource(names[0]), "Workers are connected and do not answer",
            f"{workers['answering']} of {workers['listening']} answer celery inspect",
            " && ".join(commands.restart(name) for name in names), names,
        )  # fmt: skip


def messages_stuck(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """Messages that a worker took, and that neither it nor anybody else works on."""
    inside, names = facts["inside"] or {}, _workers(facts)
    unacked, limit = inside.get("unacked") or {}, inside.get("visibility_timeout", 0)
    overdue = unacked.get("oldest", 0) > limit + LATE
    if not unacked.get("lost") and not (unacked and overdue):
        return
    left = limit - unacked["oldest_lost"]
    if overdue:
        text = f"Messages are unacknowledged for longer than the visibility timeout of {limit:.0f} s, and stay so"
        command = " && ".join(commands.restart(name) for name in names)
    else:
        text = f"Messages were with workers that are gone; Redis gives them out again within {max(left, 0):.0f} s"
        command = f"sleep {max(left, 0) + SWEEP:.0f} && {commands.diagnose()}"
    yield Finding(
        "messages_stuck", "Redis key unacked", text,
        f"{unacked['messages']} messages unacknowledged, the oldest for {unacked['oldest']:.0f} s; "
        f"{unacked['lost']} of them with no worker", command, names,
    )  # fmt: skip


def scaling_storm(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """Workers come and go faster than tasks end: each scale-in hands tasks back, which then start anew."""
    for name, activities in (facts.get("activities") or {}).items():
        recent = [
            one for one in activities if one["StartTime"] > facts["now"] - RECENT and one["StatusCode"] != "Failed"
        ]
        recent.sort(key=lambda one: one["StartTime"])
        counts = [(int(found.group(1)), one) for one in recent
                  if (found := re.search(r"desired count to (\d+)", one["Description"]))]  # fmt: skip
        steps = [(after[0] - before[0], after[1]) for before, after in pairwise(counts)]
        ins = [one for step, one in steps if step < 0]
        if len(ins) >= STORM and any(step > 0 for step, _ in steps):
            yield Finding(
                "scaling_storm", service_resource(name),
                f"The scaler took workers away {len(ins)} times in {RECENT / MINUTE:.0f} minutes, and brings them back",
                f"desired counts {', '.join(str(count) for count, _ in counts)}; the last because: {ins[-1]['Cause']}",
                commands.variables("autoscaling", autoscaling_scale_in_cooldown=900), [name],
            )  # fmt: skip


def targets_unhealthy(facts: Facts, commands: Commands) -> Iterator[Finding]:
    for name, service in _services(facts).items():
        for balancer in service.get("loadBalancers", []):
            found = (facts.get("target_health") or {}).get(balancer.get("targetGroupArn"), [])
            bad = [one for one in found if one["TargetHealth"]["State"] == "unhealthy"]
            if bad:
                first = bad[0]["TargetHealth"]
                yield Finding(
                    "targets_unhealthy", service_resource(name),
                    f"{len(bad)} of {len(found)} tasks do not answer the load balancer",
                    f"{first.get('Reason', '')}: {first.get('Description', '')}",
                    f"aws logs tail {log_group(_of(facts, name))} --since 30m", [name],
                )  # fmt: skip


def alarms(facts: Facts, commands: Commands) -> Iterator[Finding]:
    for alarm in facts["alarms"] or []:
        yield Finding(
            "alarm", f"alarm {alarm['AlarmName']}", "The alarm rings", alarm.get("StateReason", ""),
            f"aws cloudwatch describe-alarm-history --alarm-name {alarm['AlarmName']}", sorted(_services(facts)),
        )  # fmt: skip


def differs_from_inventory(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """What site.yml would change: somebody has changed it by hand, or the inventory and not deployed it."""
    groups: dict[str, list[Mapping]] = {}
    for change in facts["differences"] or []:
        groups.setdefault(change["resource"], []).append(change)
    for resource, changes in groups.items():
        name = resource.removeprefix("service ")
        kind = _kind(_of(facts, name)) if name in _services(facts) else None
        paths = [change["path"] for change in changes]
        evidence = "; ".join(
            f"{change['path']}: {json.dumps(change['before'])} -> {json.dumps(change['after'])}"
            if change["path"] else f"to {change['action']}" for change in changes[:5]
        )  # fmt: skip
        evidence += f"; and {len(changes) - 5} more" if len(changes) > 5 else ""
        if kind and all(path.endswith("REDIS_SECRET_VERSION") or ".secret-version/" in path for path in paths):
            yield Finding(
                "secret_not_rolled_out", resource, "The newest version of its secret is not rolled out", evidence,
                commands.role(kind), [name],
            )  # fmt: skip
            continue
        revision = primary(_services(facts)[name])["taskDefinition"] if kind else ""
        drifted = kind and any(path.startswith("task_definition") for path in paths)
        yield Finding(
            "task_definition_drifted" if drifted else "drift", resource,
            f"It runs {short(revision)}, which is not what the inventory asks for" if drifted
            else "It is not as the inventory asks",
            evidence, commands.role(kind or ""), [name] if kind else [],
        )  # fmt: skip


def unread(facts: Facts, commands: Commands) -> Iterator[Finding]:
    """Last, for it explains nothing; alone, where nothing could be read."""
    kinds: dict[str, list[Mapping]] = {}
    for problem in facts["problems"]:
        kinds.setdefault(problem["kind"], []).append(problem)
    texts = {
        "throttled": ("aws_throttles", "AWS throttles the account's calls, so it is not known what they would tell",
                      commands.diagnose("-e diagnose_attempts=10")),
        "denied": ("not_allowed", "The deployer may not read everything",
                   f"ansible-playbook playbooks/deployer_policy.yml -i {commands.inventory} -e account_id=<account>, "
                   "and attach what it writes"),
        "failed": ("aws_fails", "AWS did not answer as it should", commands.diagnose()),
    }  # fmt: skip
    for kind, problems in kinds.items():
        cause, text, command = texts[kind]
        reads = sorted({problem["read"] for problem in problems})
        yield Finding(
            cause, "API calls: " + ", ".join(reads), text,
            f"{len(problems)} reads failed: {problems[0]['message']}", command, sorted(_services(facts)),
        )  # fmt: skip


RULES = (
    not_deployed,
    redis_down,
    security_group_closed,
    another_vpc,
    secret_incomplete,
    wrong_redis_url,
    wrong_token,
    redis_full,
    log_group_missing,
    failing_tasks,
    redis_evicts,
    cannot_connect,
    deployment_undone,
    not_enough_tasks,
    beat_doubled,
    beat_silent,
    no_consumer,
    workers_hang,
    messages_stuck,
    scaling_storm,
    targets_unhealthy,
    alarms,
    differs_from_inventory,
    unread,
)
DRIFTS = {"drift", "task_definition_drifted"}
SYMPTOMS = {
    "unhealthy",
    "crash_loop",
    "cannot_connect",
    "deployment_undone",
    "tasks_missing",
    "beat_silent",
    "no_consumer",
    "workers_silent",
    "workers_hang",
    "messages_stuck",
    "targets_unhealthy",
    "alarm",
}
