"""AWS does not see at once what was just made or changed: modules ask again, and go on when it does.

The sandbox here lags behind itself, for so long that what does not wait meets it.
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
"""

import json
import time

import pytest
import scaling_services
from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout, elasticache_secret, iam_roles
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import create
from ecs_examples import TAGS, Stack

LAG = 3


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(60.0)


@pytest.fixture
def lag(sandbox):
    time.sleep(LAG)  # what is there already is seen by then
    sandbox.ask("lag", "PUT", LAG)
    yield LAG
    sandbox.ask("lag", "PUT", 0)


@pytest.fixture(scope="module")
def stack(sandbox):
    return Stack(sandbox)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ecs_rollout, "PAUSE", 0.1)


def test_first_cluster_of_an_account(module, sandbox, lag):
    """CreateCluster makes ECS's service-linked role, and refuses what needs it until it can be assumed."""
    sandbox.ask("reset", "POST")
    args = {"name": "first", "capacity_providers": ["FARGATE"], "tags": TAGS}
    strategy = [{"capacity_provider": "FARGATE", "weight": 1}]
    assert module("ecs_cluster", args)["cluster"]["capacity_providers"] == ["FARGATE"]
    module("ecs_cluster", {**args, "default_capacity_provider_strategy": strategy})
    ecs = sandbox.client("ecs")
    (there,) = ecs.describe_clusters(clusters=["first"], include=["ATTACHMENTS"])["clusters"]
    assert there["attachmentsStatus"] == "UPDATE_COMPLETE", "done is when the providers are attached"
    assert there["defaultCapacityProviderStrategy"][0]["capacityProvider"] == "FARGATE"


@pytest.fixture(scope="module")
def service_id(sandbox):
    for service in scaling_services.services(sandbox):
        yield service("new")


def test_policies_of_a_target_that_was_just_registered(quartet, service_id, lag):
    """Application Auto Scaling does not find it yet: ObjectNotFoundException, in a new account other codes too."""
    policy = {"name": "cpu", "predefined_metric_type": "ECSServiceAverageCPUUtilization", "target_value": 70}
    night = {"name": "night", "schedule": "cron(0 20 ? * * *)", "max_capacity": 1}
    target = {
        "resource_id": service_id,
        "min_capacity": 0,
        "max_capacity": 2,
        "policies": [policy],
        "scheduled_actions": [night],
    }
    result = quartet("application_autoscaling", {"targets": [target], "tags": TAGS})
    assert [change["action"] for change in result["changes"]] == ["create"] * 3


def test_deployments_that_describe_services_does_not_show(module, stack, lag):
    """Neither is a service that is not to be seen yet deleted, nor a deployment overtaken by the one before it."""
    args = stack.args(stack.service("unseen"))
    assert module("ecs_service", args)["changed"]
    args["services"][0]["task_definition"]["containers"][0]["environment"] = {"A": "2"}
    module("ecs_service", args)
    assert stack.describe("unseen")["deployments"][0]["taskDefinition"].endswith("unseen:2")


TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def test_tasks_with_a_role_that_was_just_made(module, stack, lag, monkeypatch):
    """They would fail to start, all at once, and with them the service's first deployment."""
    monkeypatch.setattr(Aws, "emulated", False)
    monkeypatch.setattr(iam_roles, "SPREAD_SECONDS", LAG)
    role = {"name": "not-yet-task", "assume_role_policy": TRUST}
    arn = module("iam_roles", {"roles": [role], "tags": TAGS})["roles"]["not-yet-task"]["arn"]
    breaker = {"enable": True, "rollback": True, "threshold_configuration": {"type": "COUNT", "value": 3}}
    service = stack.service("three", task={"task_role_arn": arn}, desired_count=3, circuit_breaker=breaker)
    module("ecs_service", stack.args(service))
    assert stack.describe("three")["runningCount"] == 3


def test_a_task_before_with_a_role_that_was_just_made(module, stack, lag):
    arn = stack.sandbox_client("iam").create_role(RoleName="not-yet", AssumeRolePolicyDocument=json.dumps(TRUST))
    before = {"command": ["sh", "-c", "exit 0"], "wait_timeout": 60}
    service = stack.service("before", task={"task_role_arn": arn["Role"]["Arn"]}, run_task_before=before)
    module("ecs_service", stack.args({**service, "circuit_breaker": {"enable": False, "rollback": False}}))
    assert stack.describe("before")["runningCount"] == 1


def test_a_role_whose_policies_were_just_deleted(module, sandbox, lag):
    logs = {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}
    policies = {"logs": {"Version": "2012-10-17", "Statement": [logs]}}
    role = {"name": "gone", "assume_role_policy": TRUST, "policies": policies}
    module("iam_roles", {"roles": [role], "tags": TAGS})
    module("iam_roles", {"roles": [{"name": "gone"}], "tags": TAGS, "state": "absent"})
    assert "gone" not in [one["RoleName"] for one in sandbox.client("iam").list_roles()["Roles"]]


def test_a_secret_of_the_name_of_one_that_was_just_deleted(module, sandbox, lag):
    """Without a recovery window: there is nothing to restore, and the name is taken for some time."""
    manager = sandbox.client("secretsmanager")
    manager.create_secret(Name="again/redis")
    manager.delete_secret(SecretId="again/redis", ForceDeleteWithoutRecovery=True)
    aws = Aws({"region": "us-east-1"})
    assert elasticache_secret.describe(aws, "again/redis") is None
    elasticache_secret.apply(aws, "again/redis", {}, [create("secret again/redis", {})], print)
    assert manager.describe_secret(SecretId="again/redis")["Name"] == "again/redis"


def test_a_bucket_of_the_name_of_one_that_was_just_deleted(module, sandbox, lag):
    args = {"name": "not-yet", "versioning": True, "tags": TAGS}
    module("s3_bucket", args)
    module("s3_bucket", {**args, "state": "absent"})
    module("s3_bucket", args)
    assert sandbox.client("s3").get_bucket_versioning(Bucket="not-yet")["Status"] == "Enabled"


def test_a_count_that_describe_services_does_not_show(module, stack, lag):
    module("ecs_service", stack.args(stack.service("count")))
    module("ecs_service_count", {"cluster": stack.cluster, "service": "count", "count": 3, "tags": TAGS})
    assert stack.describe("count")["runningCount"] == 3
