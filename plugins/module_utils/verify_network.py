# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether tasks reach what they need: AWS's services from their subnets, and Redis from their security groups.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/networking-outbound.html
https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils import ec2_security_groups, elasticache_groups, vpc
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import is_unknown
from ansible_collections.nexus_learn.aws.plugins.module_utils.verify import (
    CREATED,
    FAILED,
    NOT_APPLICABLE,
    OK,
    UNKNOWN,
    Finding,
    Service,
    Stack,
    Step,
    distinct,
    known,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.verify_tasks import is_ecr

HTTPS = 443
# What is planned of these may change the way out of a subnet.
_WAYS = (vpc.SUBNET, vpc.ROUTES, vpc.NAT, vpc.ENDPOINT, vpc.GATEWAY)

# ---- the way out of the subnets ----


@dataclass(frozen=True)
class Facts:
    """What EC2 tells of a VPC."""

    subnets: Mapping[str, Mapping[str, Any]]
    tables: Sequence[Mapping[str, Any]]
    nats: Mapping[str, Mapping[str, Any]]
    endpoints: Sequence[Mapping[str, Any]]
    groups: Mapping[str, Mapping[str, Any]]


def ways_out(aws: Aws, stack: Stack) -> list[Finding]:
    """Before it runs, a task fetches its image and its secrets, and it writes its log, all through its own subnet."""
    step = stack.of("vpc")[0]
    resources = distinct(change["resource"] for change in step.result["changes"])
    pending = stack.pending("way out", "private subnets", *(one for one in resources if one.startswith(_WAYS)))
    if pending:
        return [pending]
    ids = distinct(subnet for service in stack.services for subnet in service.wanted["subnets"])
    facts = _read(aws, step.result["vpc"]["id"], known(ids))
    local = ".amazonaws.com" not in aws.client("ec2").meta.endpoint_url
    mend = (
        "Set network_nat_gateway or network_vpc_endpoints so that there is one, and run site.yml --tags network."
        if step.result["vpc"]["managed"]
        else "Have the network's owner open a way, or set network_private_subnet_ids to subnets that have one."
    )
    return [way_out_finding(service, needs_of(service, local), facts, aws.region, mend) for service in stack.services]


def _read(aws: Aws, vpc_id: str, subnets: Sequence[str]) -> Facts:
    inside = [{"Name": "vpc-id", "Values": [vpc_id]}]
    subnet_list, tables, nats, endpoints = together(
        lambda: aws.pages("ec2", "describe_subnets", "Subnets", SubnetIds=list(subnets)),
        lambda: aws.pages("ec2", "describe_route_tables", "RouteTables", Filters=inside),
        lambda: aws.pages("ec2", "describe_nat_gateways", "NatGateways", Filters=inside),
        lambda: aws.pages("ec2", "describe_vpc_endpoints", "VpcEndpoints", Filters=inside),
    )
    ids = distinct(group["GroupId"] for endpoint in endpoints for group in endpoint.get("Groups", []))
    groups = aws.pages("ec2", "describe_security_groups", "SecurityGroups", GroupIds=ids) if ids else []
    return Facts(
        {subnet["SubnetId"]: subnet for subnet in subnet_list},
        tables,
        {nat["NatGatewayId"]: nat for nat in nats},
        endpoints,
        {group["GroupId"]: group for group in groups},
    )


def needs_of(service: Service, local: bool) -> list[str]:
    """What of AWS a service's tasks call before they run, by the name of its endpoint; ``*`` is any other host."""
    images = [container["image"] for container in service.containers.values()]
    needed = ["ecr.api", "ecr.dkr", "s3"] if any(map(is_ecr, images)) else []
    if not local and not all(map(is_ecr, images)):
        needed.append("*")
    if any(container["secrets"] for container in service.containers.values()):
        needed.append("secretsmanager")
    return [*needed, "logs"]


def way_out_finding(service: Service, needs: Sequence[str], facts: Facts, region: str, mend: str) -> Finding:
    """Pure."""
    told, unsure = [], []
    groups = service.wanted["security_groups"] or []
    for subnet in service.wanted["subnets"]:
        good, text = default_route(subnet, facts, bool(service.wanted["assign_public_ip"]))
        if good is None:
            unsure.append(f"{subnet} {text}")
        elif not good:
            missing = [name for name in needs if not _endpoint(name, subnet, groups, facts, region)]
            if missing:
                names = ", ".join("the image's registry" if name == "*" else name for name in missing)
                evidence = f"{subnet} {text}, and has no VPC endpoint that tasks reach for {names}."
                return Finding("way out", service.name, FAILED, evidence, mend)
            told.append(f"{subnet} has endpoints for {', '.join(needs)}")
        else:
            told.append(f"{subnet} {text}")
    if unsure:
        evidence = f"{', '.join(unsure)}, where this does not look further."
        return Finding("way out", service.name, UNKNOWN, evidence)
    return Finding("way out", service.name, OK, f"{', '.join(told)}.")


def default_route(subnet: str, facts: Facts, public_ip: bool) -> tuple[bool | None, str]:
    """Whether the subnet's default route leads to the internet (None: it may), and where it leads. Pure."""
    table = _table_of(subnet, facts)
    routes = table.get("Routes", [])
    route = next((one for one in routes if one.get("DestinationCidrBlock") == vpc.INTERNET), None)
    if route is None:
        return False, "has no default route"
    if route.get("State") == "blackhole":
        return False, f"has a default route that leads nowhere ({table['RouteTableId']})"
    nat, gateway = route.get("NatGatewayId"), route.get("GatewayId", "")
    if nat:
        state = facts.nats.get(nat, {}).get("State", "gone")
        return state == "available", f"goes by NAT gateway {nat}" + (
            "" if state == "available" else f", which is {state}"
        )
    if gateway.startswith("igw-"):
        return public_ip, f"goes by {gateway}" + ("" if public_ip else ", for which tasks would need public addresses")
    others = ("TransitGatewayId", "NetworkInterfaceId", "VpcPeeringConnectionId", "LocalGatewayId", "CarrierGatewayId")
    target = gateway or next((route[key] for key in others if route.get(key)), "another target")
    return None, f"goes by {target}"


def _table_of(subnet: str, facts: Facts) -> Mapping[str, Any]:
    """The route table of the subnet, or else the VPC's main one."""
    main: Mapping[str, Any] = {}
    for table in facts.tables:
        for association in table.get("Associations", []):
            if association.get("SubnetId") == subnet:
                return table
            if association.get("Main"):
                main = table
    return main


def _endpoint(name: str, subnet: str, groups: Sequence[str], facts: Facts, region: str) -> bool:
    for endpoint in facts.endpoints:
        if not endpoint["ServiceName"].endswith(f".{region}.{name}") or endpoint["State"].lower() != "available":
            continue
        if endpoint["VpcEndpointType"] == "Gateway":
            if _table_of(subnet, facts).get("RouteTableId") in endpoint.get("RouteTableIds", []):
                return True
        elif name != "s3" and endpoint.get("PrivateDnsEnabled"):  # ECR's layers need the gateway endpoint
            ids = [group["GroupId"] for group in endpoint.get("Groups", [])]
            cidr = facts.subnets.get(subnet, {}).get("CidrBlock", "")
            if any(_lets_in(facts.groups[one]["IpPermissions"], groups, cidr) for one in ids if one in facts.groups):
                return True
    return False


def _lets_in(permissions: Iterable[Mapping[str, Any]], groups: Sequence[str], cidr: str) -> bool:
    """Whether a security group lets HTTPS in from these groups or this subnet."""
    for rule, _, _ in ec2_security_groups.rules_of(list(permissions), {}):
        if _carries(rule, HTTPS) and (rule.peer in groups or _covers(rule, cidr)):
            return True
    return False


def _covers(rule: ec2_security_groups.Rule, cidr: str) -> bool:
    if rule.peer_list != "IpRanges" or not cidr:
        return False
    return ipaddress.ip_network(cidr).subnet_of(ipaddress.ip_network(rule.peer, strict=False))  # type: ignore[arg-type]


def _carries(rule: ec2_security_groups.Rule, port: int) -> bool:
    if rule.protocol == "-1":
        return True
    first, last = rule.from_port, rule.to_port
    return rule.protocol == "tcp" and first is not None and last is not None and first <= port <= last


# ---- security groups ----


def security_groups(aws: Aws, stack: Stack) -> Iterator[Finding]:
    """HTTPS out of each service's groups, and the way from them to Redis, as the rules will be."""
    step = stack.of("ec2_security_groups")[0]
    redis = next(iter(stack.of("elasticache_replication_group")), None)
    for service in stack.services:
        names = [_name_of(group, step) for group in service.wanted["security_groups"] or []]
        labels = [ec2_security_groups.resource(name) for name in names]
        yield stack.pending("egress", service.name, *labels, paths=["egress"]) or egress_finding(
            service.name, step.args, names
        )
        if redis is not None:
            targets = [_name_of(group, step) for group in redis.args["security_group_ids"] or []]
            both = [*labels, *map(ec2_security_groups.resource, targets)]
            found = redis_finding(service.name, step.args, names, targets, redis.args["port"])
            pending = stack.pending("way to Redis", service.name, *both, paths=["ingress", "egress"])
            yield found if found.status == FAILED else pending or found


def _name_of(group: str, step: Step) -> str:
    return next((name for name, one in step.result["security_groups"].items() if one["id"] == group), group)


def _rules(params: Mapping, names: Sequence[str], direction: str) -> list[ec2_security_groups.Rule]:
    return [
        rule
        for group in params["security_groups"]
        if group["name"] in names
        for rule, _ in ec2_security_groups.wanted_rules(params, group, direction).values()
    ]


def egress_finding(service: str, params: Mapping, names: Sequence[str]) -> Finding:
    """Pure."""
    rules = [rule for rule in _rules(params, names, "egress") if _carries(rule, HTTPS)]
    if rules:
        return Finding(
            "egress", service, OK, f"{', '.join(names)} lets HTTPS out to {', '.join(one.peer for one in rules)}."
        )
    mend = "Give the group egress on tcp 443 in roles/network/vars/main.yml."
    return Finding("egress", service, FAILED, f"{', '.join(names)} lets no HTTPS out.", mend)


def redis_finding(
    service: str, params: Mapping, names: Sequence[str], targets: Sequence[str], port: int | None
) -> Finding:
    """Pure. ``targets`` are the groups of Redis."""
    if port is None:
        return Finding("way to Redis", service, NOT_APPLICABLE, "site.yml does not set the port of Redis.")
    entering = [rule for rule in _rules(params, targets, "ingress") if _carries(rule, port) and rule.peer in names]
    leaving = [
        rule
        for rule in _rules(params, names, "egress")
        if _carries(rule, port) and (rule.peer in targets or rule.peer == vpc.INTERNET)
    ]
    if entering and leaving:
        return Finding("way to Redis", service, OK, f"{', '.join(targets)} lets {', '.join(names)} in on {port}.")
    closed = (
        f"{', '.join(targets)} does not let {', '.join(names)} in"
        if leaving
        else f"{', '.join(names)} lets nothing out"
    )
    mend = "Leave network_redis_port out of the inventory: it follows elasticache_port."
    return Finding("way to Redis", service, FAILED, f"{closed} on port {port}, where Redis listens.", mend)


# ---- Redis ----


def redis(aws: Aws, stack: Stack) -> Iterator[Finding]:
    """What the workers need of Redis: there, not in cluster mode (kombu has no support for it), evicting nothing."""
    for step in stack.of("elasticache_replication_group"):
        name, group = step.args["name"], step.result["replication_group"]
        resource = f"replication group {name}"
        created = [one for one in stack.planned(resource) if one["action"] in ("create", "replace")]
        if created or is_unknown(group["id"]):
            yield Finding("Redis", name, CREATED, "site.yml makes it.")
            continue
        cache = aws.client("elasticache")
        there = cache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]
        yield group_finding(name, there)
        access = ("transit_encryption", "auth_token", "user_group", "value")
        labels = [
            resource,
            *([f"secret {step.args['auth_token_secret']['name']}"] if step.args["auth_token_secret"] else []),
        ]
        tls = "TLS" if there.get("TransitEncryptionEnabled") else "no TLS"
        login = "a token" if there.get("AuthTokenEnabled") else "users" if there.get("UserGroupIds") else "no login"
        yield stack.pending("login to Redis", name, *labels, paths=access) or Finding(
            "login to Redis", name, OK, f"it asks for {tls} and {login}, and the URL in the secret has that."
        )
        parameters = group["parameter_group"]
        pending = stack.pending(
            "eviction",
            name,
            elasticache_groups.parameter_resource({"name": parameters}),
            paths=["parameters.maxmemory-policy"],
        ) or stack.pending("eviction", name, resource, paths=["parameter_group"])
        yield pending or eviction_finding(name, parameters, _policy(aws, parameters))


def group_finding(name: str, there: Mapping[str, Any]) -> Finding:
    """Pure."""
    if there.get("ClusterEnabled"):
        mend = "Make it anew without cluster mode."
        return Finding("Redis", name, FAILED, "cluster mode is on, which Celery cannot use.", mend)
    if there["Status"] not in ("available", "snapshotting"):
        mend = f"Wait for it: aws elasticache wait replication-group-available --replication-group-id {name}"
        return Finding("Redis", name, FAILED, f"it is {there['Status']}.", mend)
    return Finding("Redis", name, OK, f"it is {there['Status']}, cluster mode is off.")


def _policy(aws: Aws, group: str) -> str:
    found = aws.pages("elasticache", "describe_cache_parameters", "Parameters", CacheParameterGroupName=group)
    return next((one.get("ParameterValue", "") for one in found if one["ParameterName"] == "maxmemory-policy"), "")


def eviction_finding(name: str, group: str, policy: str) -> Finding:
    """Pure."""
    if policy == "noeviction":
        return Finding("eviction", name, OK, f"maxmemory-policy of {group} is noeviction.")
    evidence = (
        f"maxmemory-policy of {group} is {policy or 'not set'}, which throws queued tasks away when memory is full."
    )
    return Finding("eviction", name, FAILED, evidence, "Set maxmemory-policy: noeviction in elasticache_parameters.")
