"""The whole stack from one inventory to another: what a check says is what a run does, field by field.

NEXUS_PAIRS=50 for a long run, of inventories that are new each time.
"""

from __future__ import annotations

import json
import os

import pytest
import steps
from foretold import same
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

SITE = ("site.yml", "-i", "inventories/dev")
PAIRS = int(os.environ.get("NEXUS_PAIRS", "2"))

# Without tasks, which would only take time: rollouts have tests of their own.
IDLE = {"ecs_backend_desired_count": 0, "celery_desired_count": 0, "celery_min_count": 0}
WORKERS = st.lists(st.sampled_from(["celery-langgraph", "celery-embeddings", "celery-worker"]), min_size=1, unique=True)


def nodes(number: int) -> st.SearchStrategy[dict]:
    """Of Redis; what needs a second one is off where there is none."""
    more = st.booleans() if number > 1 else st.just(False)
    return st.tuples(more, more).map(
        lambda both: {
            "redis_num_nodes": number,
            "redis_automatic_failover_enabled": any(both),
            "redis_multi_az_enabled": all(both),
        }
    )


INVENTORY = st.builds(
    lambda *parts: IDLE | {key: value for part in parts for key, value in part.items()},
    st.integers(1, 3).flatmap(nodes),
    st.sampled_from([(256, 512), (1024, 2048), (1024, 4096)]).map(
        lambda size: {"celery_cpu": size[0], "celery_memory": size[1]}
    ),
    WORKERS.map(lambda names: {"celery_services": [{"name": name, "queues": [name[7:]]} for name in names]}),
    st.fixed_dictionaries(
        {
            "enable_celery_beat": st.booleans(),
            "celery_max_count": st.integers(2, 6),
            "celery_concurrency": st.integers(1, 4),
        },
        optional={
            "redis_node_type": st.sampled_from(["cache.t3.small", "cache.t4g.micro"]),
            "redis_version": st.sampled_from(["6.2", "7.1"]),
            "redis_snapshot_retention_limit": st.integers(0, 3),
            "network_nat_gateway": st.sampled_from(["none", "single", "per_zone"]),
            "network_vpc_endpoints": st.lists(st.sampled_from(["s3", "logs", "ecr.api"]), unique=True),
            "observability_log_retention_days": st.sampled_from([7, 30, 90]),
            "ecr_repository_keep_images": st.sampled_from([0, 50]),
            "ecr_repository_image_tag_mutability": st.sampled_from(["IMMUTABLE", "MUTABLE"]),
            "ecs_cluster_container_insights": st.sampled_from(["enabled", "disabled"]),
            "ecs_backend_cpu": st.sampled_from([256, 512]),
            "autoscaling_cpu_target": st.integers(40, 80),
            "autoscaling_scale_in_cooldown": st.integers(100, 300),
        },
    ),
)


def apply(console, inventory: dict, *arguments: str, succeeds: bool | None = True):
    return console.playbook(*SITE, "-e", json.dumps(inventory), *arguments, succeeds=succeeds)


@pytest.fixture(scope="module")
def deployed(console):
    """The stack before the first pair. Each pair begins with what the one before it has left."""
    apply(console, IDLE)


@settings(
    max_examples=PAIRS + 1,  # the first is hypothesis's simplest one
    deadline=None,
    derandomize="NEXUS_PAIRS" not in os.environ,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(inventory=INVENTORY)
def test_pairs(console, deployed, inventory):
    check = apply(console, inventory, "--check", succeeds=None)
    assert steps.writes(check.step) == []
    run = apply(console, inventory, succeeds=None)
    if check.returncode:
        print("refused:", [one["msg"] for one in check.plan["failures"]])
        assert [one["msg"] for one in run.plan["failures"]] == [one["msg"] for one in check.plan["failures"]]
        assert steps.writes(run.step) == []
        return
    print(check.plan["counts"])
    assert run.returncode == 0, run.output
    assert same(check.plan["changes"], run.plan["changes"]), difference(check.plan["changes"], run.plan["changes"])
    assert check.plan["counts"] == run.plan["counts"]
    assert check.plan["unchanged"] == run.plan["unchanged"]
    again = apply(console, inventory, "--check")
    assert again.plan["changes"] == []


def difference(foretold: list[dict], done: list[dict]) -> list[dict]:
    return [one for one in foretold if not any(same(one, other) for other in done)] + [
        one for one in done if not any(same(other, one) for other in foretold)
    ]
