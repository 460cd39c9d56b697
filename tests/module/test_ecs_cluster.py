import uuid

import pytest

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}


@pytest.fixture
def ecs(sandbox):
    return sandbox.client("ecs")


@pytest.fixture
def args():
    return {
        "name": f"c-{uuid.uuid4().hex[:8]}",
        "capacity_providers": ["FARGATE_SPOT", "FARGATE"],
        "default_capacity_provider_strategy": [
            {"capacity_provider": "FARGATE", "weight": 1, "base": 1},
            {"capacity_provider": "FARGATE_SPOT", "weight": 3},
        ],
        "container_insights": "enabled",
        "tags": TAGS,
    }


def test_create(quartet, ecs, args):
    result = quartet("ecs_cluster", args)
    assert [change["action"] for change in result["changes"]] == ["create"]
    assert result["cluster"]["arn"].endswith(f":cluster/{args['name']}")
    there = ecs.describe_clusters(clusters=[args["name"]], include=["TAGS", "SETTINGS"])["clusters"][0]
    assert set(there["capacityProviders"]) == {"FARGATE", "FARGATE_SPOT"}
    assert there["settings"] == [{"name": "containerInsights", "value": "enabled"}]


def test_order_means_nothing(quartet, module, args):
    quartet("ecs_cluster", args)
    args["capacity_providers"].reverse()
    args["default_capacity_provider_strategy"].reverse()
    assert module("ecs_cluster", args)["changes"] == []


def test_what_is_left_out_is_not_touched(quartet, module, args):
    quartet("ecs_cluster", args)
    assert module("ecs_cluster", {"name": args["name"]})["changes"] == []

    # AWS takes providers and strategy together only: giving one must not lose the other
    strategy = [{"capacity_provider": "FARGATE", "weight": 1}]
    quartet("ecs_cluster", {"name": args["name"], "default_capacity_provider_strategy": strategy})
    done = quartet("ecs_cluster", {"name": args["name"], "capacity_providers": ["FARGATE"]})
    assert done["cluster"]["default_capacity_provider_strategy"] == {"FARGATE": {"weight": 1, "base": 0}}
    assert done["cluster"]["capacity_providers"] == ["FARGATE"]
    assert done["cluster"]["tags"] == TAGS


DRIFT = {
    "default_capacity_provider_strategy.FARGATE_SPOT.weight": lambda ecs, name: ecs.put_cluster_capacity_providers(
        cluster=name,
        capacityProviders=["FARGATE", "FARGATE_SPOT"],
        defaultCapacityProviderStrategy=[
            {"capacityProvider": "FARGATE", "weight": 1, "base": 1},
            {"capacityProvider": "FARGATE_SPOT", "weight": 5},
        ],
    ),
    "container_insights": lambda ecs, name: ecs.update_cluster(
        cluster=name, settings=[{"name": "containerInsights", "value": "disabled"}]
    ),
    "tags.extra": lambda ecs, name: ecs.tag_resource(
        resourceArn=ecs.describe_clusters(clusters=[name])["clusters"][0]["clusterArn"],
        tags=[{"key": "extra", "value": "yes"}],
    ),
}


def test_a_missing_provider_is_seen_and_mended(quartet, ecs, args):
    quartet("ecs_cluster", args)
    ecs.put_cluster_capacity_providers(
        cluster=args["name"], capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=[]
    )
    changes = quartet("ecs_cluster", args)["changes"]
    assert {(c["path"], str(c["before"])) for c in changes} >= {("capacity_providers", "['FARGATE']")}


@pytest.mark.parametrize("path", DRIFT)
def test_drift_is_seen_and_mended(quartet, ecs, args, path):
    quartet("ecs_cluster", args)
    DRIFT[path](ecs, args["name"])
    assert [change["path"] for change in quartet("ecs_cluster", args)["changes"]] == [path]


def test_somebody_elses_cluster_is_refused(module, ecs, args, calls):
    ecs.create_cluster(clusterName=args["name"], tags=[{"key": "Environment", "value": "prod"}])
    calls.clear()
    message = module("ecs_cluster", args, expect_failure=True)["msg"]
    assert "Environment=prod" in message
    assert "name_prefix" in message
    assert calls.writes == []


def test_a_strategy_needs_its_providers(module, args):
    message = module("ecs_cluster", {**args, "capacity_providers": ["FARGATE"]}, expect_failure=True)["msg"]
    assert "FARGATE_SPOT" in message
    assert "capacity_providers" in message


def test_absent_twice_and_back_again(quartet, module, ecs, args):
    quartet("ecs_cluster", args)
    gone = quartet("ecs_cluster", {**args, "state": "absent"})
    assert [change["action"] for change in gone["changes"]] == ["delete"]
    # a deleted cluster may still be described, as INACTIVE
    assert module("ecs_cluster", {**args, "state": "absent"})["changes"] == []
    assert [change["action"] for change in quartet("ecs_cluster", args)["changes"]] == ["create"]


def test_absent_leaves_somebody_elses_cluster_alone(left_alone, ecs, args):
    ecs.create_cluster(clusterName=args["name"], tags=[{"key": "Environment", "value": "prod"}])
    (warning,) = left_alone("ecs_cluster", args)
    assert warning.startswith(f"cluster {args['name']} is left alone")
    assert ecs.describe_clusters(clusters=[args["name"]])["clusters"][0]["status"] == "ACTIVE"
