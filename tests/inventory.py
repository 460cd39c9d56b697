"""All that there is in a sandbox, in a form in which two stacks that were made alike are equal.

What AWS chooses (ids, addresses, ports, times, tokens) gives way to the name of the thing that has it, or to a word.
Nothing is counted away: a second VPC, address, revision or version of a secret is one entry more.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

# what moves by itself: tasks come and go, deployments end, health is checked
_RESTLESS = {
    "ResponseMetadata",
    "deployments",
    "currentServiceRevisions",
    "events",
    "runningCount",
    "pendingCount",
    "runningTasksCount",
    "pendingTasksCount",
    "activeServicesCount",
    "storedBytes",
    "creationTime",
    "lastIngestionTime",
    "LastAccessedDate",
    "RoleLastUsed",
    "registeredBy",
    "VersionId",
    "DnsEntries",
}
_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_IDS = re.compile(r"\b(?:[a-z]+-)+[0-9a-f]{8,17}\b")
_CHOSEN = (
    (re.compile(r"\b(AROA|AIDA|ANPA|AIPA)[A-Z0-9]{12,}\b"), "UNIQUE"),
    # load balancers, listeners, rules, target groups, scalable targets and service revisions end in such a part,
    # secrets in six characters
    (re.compile(r"(?<=/)[0-9a-f]{14,}\b"), "HEX"),
    (re.compile(r"(:secret:[\w/+=.@-]+)-[A-Za-z0-9]{6}\b"), r"\1-SUFFIX"),
    (re.compile(r"\b[A-Za-z0-9]{64}\b"), "TOKEN"),
    (re.compile(r"(?<!/)\b\d{1,3}(\.\d{1,3}){3}\b(?!/)"), "ADDRESS"),
    (re.compile(r"(?<=ADDRESS:)\d{4,5}\b"), "PORT"),
    (re.compile(r"\bip-[\d-]+\."), "ip-ADDRESS."),
)


def inventory(client: Callable[[str], Any]) -> dict[str, list[Any]]:
    """``{"ec2 Vpcs": [...], ...}`` of the region of ``client(service)``, each list sorted, without what is empty."""
    found: dict[str, list[Any]] = {}
    for kind, item in _everything(client):
        found.setdefault(kind, []).append(_plain(item))
    names = dict(_names(found))

    def label(match: re.Match) -> str:
        return f"<{names.get(match[0], match[0].rpartition('-')[0])}>"

    def normal(item: Any) -> Any:
        text = _IDS.sub(label, _UUID.sub("UUID", json.dumps(item, sort_keys=True)))
        for pattern, word in _CHOSEN:
            text = pattern.sub(word, text)
        return _in_order(json.loads(text))

    return {kind: sorted(map(normal, items), key=json.dumps) for kind, items in sorted(found.items())}


def differences(wanted: dict[str, list[Any]], there: dict[str, list[Any]]) -> list[str]:
    """What ``there`` has too much or lacks, one line each."""
    lines = []
    for kind in sorted({*wanted, *there}):
        before, after = ([json.dumps(item) for item in side.get(kind, [])] for side in (wanted, there))
        for item in after:
            if item in before:
                before.remove(item)
            else:
                lines.append(f"+ {kind}: {item}")
        lines += [f"- {kind}: {item}" for item in before]
    return lines


def _plain(value: Any) -> Any:
    """JSON, without what is restless and without times."""
    if isinstance(value, dict):
        kept = {key: _plain(item) for key, item in value.items() if key not in _RESTLESS}
        if str(kept.get("Address", "")).startswith("127."):
            kept["Port"] = "PORT"
        if str(kept.get("name", "")).endswith("_PORT") and "value" in kept:
            kept["value"] = "PORT"
        return kept
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.datetime):
        return "TIME"
    return value


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((_in_order(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


_OWN_ID = {
    "Vpcs": "VpcId",
    "Subnets": "SubnetId",
    "RouteTables": "RouteTableId",
    "InternetGateways": "InternetGatewayId",
    "NatGateways": "NatGatewayId",
    "Addresses": "AllocationId",
    "SecurityGroups": "GroupId",
    "VpcEndpoints": "VpcEndpointId",
}


def _names(found: dict[str, list[Any]]) -> Iterator[tuple[str, str]]:
    for kind, field in _OWN_ID.items():
        for item in found.get(f"ec2 {kind}", []):
            tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
            name = tags.get("Name") or item.get("GroupName")
            if name:
                yield item[field], f"{field} {name}"


def _pages(client: Any, operation: str, key: str, **arguments: Any) -> list[Any]:
    if not client.can_paginate(operation):
        return getattr(client, operation)(**arguments)[key]
    return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page.get(key, [])]


def _everything(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    for part in (_ec2, _iam, _ecs, _elasticache, _secrets, _elbv2, _scaling, _cloudwatch, _s3, _ecr):
        yield from part(client)


def _ec2(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    ec2 = client("ec2")
    for kind in ("vpcs", "subnets", "route_tables", "internet_gateways", "security_groups", "network_acls"):
        key = kind.title().replace("_", "")
        for item in _pages(ec2, f"describe_{kind}", key):
            if kind == "vpcs":
                for name in ("enableDnsSupport", "enableDnsHostnames"):
                    item |= ec2.describe_vpc_attribute(VpcId=item["VpcId"], Attribute=name)
            yield f"ec2 {key}", item
    for item in ec2.describe_addresses()["Addresses"]:
        yield "ec2 Addresses", item
    for item in _pages(ec2, "describe_flow_logs", "FlowLogs"):
        yield "ec2 FlowLogs", item
    gone = ("deleted", "deleting")
    for kind, key in (("nat_gateways", "NatGateways"), ("vpc_endpoints", "VpcEndpoints")):
        for item in _pages(ec2, f"describe_{kind}", key):
            if item["State"].lower() not in gone:
                yield f"ec2 {key}", item


def _iam(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    iam = client("iam")
    for role in _pages(iam, "list_roles", "Roles"):
        name = {"RoleName": role["RoleName"]}
        inline = [iam.get_role_policy(**name, PolicyName=policy)["PolicyDocument"]
                  for policy in _pages(iam, "list_role_policies", "PolicyNames", **name)]  # fmt: skip
        attached = _pages(iam, "list_attached_role_policies", "AttachedPolicies", **name)
        yield "iam Roles", {**iam.get_role(**name)["Role"], "inline": inline, "attached": attached}
    for policy in _pages(iam, "list_policies", "Policies", Scope="Local"):
        yield "iam Policies", policy


def _ecs(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    ecs = client("ecs")
    for arn in _pages(ecs, "list_clusters", "clusterArns"):
        for cluster in ecs.describe_clusters(clusters=[arn], include=["TAGS", "SETTINGS", "CONFIGURATIONS"])[
            "clusters"
        ]:
            yield "ecs clusters", cluster
        services = _pages(ecs, "list_services", "serviceArns", cluster=arn)
        for service in services:
            there = ecs.describe_services(cluster=arn, services=[service], include=["TAGS"])["services"]
            yield from (("ecs services", item) for item in there)
    for status in ("ACTIVE", "INACTIVE"):
        for arn in _pages(ecs, "list_task_definitions", "taskDefinitionArns", status=status):
            answer = ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"])
            yield "ecs taskDefinitions", {**answer["taskDefinition"], "tags": answer.get("tags", [])}


def _elasticache(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    cache = client("elasticache")
    for kind, key in (
        ("replication_groups", "ReplicationGroups"),
        ("cache_clusters", "CacheClusters"),
        ("cache_subnet_groups", "CacheSubnetGroups"),
        ("cache_parameter_groups", "CacheParameterGroups"),
        ("snapshots", "Snapshots"),
        ("users", "Users"),
        ("user_groups", "UserGroups"),
    ):
        with contextlib.suppress(ClientError):  # not everything is implemented
            for item in _pages(cache, f"describe_{kind}", key):
                name = item.get("CacheParameterGroupName", "")
                if name.startswith("default."):
                    continue
                if key == "CacheParameterGroups":
                    arguments = {"CacheParameterGroupName": name, "Source": "user"}
                    item["Parameters"] = _pages(cache, "describe_cache_parameters", "Parameters", **arguments)
                if "ARN" in item and item.get("Status", "available") == "available":
                    item["Tags"] = cache.list_tags_for_resource(ResourceName=item["ARN"])["TagList"]
                yield f"elasticache {key}", item


def _secrets(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    manager = client("secretsmanager")
    for secret in _pages(manager, "list_secrets", "SecretList", IncludePlannedDeletion=True):
        stages = sorted(map(sorted, secret.pop("SecretVersionsToStages", {}).values()))
        value = None
        if not secret.get("DeletedDate"):
            with contextlib.suppress(manager.exceptions.ResourceNotFoundException):
                value = manager.get_secret_value(SecretId=secret["ARN"])["SecretString"]
        yield "secrets", {**secret, "stages": stages, "value": value}


def _elbv2(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    elbv2 = client("elbv2")

    def tags(arn: str) -> list:
        return elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]

    for group in _pages(elbv2, "describe_target_groups", "TargetGroups"):
        arn = group["TargetGroupArn"]
        attributes = elbv2.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
        yield "elbv2 TargetGroups", {**group, "attributes": attributes, "tags": tags(arn)}
    for balancer in _pages(elbv2, "describe_load_balancers", "LoadBalancers"):
        arn = balancer["LoadBalancerArn"]
        attributes = elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
        yield "elbv2 LoadBalancers", {**balancer, "attributes": attributes, "tags": tags(arn)}
        for listener in _pages(elbv2, "describe_listeners", "Listeners", LoadBalancerArn=arn):
            rules = elbv2.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
            yield "elbv2 Listeners", {**listener, "rules": rules, "tags": tags(listener["ListenerArn"])}


def _scaling(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    scaling = client("application-autoscaling")
    for kind, key in (
        ("scalable_targets", "ScalableTargets"),
        ("scaling_policies", "ScalingPolicies"),
        ("scheduled_actions", "ScheduledActions"),
    ):
        for item in _pages(scaling, f"describe_{kind}", key, ServiceNamespace="ecs"):
            if "ScalableTargetARN" in item and key == "ScalableTargets":
                item["Tags"] = scaling.list_tags_for_resource(ResourceARN=item["ScalableTargetARN"])["Tags"]
            yield f"scaling {key}", item


def _cloudwatch(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    logs, cloudwatch = client("logs"), client("cloudwatch")
    for group in _pages(logs, "describe_log_groups", "logGroups"):
        arn = group["arn"].removesuffix(":*")
        filters = _pages(logs, "describe_metric_filters", "metricFilters", logGroupName=group["logGroupName"])
        yield "logGroups", {**group, "tags": logs.list_tags_for_resource(resourceArn=arn)["tags"], "filters": filters}
    for kind in ("MetricAlarms", "CompositeAlarms"):
        for alarm in _pages(cloudwatch, "describe_alarms", kind, AlarmTypes=["MetricAlarm", "CompositeAlarm"]):
            yield f"cloudwatch {kind}", {key: item for key, item in alarm.items() if not key.startswith("State")}
    for dashboard in _pages(cloudwatch, "list_dashboards", "DashboardEntries"):
        body = cloudwatch.get_dashboard(DashboardName=dashboard["DashboardName"])["DashboardBody"]
        yield "cloudwatch DashboardEntries", {"name": dashboard["DashboardName"], "body": json.loads(body)}


def _s3(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    s3 = client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        yield "s3 Buckets", {"Name": bucket["Name"]}


def _ecr(client: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    ecr = client("ecr")
    for repository in _pages(ecr, "describe_repositories", "repositories"):
        name, arn = repository["repositoryName"], repository["repositoryArn"]
        texts = {}
        for operation, key in (
            ("get_lifecycle_policy", "lifecyclePolicyText"),
            ("get_repository_policy", "policyText"),
        ):
            with contextlib.suppress(ClientError):  # there is none
                texts[key] = json.loads(getattr(ecr, operation)(repositoryName=name)[key])
        tags = ecr.list_tags_for_resource(resourceArn=arn)["tags"]
        images = _pages(ecr, "list_images", "imageIds", repositoryName=name)
        yield "ecr repositories", {**repository, **texts, "tags": tags, "images": images}
