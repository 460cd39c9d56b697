"""The inventory's checks: what AWS would refuse is refused before anything is touched, naming the variable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nexus_learn.aws.plugins.module_utils import validation
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
REGIONS = ["us-east-1", "eu-central-1"]


def inventory(name: str = "dev", **changes: Any) -> dict[str, Any]:
    text = (ROOT / f"inventories/{name}/group_vars/all/main.yml").read_text()
    prefix = yaml.safe_load(text)["name_prefix"]
    return {**yaml.safe_load(text.replace("{{ name_prefix }}", prefix)), **changes}


def errors(**changes: Any) -> list[str]:
    return validation.errors(inventory(**changes), REGIONS)


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_the_inventories_of_the_repository_are_valid(name):
    assert validation.errors(inventory(name), REGIONS) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"redis_node_type": "cache.t9.huge"}, ["redis_node_type", "cache.t9.huge", "cache.t3.micro"]),
        ({"redis_version": "5.0"}, ["redis_version", "5.0", "7.1, 7.0, 6.2, 6.0"]),
        ({"redis_version": "7.0", "redis_engine": "valkey"}, ["redis_version", "7.0", "9.1, 9.0, 8.2, 8.1"]),
        ({"redis_engine": "memcached"}, ["redis_engine", "memcached", "valkey"]),
        ({"redis_num_nodes": 7}, ["redis_num_nodes", "7", "1 to 6"]),
        ({"image_tag": "a b"}, ["image_tag is a b; allowed: a tag of up to 128", "sha256:"]),
        ({"image_builder": "kaniko"}, ["image_builder is kaniko; allowed: auto, docker, podman, buildah."]),
        ({"image_scan_severity": "high"}, ["image_scan_severity is high; allowed: none, LOW"]),
        ({"image_tag": ""}, ["image_tag is empty; allowed: a tag"]),
        ({"image_tag": "-1"}, ["image_tag is -1;"]),
        ({"image_tag": "x" * 129}, ["image_tag is xxx"]),
        ({"image_tag": "sha256:1"}, ["image_tag is sha256:1;"]),
        ({"redis_num_nodes": "many"}, ["redis_num_nodes is many; allowed: a whole number."]),
        ({"enable_celery_beat": "maybe"}, ["enable_celery_beat is maybe; allowed: true or false."]),
        ({"autoscaling_cpu_target": "high"}, ["autoscaling_cpu_target is high; allowed: a number."]),
        ({"elasticache_parameters": ["timeout"]}, ["elasticache_parameters is", "allowed: a mapping"]),
        ({"celery_services": "fast"}, ["celery_services[0] is fast; allowed: a mapping"]),
        ({"celery_services": [{"name": "fast"}]}, ["celery_services[fast].queues is not set."]),
        (
            {"celery_services": [{"name": "fast", "queues": ["x"], "cpu": "big"}]},
            ["celery_services[fast].cpu is big; allowed: a whole number."],
        ),
        (
            {"celery_services": [{"name": "fast", "queues": ["x"], "ram": 1}]},
            ["celery_services[fast] has ram; allowed: name, queues, cpu"],
        ),
        ({"network_nat_gateway": "two"}, ["network_nat_gateway is two; allowed: none, single, per_zone."]),
        (
            {"network_nat_gateway": "none", "network_vpc_endpoints": ["s3", "logs"]},
            ["network_nat_gateway is none", "ecr.api, ecr.dkr, secretsmanager;"],
        ),
        (
            {"network_flow_logs": [{"log_destination": "x"}], "network_vpc_id": "vpc-1"},
            ["network_flow_logs is set", "network_vpc_id", "Leave"],
        ),
        (
            {"network_vpc_endpoint_policies": {"s3": {}}, "network_vpc_tags": {"Name": "theirs"}},
            ["network_vpc_endpoint_policies is set", "network_vpc_tags", "Leave"],
        ),
        ({"redis_snapshot_retention_limit": 36}, ["redis_snapshot_retention_limit", "36", "0 to 35"]),
        ({"redis_automatic_failover_enabled": True}, ["redis_automatic_failover_enabled", "redis_num_nodes", "2 to 6"]),
        (
            {"redis_multi_az_enabled": True, "redis_num_nodes": 2},
            ["redis_multi_az_enabled", "redis_automatic_failover_enabled"],
        ),
        (
            {"elasticache_transit_encryption_enabled": False},
            ["elasticache_auth_token_enabled", "elasticache_transit_encryption_enabled", "TLS"],
        ),
        ({"celery_cpu": 1000}, ["celery_cpu", "1000", "256, 512, 1024"]),
        ({"celery_memory": 1024}, ["celery_memory", "1024", "2048"]),
        ({"ecs_celery_beat_cpu": 256, "ecs_celery_beat_memory": 4096}, ["ecs_celery_beat_memory", "512, 1024, 2048"]),
        ({"celery_desired_count": 9}, ["celery_desired_count", "9", "1 to 5"]),
        ({"celery_min_count": 6}, ["celery_min_count", "6", "celery_max_count"]),
        ({"celery_concurrency": 0}, ["celery_concurrency", "0", "1 or more"]),
        ({"celery_queues": []}, ["celery_queues", "empty"]),
        ({"celery_queues": ["a,b"]}, ["celery_queues", "a,b"]),
        ({"aws_region": "us-est-1"}, ["aws_region", "us-est-1", "us-east-1"]),
        ({"name_prefix": "Nexus Learn"}, ["name_prefix", "Nexus Learn", "lower-case"]),
        ({"redis_node_type": None}, ["redis_node_type", "group_vars"]),
        ({"redis_node_type": "cache.r6gd.xlarge"}, ["redis_node_type", "cache.r6gd.xlarge", "cache.r6g.xlarge"]),
        ({"image_repository": "Team/App"}, ["image_repository is Team/App", "lower-case"]),
        ({"image_repository": "team//app"}, ["image_repository is team//app", "lower-case"]),
        ({"image_repository": "a"}, ["image_repository is a;", "2 to 256"]),
        ({"ecr_repository_keep_images": -1}, ["ecr_repository_keep_images", "-1", "0 or more"]),
        ({"observability_log_retention_days": 31}, ["observability_log_retention_days", "31", "14, 30, 60"]),
        ({"ecs_celery_worker_stop_timeout": 300}, ["ecs_celery_worker_stop_timeout", "300", "2 to 120"]),
        ({"ecs_celery_worker_protect_after": -1}, ["ecs_celery_worker_protect_after", "-1", "0 seconds or more"]),
        ({"autoscaling_cpu_target": 170}, ["autoscaling_cpu_target", "170", "1 to 100"]),
        ({"autoscaling_scale_in_cooldown": -1}, ["autoscaling_scale_in_cooldown", "-1", "0 seconds or more"]),
        (
            {"elasticache_parameters": {"maxmemory-policy": "allkeys-lru"}},
            ["elasticache_parameters", "allkeys-lru", "noeviction", "throws queued tasks away"],
        ),
        ({"elasticache_snapshot_window": "3-4"}, ["elasticache_snapshot_window", "3-4", "hh:mm-hh:mm"]),
        ({"elasticache_snapshot_window": "03:00-03:30"}, ["elasticache_snapshot_window", "60 minutes or more"]),
        ({"elasticache_maintenance_window": "04:00-05:00"}, ["elasticache_maintenance_window", "ddd:hh:mm"]),
        ({"elasticache_snapshot_window": "03:00-05:00"}, ["elasticache_maintenance_window", "do not overlap"]),
        ({"elasticache_snapshot_window": "23:00-05:00"}, ["elasticache_maintenance_window", "do not overlap"]),
        (
            {
                "celery_services": [
                    {"name": "fast", "queues": ["langgraph"]},
                    {"name": "fast", "queues": ["embeddings"]},
                ]
            },
            ["celery_services", "fast", "twice"],
        ),
        (
            {"celery_services": [{"name": "fast", "queues": ["langgraph"], "desired_count": 50}]},
            ["celery_services[fast].desired_count", "50", "1 to 5"],
        ),
        ({"celery_services": [{"name": "backend", "queues": ["x"]}]}, ["celery_services[backend].name"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_named_with_what_is_allowed(changes, words):
    found = errors(**changes)
    assert len(found) == 1, found
    for word in words:
        assert word in found[0]


def test_several_errors_are_told_at_once():
    assert len(errors(redis_node_type="x", celery_concurrency=0, aws_region="nowhere")) == 3
    assert len(errors(redis_num_nodes="x", celery_concurrency="y", redis_version=None)) == 3
    assert len(errors(elasticache_snapshot_window="x", elasticache_maintenance_window="y")) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {
            "network_nat_gateway": "none",
            "network_vpc_endpoints": ["s3", "ecr.api", "ecr.dkr", "logs", "secretsmanager"],
        },
        {"network_nat_gateway": "none", "network_vpc_id": "vpc-1"},
        {"network_nat_gateway": "none", "network_vpc_tags": {"Name": "theirs"}},
        {"network_flow_logs": [], "network_vpc_endpoint_policies": {}, "network_vpc_id": "vpc-1"},
        {"network_flow_logs": [{"log_destination": "x"}], "network_vpc_endpoint_policies": {"s3": {}}},
        {"redis_num_nodes": "2", "redis_multi_az_enabled": "yes", "redis_automatic_failover_enabled": "true"},
        {"celery_services": [{"name": "fast", "queues": "x,y", "cpu": "512", "memory": "1024"}]},
        {"redis_engine": "valkey", "redis_version": "8.1"},
        {"image_tag": "1.4.0-rc1"},
        {"image_tag": f"sha256:{'0a' * 32}"},
        {"image_repository": ""},
        {"image_repository": "team-1/app__x.y", "ecr_repository_untagged_days": 0},
        {"autoscaling_scale_in_cooldown": 7200, "autoscaling_cpu_target": 72.5},
    ],
)
def test_what_aws_allows_is_allowed(changes):
    assert errors(**changes) == []


@settings(deadline=None)
@given(low=st.integers(-2, 12), desired=st.integers(-2, 12), high=st.integers(-2, 12))
def test_counts_are_right_exactly_when_they_are_in_order(low, desired, high):
    found = errors(celery_min_count=low, celery_desired_count=desired, celery_max_count=high)
    assert (found == []) == (0 <= low <= desired <= high and high >= 1)


@settings(deadline=None)
@given(nodes=st.integers(0, 8), failover=st.booleans(), multi_az=st.booleans())
def test_failover_and_multi_az_need_what_aws_says(nodes, failover, multi_az):
    found = errors(redis_num_nodes=nodes, redis_automatic_failover_enabled=failover, redis_multi_az_enabled=multi_az)
    allowed = 1 <= nodes <= 6 and (not failover or nodes >= 2) and (not multi_az or failover)
    assert (found == []) == allowed


@settings(deadline=None)
@given(cpu=st.sampled_from([128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768]), gib=st.integers(0, 130))
def test_fargate_pairs(cpu, gib):
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
    allowed = {
        256: gib in (1, 2),
        512: 1 <= gib <= 4,
        1024: 2 <= gib <= 8,
        2048: 4 <= gib <= 16,
        4096: 8 <= gib <= 30,
        8192: 16 <= gib <= 60 and gib % 4 == 0,
        16384: 32 <= gib <= 120 and gib % 8 == 0,
    }.get(cpu, False)
    assert (errors(celery_cpu=cpu, celery_memory=gib * 1024) == []) == allowed
