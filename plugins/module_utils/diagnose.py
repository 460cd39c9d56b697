# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with the stack: reads all that AWS and the API tell of it, and lets ``diagnosis`` make sense of it.

A read that fails is part of the answer, not its end: with half of the facts there is still something to say.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

try:
    import botocore.retries.standard
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    BotoCoreError = ClientError = ()

from ansible.module_utils.urls import open_url
from ansible_collections.nexus_learn.aws.plugins.module_utils import diagnosis, ecs_rollout
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, explain, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.elbv2_load_balancer import address

ABSENT = {
    "ClusterNotFoundException",
    "ReplicationGroupNotFoundFault",
    "CacheClusterNotFound",
    "ResourceNotFoundException",
    "InvalidGroup.NotFound",
}
DENIED = ("AccessDenied", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized")
METRICS = {"DatabaseMemoryUsagePercentage": "Maximum", "Evictions": "Sum"}
METRIC_MINUTES, EVENT_MINUTES = 15, 24 * 60
# Tasks of each service whose logs are read: what Celery says of Redis, it says in all of them.
FAILED_LOGS, RUNNING_LOGS = 2, 2
INSIDE = "/api/ai/diagnosis/"  # worker/config/diagnosis.py
PATIENCE = 25  # seconds for it to answer: workers that hang are waited for


class Facts(dict):
    """What was read, by name; ``None`` is what could not be read, and ``problems`` says why."""

    def __init__(self, aws: Aws):
        super().__init__(now=time.time(), problems=[])
        self.aws = aws

    def read(self, what: str, call: Callable[[], Any], absent: Any = None) -> Any:
        """The answer in plain types, ``absent`` where there is no such thing, or None."""
        try:
            return plain(call())
        except (ClientError, BotoCoreError) as error:
            code = error_code(error)
            if code in ABSENT:
                return absent
            throttled = code in botocore.retries.standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES
            kind = "throttled" if throttled else "denied" if code.startswith(DENIED) else "failed"
            self["problems"].append({"read": what, "kind": kind, "message": explain(error)})
            return None

    def all(self, calls: Mapping[Any, Callable[[], Any]], what: str, absent: Any = None) -> dict[Any, Any]:
        """Answers by key, made at once, without those that could not be had."""
        keys = list(calls)
        answers = together(*(lambda key=key: self.read(what, calls[key], absent) for key in keys))
        return {key: answer for key, answer in zip(keys, answers, strict=True) if answer is not None}


def plain(value: Any) -> Any:
    """Without AWS's times, which become seconds since 1970, and without what says how the answer came."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if key != "ResponseMetadata"}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.timestamp() if isinstance(value, datetime) else value


def describe(aws: Aws, params: Mapping) -> dict[str, Any]:
    facts = Facts(aws)
    together(lambda: _ecs(facts, params), lambda: _redis(facts, params), lambda: _alarms(facts, params))
    together(
        lambda: _around_services(facts, params),
        lambda: _security_groups(facts),
        lambda: _inside(facts),
    )
    return facts


# ECS


def _ecs(facts: Facts, params: Mapping) -> None:
    aws, cluster = facts.aws, params["cluster"]

    def services() -> dict[str, dict]:
        arns = aws.pages("ecs", "list_services", "serviceArns", cluster=cluster)
        names = sorted({*(arn.rsplit("/", 1)[-1] for arn in arns), *params["services"]})
        return ecs_rollout.read_services(aws, cluster, names)

    facts["services"], facts["tasks"] = together(
        lambda: facts.read("ecs services", services, {}),
        lambda: facts.read("ecs tasks", lambda: ecs_rollout.read_tasks(aws, cluster), []),
    )


def _around_services(facts: Facts, params: Mapping) -> None:
    """What services and their tasks refer to."""
    aws, services = facts.aws, facts["services"] or {}
    tasks = facts["tasks"] or []
    spoken = list(_of_interest(services, tasks))
    arns = {item["taskDefinition"] for service in services.values() for item in service["deployments"]}
    arns |= {task["taskDefinitionArn"] for task in tasks}
    ecs, elbv2, scaling = aws.client("ecs"), aws.client("elbv2"), aws.client("application-autoscaling")
    groups = {one["targetGroupArn"] for one in _balanced(services)}
    resources = {name: f"service/{params['cluster']}/{name}" for name in services}

    def history(name: str) -> list[dict]:
        answer = ecs.list_service_deployments(cluster=params["cluster"], service=name)
        return answer["serviceDeployments"]

    def activities(name: str) -> list[dict]:
        answer = scaling.describe_scaling_activities(ServiceNamespace="ecs", ResourceId=resources[name])
        return answer["ScalingActivities"]

    def targets() -> list[dict]:
        ids = list(resources.values())
        parts = [ids[start : start + 50] for start in range(0, len(ids), 50)]  # so many a call
        ask = partial(aws.pages, "application-autoscaling", "describe_scalable_targets", "ScalableTargets",
                      ServiceNamespace="ecs")  # fmt: skip
        return [target for found in together(*(partial(ask, ResourceIds=part) for part in parts)) for target in found]

    def definition(arn: str) -> dict:
        return ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]

    def health(arn: str) -> list[dict]:
        return elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]

    (
        facts["definitions"],
        facts["deployments"],
        facts["activities"],
        facts["target_health"],
        facts["scalable_targets"],
        logs,
    ) = together(
        lambda: facts.all({a: lambda a=a: definition(a) for a in arns}, "ecs task definitions"),
        lambda: facts.all({n: lambda n=n: history(n) for n in services}, "ecs service deployments"),
        lambda: facts.all({n: lambda n=n: activities(n) for n in services}, "application-autoscaling activities"),
        lambda: facts.all({g: lambda g=g: health(g) for g in groups}, "elbv2 target health"),
        lambda: facts.read("application-autoscaling targets", targets),
        lambda: facts.all(
            {t["taskArn"]: lambda t=t: ecs_rollout.log_lines(aws, t) for t in spoken}, "logs of tasks", absent=[]
        ),
    )
    # a heading for each container, and its lines indented
    facts["logs"] = {arn: [line.strip() for line in lines if line.startswith(" ")] for arn, lines in logs.items()}
    containers = [one for found in facts["definitions"].values() for one in found["containerDefinitions"]]
    facts["log_groups"], facts["secrets"] = together(
        lambda: _log_groups(facts, containers), lambda: _secrets(facts, containers)
    )


def _of_interest(services: Iterable[str], tasks: Sequence[Mapping]) -> Iterable[Mapping]:
    """Tasks that may say what is wrong: the last that failed, and the last that run."""
    for name in services:
        own = [task for task in tasks if task.get("group") == f"service:{name}"]
        own.sort(key=lambda task: task.get("stoppedAt") or task["createdAt"], reverse=True)
        failed = [task for task in own if diagnosis.has_failed(task)]
        running = [task for task in own if task["desiredStatus"] == "RUNNING"]
        yield from failed[:FAILED_LOGS]
        yield from sorted(running, key=lambda task: task.get("healthStatus") == "HEALTHY")[:RUNNING_LOGS]


def _log_groups(facts: Facts, containers: Iterable[Mapping]) -> dict[str, bool]:
    """Whether each is there."""
    names = {diagnosis.log_group(one) for one in containers} - {""}

    def there(name: str) -> bool:
        found = facts.aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=name)
        return name in [group["logGroupName"] for group in found]

    return facts.all({name: lambda name=name: there(name) for name in names}, "log groups")


def _secrets(facts: Facts, containers: Iterable[Mapping]) -> dict[str, Any]:
    """By ARN. Of their values only the names of the keys leave this function, and where a URL leads."""
    manager = facts.aws.client("secretsmanager")
    arns = {arn for one in containers for arn, _ in diagnosis.secrets_of(one).values()}

    def secret(arn: str) -> dict[str, Any]:
        found = manager.describe_secret(SecretId=arn)
        return {"name": found["Name"], "deleted": "DeletedDate" in found}

    def content(arn: str) -> dict[str, Any]:
        try:
            value = json.loads(manager.get_secret_value(SecretId=arn)["SecretString"])
        except (ValueError, KeyError):
            value = {}
        keys = value if isinstance(value, dict) else {}
        return {"keys": sorted(keys), "url": diagnosis.where(keys.get("url"))}

    known = facts.all({a: lambda a=a: secret(a) for a in arns}, "secrets", absent={})
    there = [arn for arn, found in known.items() if found and not found["deleted"]]
    inner = facts.all({a: lambda a=a: content(a) for a in there}, "values of secrets", absent={"keys": [], "url": None})
    return {arn: {**found, **inner.get(arn, {})} for arn, found in known.items()}


# Redis


def _redis(facts: Facts, params: Mapping) -> None:
    aws, name = facts.aws, params["replication_group"]
    cache = aws.client("elasticache")
    groups = facts.read(
        "elasticache replication group",
        lambda: cache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"],
        [],
    )
    facts["redis"] = groups
    if not groups:
        return
    facts["redis"] = group = groups[0]
    sources = {("replication-group", name), *(("cache-cluster", member) for member in group["MemberClusters"])}

    def node(member: str) -> dict:
        return cache.describe_cache_clusters(CacheClusterId=member)["CacheClusters"][0]

    def events(kind: str, source: str) -> list[dict]:
        return aws.pages("elasticache", "describe_events", "Events", SourceType=kind, SourceIdentifier=source,
                         Duration=EVENT_MINUTES)  # fmt: skip

    nodes, found = together(
        lambda: facts.all({m: lambda m=m: node(m) for m in group["MemberClusters"]}, "elasticache nodes"),
        lambda: facts.all({s: lambda s=s: events(*s) for s in sources}, "elasticache events"),
    )
    group["nodes"] = nodes
    group["events"] = sorted((event for some in found.values() for event in some), key=lambda event: event["Date"])
    parameters = {node["CacheParameterGroup"]["CacheParameterGroupName"] for node in nodes.values()}
    subnets = {node["CacheSubnetGroupName"] for node in nodes.values() if node.get("CacheSubnetGroupName")}

    def changed(one: str) -> dict[str, str]:
        """What is not as in the family's default group."""
        items = aws.pages("elasticache", "describe_cache_parameters", "Parameters", CacheParameterGroupName=one,
                          Source="user")  # fmt: skip
        return {item["ParameterName"]: item.get("ParameterValue") for item in items}

    def vpc(one: str) -> str:
        return cache.describe_cache_subnet_groups(CacheSubnetGroupName=one)["CacheSubnetGroups"][0]["VpcId"]

    group["parameters"], group["vpcs"], group["metrics"] = together(
        lambda: facts.all({p: lambda p=p: changed(p) for p in parameters}, "elasticache parameters"),
        lambda: facts.all({s: lambda s=s: vpc(s) for s in subnets}, "elasticache subnet groups"),
        lambda: _metrics(facts, group["MemberClusters"]),
    )


def _metrics(facts: Facts, members: Sequence[str]) -> dict[str, float] | None:
    """The worst of the last minutes over all nodes; without those that have no data.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/CacheMetrics.Redis.html
    """
    wanted = [(name, stat, member) for name, stat in METRICS.items() for member in members]
    queries = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/ElastiCache",
                    "MetricName": name,
                    "Dimensions": [{"Name": "CacheClusterId", "Value": member}],
                },
                "Period": 60,
                "Stat": stat,
            },
        }
        for number, (name, stat, member) in enumerate(wanted)
    ]
    end = datetime.now(UTC)
    results = facts.read(
        "cloudwatch metrics",
        lambda: facts.aws.client("cloudwatch").get_metric_data(
            MetricDataQueries=queries, StartTime=end - timedelta(minutes=METRIC_MINUTES), EndTime=end
        )["MetricDataResults"],
    )
    worst: dict[str, float] = {}
    for result in results or []:
        name = wanted[int(result["Id"][1:])][0]
        worst[name] = max([*result["Values"], worst.get(name, 0.0)])
    return worst


# The rest


def _alarms(facts: Facts, params: Mapping) -> None:
    found = facts.read(
        "cloudwatch alarms",
        lambda: facts.aws.client("cloudwatch").describe_alarms(
            AlarmNamePrefix=params["alarm_prefix"], StateValue="ALARM", AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        ),
    )
    facts["alarms"] = None if found is None else [*found["MetricAlarms"], *found["CompositeAlarms"]]


def _security_groups(facts: Facts) -> None:
    services, redis = facts["services"] or {}, facts["redis"] or {}
    ids = {one for service in services.values() for one in diagnosis.groups_of(service)}
    ids |= {one for node in redis.get("nodes", {}).values() for one in diagnosis.groups_of_node(node)}

    def groups() -> list[dict]:
        return facts.aws.pages("ec2", "describe_security_groups", "SecurityGroups", GroupIds=sorted(ids))

    found = facts.read("ec2 security groups", groups, []) if ids else []
    facts["security_groups"] = None if found is None else {group["GroupId"]: group for group in found}


def _balanced(services: Mapping[str, Mapping]) -> list[Mapping]:
    return [one for service in services.values() for one in service.get("loadBalancers", []) if "targetGroupArn" in one]


def _inside(facts: Facts) -> None:
    """What the API tells of Redis and Celery, which nobody outside of the VPC can ask."""
    facts["inside"], facts["inside_unknown"] = None, "no service is behind a load balancer"
    elbv2 = facts.aws.client("elbv2")
    for one in _balanced(facts["services"] or {})[:1]:

        def url(arn: str = one["targetGroupArn"]) -> str | None:
            found = elbv2.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"][0]["LoadBalancerArns"]
            if not found:
                return None
            balancer, listeners = together(
                lambda: elbv2.describe_load_balancers(LoadBalancerArns=found[:1])["LoadBalancers"][0],
                lambda: facts.aws.pages("elbv2", "describe_listeners", "Listeners", LoadBalancerArn=found[0]),
            )
            return address(balancer["DNSName"], [(item["Protocol"], item["Port"]) for item in listeners])

        found = facts.read("elbv2 load balancer", url)
        facts["inside_unknown"] = "the address of the API's load balancer is not known"
        if found:
            facts["inside"], facts["inside_unknown"] = _ask(found + INSIDE)


def _ask(url: str) -> tuple[dict | None, str]:
    # a certificate is for the API's own name, and the load balancer is asked by its address
    try:
        with open_url(url, timeout=PATIENCE, validate_certs=False, use_proxy=True) as answer:
            return json.loads(answer.read()), ""
    except HTTPError as error:
        return None, f"{url} answers with status {error.code}"
    except (OSError, ValueError) as error:
        return None, f"{urlsplit(url).netloc} does not answer: {error}"


# The engine's functions


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    facts = {
        **current,
        "expected": {key: params[key] for key in ("cluster", "services", "replication_group", "redis_port")},
    }
    facts["differences"] = params["differences"]
    found = diagnosis.findings(facts, diagnosis.Commands(params["inventory"], params["cluster"]))
    unknown = [f"Queues, consumers and beat's last runs: {current['inside_unknown']}"] if not current["inside"] else []
    for part, kind in ((current["inside"] or {}).get("errors") or {}).items():
        unknown.append(f"What the API tells of {part}: {kind}")
    if params["differences"] is None:
        unknown.append(f"Differences from the inventory: {params['differences_unknown'] or 'not asked for'}")
    return {"findings": found, "unknown": unknown, "healthy": not found, "facts": facts}
