import time
import uuid

import pytest
from ecs_examples import Stack

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


def test_what_nobody_owns_is_taken_over_field_by_field(module, ecs, args, calls):
    theirs = {
        "settings": [{"name": "containerInsights", "value": "disabled"}],
        "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
        "configuration": {"managedStorageConfiguration": {"kmsKeyId": "theirs"}},
        "tags": [{"key": "Team", "value": "theirs"}],
    }
    ecs.create_cluster(clusterName=args["name"], **theirs)
    before = ecs.describe_clusters(clusters=[args["name"]])["clusters"][0]
    calls.clear()
    assert "belongs to somebody else" in module("ecs_cluster", args, expect_failure=True)["msg"]
    assert calls.writes == []
    taken = {**args, "adopt": [f"cluster {args['name']}"]}
    foretold = module("ecs_cluster", taken, check=True)["changes"]
    assert {change["path"] for change in foretold} == {
        "container_insights",
        *(
            f"default_capacity_provider_strategy.{p}.{n}"
            for p in ("FARGATE", "FARGATE_SPOT")
            for n in ("weight", "base")
        ),
        *(f"tags.{key}" for key in ("Team", *TAGS)),
    }
    assert module("ecs_cluster", taken)["changes"] == foretold
    assert module("ecs_cluster", taken, check=True)["changes"] == []
    after = ecs.describe_clusters(clusters=[args["name"]], include=["CONFIGURATIONS"])["clusters"][0]
    assert after["clusterArn"] == before["clusterArn"]
    assert after["configuration"] == theirs["configuration"], "what is left out is not touched"
    ecs.untag_resource(resourceArn=after["clusterArn"], tagKeys=["Environment"])
    gone = module("ecs_cluster", {**taken, "state": "absent"})
    assert gone["changes"] == []
    assert gone["warnings"][0].startswith(f"cluster {args['name']} is left alone")


def test_a_namespace_is_the_same_by_name_and_by_arn(quartet, module, ecs, args, sandbox, calls):
    """One that is new is made by ECS; Cloud Map is asked only where name and ARN have to be told apart."""
    args["service_connect_defaults"] = {"namespace": args["name"]}
    quartet("ecs_cluster", args)
    (cluster,) = ecs.describe_clusters(clusters=[args["name"]])["clusters"]
    args["service_connect_defaults"]["namespace"] = cluster["serviceConnectDefaults"]["namespace"]
    assert cluster["serviceConnectDefaults"]["namespace"].startswith("arn:")
    calls.clear()
    assert module("ecs_cluster", args)["changes"] == []
    assert {service for service, _ in calls} == {"ecs"}
    args["service_connect_defaults"]["namespace"] = ""
    quartet("ecs_cluster", args)
    assert "serviceConnectDefaults" not in ecs.describe_clusters(clusters=[args["name"]])["clusters"][0]


def test_a_log_configuration_means_override(module, args, calls):
    for configuration in ({"logging": "OVERRIDE"}, {"log_configuration": {"s3_bucket_name": "b"}}):
        wrong = {**args, "execute_command_configuration": configuration}
        assert "Give both or neither" in module("ecs_cluster", wrong, expect_failure=True)["msg"]
    assert calls.writes == []


def test_absent_waits_for_tasks_that_still_stop(module, sandbox):
    """A service is gone when its tasks begin to stop; a cluster with a task in it cannot be deleted."""
    stack = Stack(sandbox)
    ending = "trap 'sleep 5; exit 0' TERM; while :; do sleep 0.1; done"
    module("ecs_service", stack.args(stack.service("slow", ending)))
    stack.ecs.delete_service(cluster=stack.cluster, service="slow", force=True)
    wait_until_gone(stack)
    assert [task["desiredStatus"] for task in tasks(stack)] == ["STOPPED"]
    stack.ecs.tag_resource(
        resourceArn=stack.ecs.describe_clusters(clusters=[stack.cluster])["clusters"][0]["clusterArn"],
        tags=[{"key": key, "value": value} for key, value in TAGS.items()],
    )
    module("ecs_cluster", {"name": stack.cluster, "tags": TAGS, "state": "absent"})
    assert stack.ecs.describe_clusters(clusters=[stack.cluster])["clusters"][0]["status"] == "INACTIVE"


def tasks(stack):
    arns = stack.ecs.list_tasks(cluster=stack.cluster, desiredStatus="STOPPED")["taskArns"]
    return stack.ecs.describe_tasks(cluster=stack.cluster, tasks=arns)["tasks"]


def wait_until_gone(stack):
    deadline = time.monotonic() + 60
    while stack.describe("slow")["status"] != "INACTIVE":
        assert time.monotonic() < deadline
        time.sleep(0.05)
