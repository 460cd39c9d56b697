# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the inventory may say. Pure: no AWS call, so that it runs before anything is touched.

Every message names the variable, its value and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible.module_utils.common.validation import (
    check_type_bool,
    check_type_dict,
    check_type_float,
    check_type_int,
    check_type_list,
    check_type_str,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.cloudwatch_log_groups import RETENTION_DAYS

_T = ("micro", "small", "medium")
_M = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
_M5 = ("large", "xlarge", "2xlarge", "4xlarge", "12xlarge", "24xlarge")
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/CacheNodes.SupportedTypes.html (current generation; not r6gd,
# which keeps part of the data on disk and has to be asked for by data tiering)
NODE_SIZES: dict[str, tuple[str, ...]] = {
    "t3": _T,
    "t4g": _T,
    "m5": _M5,
    "m6g": _M,
    "m7g": _M,
    "r5": _M5,
    "r6g": _M,
    "r7g": _M,
    "c7gn": _M,
}
NODE_TYPES = [f"cache.{family}.{size}" for family, sizes in NODE_SIZES.items() for size in sizes]

# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/engine-versions.html
ENGINE_VERSIONS = {"redis": ["7.1", "7.0", "6.2", "6.0"], "valkey": ["9.1", "9.0", "8.2", "8.1", "8.0", "7.2"]}

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
FARGATE_MEMORY: dict[int, list[int]] = {
    256: [512, 1024, 2048],
    512: [1024 * gib for gib in range(1, 5)],
    1024: [1024 * gib for gib in range(2, 9)],
    2048: [1024 * gib for gib in range(4, 17)],
    4096: [1024 * gib for gib in range(8, 31)],
    8192: [1024 * gib for gib in range(16, 61, 4)],
    16384: [1024 * gib for gib in range(32, 121, 8)],
}

_SERVICE = {
    "name": {"type": "str", "required": True},
    "queues": {"type": "list", "elements": "str", "required": True},
    "cpu": {"type": "int"},
    "memory": {"type": "int"},
    "concurrency": {"type": "int"},
    "desired_count": {"type": "int"},
    "min_count": {"type": "int"},
    "max_count": {"type": "int"},
}

SPEC: dict[str, dict[str, Any]] = {
    "project_name": {"type": "str", "required": True},
    "environment_name": {"type": "str", "required": True},
    "name_prefix": {"type": "str", "required": True},
    "aws_region": {"type": "str", "required": True},
    "app_image": {"type": "str", "required": True},
    "image_tag": {"type": "str"},
    "image_repository": {"type": "str", "default": ""},
    "image_builder": {"type": "str", "choices": ["auto", "docker", "podman", "buildah"], "default": "auto"},
    "image_scan_severity": {"type": "str", "choices": ["none", "LOW", "MEDIUM", "HIGH", "CRITICAL"], "default": "HIGH"},
    "redis_engine": {"type": "str", "choices": list(ENGINE_VERSIONS), "default": "redis"},
    "redis_node_type": {"type": "str", "required": True},
    "redis_num_nodes": {"type": "int", "required": True},
    "redis_version": {"type": "str", "required": True},
    "redis_automatic_failover_enabled": {"type": "bool", "required": True},
    "redis_multi_az_enabled": {"type": "bool", "required": True},
    "redis_snapshot_retention_limit": {"type": "int", "required": True},
    "celery_cpu": {"type": "int", "required": True},
    "celery_memory": {"type": "int", "required": True},
    "celery_desired_count": {"type": "int", "required": True},
    "celery_min_count": {"type": "int", "required": True},
    "celery_max_count": {"type": "int", "required": True},
    "celery_concurrency": {"type": "int", "required": True},
    "celery_queues": {"type": "list", "elements": "str", "required": True},
    "enable_celery_beat": {"type": "bool", "required": True},
    "deployment_lock_enabled": {"type": "bool", "default": True},
    "celery_services": {"type": "list", "elements": "dict", "options": _SERVICE},
    "adopt": {"type": "list", "elements": "str", "default": []},
    # inputs of roles that only make sense together with others
    "elasticache_transit_encryption_enabled": {"type": "bool", "default": True},
    "elasticache_auth_token_enabled": {"type": "bool", "default": True},
    "ecs_backend_cpu": {"type": "int"},
    "ecs_backend_memory": {"type": "int"},
    "ecs_celery_beat_cpu": {"type": "int"},
    "ecs_celery_beat_memory": {"type": "int"},
    "network_vpc_id": {"type": "str", "default": ""},
    "network_vpc_tags": {"type": "dict", "default": {}},
    "network_nat_gateway": {"type": "str", "choices": ["none", "single", "per_zone"], "default": "single"},
    "network_vpc_endpoints": {"type": "list", "elements": "str", "default": ["s3"]},
    "network_vpc_endpoint_policies": {"type": "dict", "default": {}},
    "network_flow_logs": {"type": "list", "elements": "dict"},
    # inputs of roles that AWS would refuse only when part of the stack is there
    "elasticache_parameters": {"type": "dict", "default": {"maxmemory-policy": "noeviction"}},
    "elasticache_snapshot_window": {"type": "str", "default": "03:00-04:00"},
    "elasticache_maintenance_window": {"type": "str", "default": "sun:04:30-sun:05:30"},
    "observability_log_retention_days": {"type": "int"},
    "ecr_repository_untagged_days": {"type": "int"},
    "ecr_repository_keep_images": {"type": "int"},
    "ecs_celery_worker_stop_timeout": {"type": "int"},
    "ecs_celery_worker_protect_after": {"type": "int"},
    "autoscaling_cpu_target": {"type": "float"},
    "autoscaling_memory_target": {"type": "float"},
    "autoscaling_scale_out_cooldown": {"type": "int"},
    "autoscaling_scale_in_cooldown": {"type": "int"},
}

Rule = Callable[[Mapping[str, Any]], Iterator[str]]


def errors(variables: Mapping[str, Any], regions: list[str]) -> list[str]:
    """Everything that is wrong with the inventory's ``variables``, a sentence each; empty when all is well.

    ``regions`` are the AWS regions that the SDK knows.
    """
    wrong: list[str] = []
    values = _typed(SPEC, variables, "", "; set it in the inventory's group_vars/all/main.yml", wrong)
    return wrong or [message for rule in (*RULES, _region(regions)) for message in rule(values)]


_TYPES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bool": (check_type_bool, "true or false"),
    "dict": (check_type_dict, "a mapping of names to values"),
    "float": (check_type_float, "a number"),
    "int": (check_type_int, "a whole number"),
    "list": (check_type_list, "a list"),
    "str": (check_type_str, "a text"),
}


def _typed(spec: Mapping, given: Mapping, where: str, hint: str, wrong: list[str]) -> dict[str, Any]:
    """``given`` in the types of ``spec``, defaults filled in; what cannot be is added to ``wrong``."""
    typed: dict[str, Any] = {}
    for name, option in spec.items():
        value = given.get(name)
        typed[name] = option.get("default") if value is None else _convert(where + name, option, value, wrong)
        if value is None and option.get("required"):
            wrong.append(f"{where}{name} is not set{hint}.")
    return typed


def _convert(name: str, option: Mapping, value: Any, wrong: list[str]) -> Any:
    convert, words = _TYPES[option["type"]]
    try:
        value = convert(value)
    except (TypeError, ValueError):
        wrong.append(f"{name} is {value}; allowed: {words}.")
        return value
    wrong += _one_of(name, value, option.get("choices", [value]))
    if option["type"] == "list":
        item = {"type": option["elements"], "options": option.get("options")}
        return [_convert(f"{name}[{n}]", item, each, wrong) for n, each in enumerate(value)]
    if option.get("options"):
        name = f"{name[: name.index('[')]}[{value['name']}]" if value.get("name") else name
        allowed = ", ".join(option["options"])
        wrong += [f"{name} has {key}; allowed: {allowed}." for key in value if key not in option["options"]]
        return _typed(option["options"], value, f"{name}.", "", wrong)
    return value


def _one_of(name: str, value: Any, allowed: list) -> Iterator[str]:
    if value not in allowed:
        yield f"{name} is {value}; allowed: {', '.join(map(str, allowed))}."


def _between(name: str, value: float, low: int, high: int) -> Iterator[str]:
    if not low <= value <= high:
        yield f"{name} is {value}; allowed: {low} to {high}."


def _names(values: Mapping) -> Iterator[str]:
    # The load balancer's name, <name_prefix>-alb, may have 32 characters; the others may have more.
    if not re.fullmatch(r"[a-z](?:-?[a-z0-9]){0,23}", values["name_prefix"]):
        yield (
            f"name_prefix is {values['name_prefix']}; allowed: up to 24 lower-case letters, digits and single hyphens, "
            "beginning with a letter."
        )


def _image(values: Mapping) -> Iterator[str]:
    # https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests (tags); digests: sha256
    tag = values["image_tag"]
    if tag is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|sha256:[0-9a-f]{64}", tag):
        yield (
            f"image_tag is {tag or 'empty'}; allowed: a tag of up to 128 letters, digits, underscores, dots and "
            "hyphens that begins with neither dot nor hyphen, or a digest, sha256: and 64 hexadecimal digits."
        )


def _repository(values: Mapping) -> Iterator[str]:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html"""
    name, part = values["image_repository"], r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    if name and not (2 <= len(name) <= 256 and re.fullmatch(f"{part}(?:/{part})*", name)):
        yield (
            f"image_repository is {name}; allowed: 2 to 256 lower-case letters, digits and, between them, . _ - and /; "
            "or an empty one, for none."
        )


def _region(regions: list[str]) -> Rule:
    def rule(values: Mapping) -> Iterator[str]:
        if values["aws_region"] not in regions:
            yield f"aws_region is {values['aws_region']}; allowed: {', '.join(sorted(regions))}."

    return rule


def _redis(values: Mapping) -> Iterator[str]:
    yield from _one_of("redis_node_type", values["redis_node_type"], NODE_TYPES)
    yield from _one_of("redis_version", values["redis_version"], ENGINE_VERSIONS[values["redis_engine"]])
    yield from _between("redis_num_nodes", values["redis_num_nodes"], 1, 6)
    yield from _between("redis_snapshot_retention_limit", values["redis_snapshot_retention_limit"], 0, 35)
    if values["redis_automatic_failover_enabled"] and values["redis_num_nodes"] < 2:
        yield (
            f"redis_automatic_failover_enabled is true and redis_num_nodes is {values['redis_num_nodes']}; failover "
            "needs a replica: set redis_num_nodes to 2 to 6, or redis_automatic_failover_enabled to false."
        )
    if values["redis_multi_az_enabled"] and not values["redis_automatic_failover_enabled"]:
        yield (
            "redis_multi_az_enabled is true and redis_automatic_failover_enabled is false; Multi-AZ needs automatic "
            "failover: set redis_automatic_failover_enabled to true, or redis_multi_az_enabled to false."
        )
    if values["elasticache_auth_token_enabled"] and not values["elasticache_transit_encryption_enabled"]:
        yield (
            "elasticache_auth_token_enabled is true and elasticache_transit_encryption_enabled is false; ElastiCache "
            "takes an auth token over TLS only: set elasticache_transit_encryption_enabled to true, or "
            "elasticache_auth_token_enabled to false."
        )


def _eviction(values: Mapping) -> Iterator[str]:
    policy = values["elasticache_parameters"].get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        yield (
            f"elasticache_parameters has maxmemory-policy {policy}; allowed: noeviction. With any other, Redis throws "
            "queued tasks away when its memory is full."
        )


def _network(values: Mapping) -> Iterator[str]:
    """Without NAT, what a task needs before it runs comes through endpoints, or it never runs.

    In a VPC that is given nothing is changed but the security groups, so that what asks for more would do nothing.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html (image and logs) and
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specifying-sensitive-data-secrets.html (its secrets)
    """
    given = values["network_vpc_endpoints"]
    missing = [name for name in ("ecr.api", "ecr.dkr", "s3", "logs", "secretsmanager") if name not in given]
    own = not (values["network_vpc_id"] or values["network_vpc_tags"])
    if own and values["network_nat_gateway"] == "none" and missing:
        yield (
            f"network_nat_gateway is none and network_vpc_endpoints has no {', '.join(missing)}; without them a task "
            "gets neither its image nor its secrets nor a log: add them, or set network_nat_gateway to single or "
            "per_zone."
        )
    for name in ("network_flow_logs", "network_vpc_endpoint_policies"):
        if values[name] and not own:
            vpc = "network_vpc_id" if values["network_vpc_id"] else "network_vpc_tags"
            yield (
                f"{name} is set, and so is {vpc}: of a VPC that is given, the network's owner sees to that. "
                f"Leave {name} out, or {vpc}."
            )


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK = 7 * 24 * 60


def _windows(values: Mapping) -> Iterator[str]:
    """https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html"""
    snapshot = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", values["elasticache_snapshot_window"])
    day = f"({'|'.join(_DAYS)})"
    maintenance = re.fullmatch(
        rf"{day}:(\d\d):(\d\d)-{day}:(\d\d):(\d\d)", values["elasticache_maintenance_window"].lower()
    )
    if not snapshot or int(snapshot[1]) > 23 or int(snapshot[3]) > 23 or int(snapshot[2]) > 59 or int(snapshot[4]) > 59:
        yield (
            f"elasticache_snapshot_window is {values['elasticache_snapshot_window']}; allowed: hh:mm-hh:mm, UTC, "
            "for example 03:00-04:00."
        )
        snapshot = None
    if not maintenance or any(int(maintenance[n]) > 23 or int(maintenance[n + 1]) > 59 for n in (2, 5)):
        yield (
            f"elasticache_maintenance_window is {values['elasticache_maintenance_window']}; allowed: "
            "ddd:hh:mm-ddd:hh:mm, UTC, for example sun:04:30-sun:05:30."
        )
        maintenance = None
    if not snapshot or not maintenance:
        return
    begin, end = (int(snapshot[n]) * 60 + int(snapshot[n + 1]) for n in (1, 3))
    daily = (end - begin) % (24 * 60)
    first, last = (
        _DAYS.index(maintenance[n]) * 1440 + int(maintenance[n + 1]) * 60 + int(maintenance[n + 2]) for n in (1, 4)
    )
    weekly = (last - first) % _WEEK
    for name, minutes in (("elasticache_snapshot_window", daily), ("elasticache_maintenance_window", weekly)):
        if minutes < 60:
            yield f"{name} is {values[name]}, {minutes} minutes; allowed: 60 minutes or more."
    if any(
        (begin + 1440 * day - first) % _WEEK < weekly or (first - begin - 1440 * day) % _WEEK < daily
        for day in range(7)
    ):
        yield (
            f"elasticache_snapshot_window is {values['elasticache_snapshot_window']} and "
            f"elasticache_maintenance_window {values['elasticache_maintenance_window']}; allowed: windows that do not "
            "overlap."
        )


def _roles(values: Mapping) -> Iterator[str]:
    if values["observability_log_retention_days"] is not None:
        yield from _one_of(
            "observability_log_retention_days", values["observability_log_retention_days"], [0, *RETENTION_DAYS]
        )
    # stopTimeout: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html; targets and
    # cooldowns: https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html
    for name, low, high in (
        ("ecs_celery_worker_stop_timeout", 2, 120),
        ("autoscaling_cpu_target", 1, 100),
        ("autoscaling_memory_target", 1, 100),
    ):
        if values[name] is not None:
            yield from _between(name, values[name], low, high)
    for name in (
        "ecs_celery_worker_protect_after",
        "autoscaling_scale_out_cooldown",
        "autoscaling_scale_in_cooldown",
    ):
        if values[name] is not None and values[name] < 0:
            yield f"{name} is {values[name]}; allowed: 0 seconds or more."
    for name in ("ecr_repository_untagged_days", "ecr_repository_keep_images"):
        if values[name] is not None and values[name] < 0:
            yield f"{name} is {values[name]}; allowed: 0 or more."


def _fargate(cpu_name: str, cpu: int, memory_name: str, memory: int) -> Iterator[str]:
    if cpu not in FARGATE_MEMORY:
        yield from _one_of(cpu_name, cpu, list(FARGATE_MEMORY))
    elif memory not in FARGATE_MEMORY[cpu]:
        allowed = ", ".join(map(str, FARGATE_MEMORY[cpu]))
        yield f"{memory_name} is {memory} with {cpu_name} {cpu}; Fargate allows with it: {allowed}."


def _tasks(values: Mapping) -> Iterator[str]:
    yield from _fargate("celery_cpu", values["celery_cpu"], "celery_memory", values["celery_memory"])
    for role in ("ecs_backend", "ecs_celery_beat"):
        cpu, memory = values.get(f"{role}_cpu"), values.get(f"{role}_memory")
        if cpu is not None and memory is not None:
            yield from _fargate(f"{role}_cpu", cpu, f"{role}_memory", memory)


def _counts(where: str, values: Mapping) -> Iterator[str]:
    low, high, desired = values["celery_min_count"], values["celery_max_count"], values["celery_desired_count"]
    if low < 0 or high < 1 or low > high:
        yield f"{where}min_count is {low} and {where}max_count is {high}; allowed: 0 <= min <= max and max >= 1."
    elif not low <= desired <= high:
        yield f"{where}desired_count is {desired}; allowed: {low} to {high}, from {where}min_count to {where}max_count."
    if values["celery_concurrency"] < 1:
        yield f"{where}concurrency is {values['celery_concurrency']}; allowed: 1 or more."


def _queues(name: str, queues: list[str]) -> Iterator[str]:
    if not queues:
        yield f"{name} is empty; name at least one queue."
    for queue in queues:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", queue):
            yield f"{name} has {queue!r}; allowed in a queue's name: letters, digits, _ . and -."


def _celery(values: Mapping) -> Iterator[str]:
    yield from _counts("celery_", values)
    yield from _queues("celery_queues", values["celery_queues"])
    services = values.get("celery_services") or []
    names = [service["name"] for service in services]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"celery_services has {name} twice; give each service a name of its own."
    for service in services:
        where = f"celery_services[{service['name']}]."
        given = {f"celery_{key}": value for key, value in service.items() if value is not None}
        effective = {**values, **given}
        if not re.fullmatch(r"[a-z](?:-?[a-z0-9])*", service["name"]) or service["name"] in ("backend", "celery-beat"):
            yield (
                f"{where}name is {service['name']}; allowed: lower-case letters, digits and single hyphens, "
                "and not backend or celery-beat, which are services already."
            )
        yield from _counts(where, effective)
        yield from _queues(f"{where}queues", service["queues"])
        yield from _fargate(f"{where}cpu", effective["celery_cpu"], f"{where}memory", effective["celery_memory"])


RULES: tuple[Rule, ...] = (_names, _image, _repository, _network, _redis, _eviction, _windows, _roles, _tasks, _celery)
