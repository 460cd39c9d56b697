"""Create, update, scale, interrupt, delete: against real processes in the sandbox."""

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout
from botocore.client import BaseClient
from ecs_examples import LOOP, TAGS, Stack


@pytest.fixture(scope="module")
def stack(sandbox):
    return Stack(sandbox)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ecs_rollout, "PAUSE", 0.1)


@pytest.fixture
def sent(monkeypatch):
    """Arguments of every UpdateService, RegisterTaskDefinition ... as ``[(operation, arguments)]``."""
    made = []
    original = BaseClient._make_api_call

    def record(self, operation, arguments):
        made.append((operation, arguments))
        return original(self, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    return made


def paths(result):
    return {change["path"] for change in result["changes"]}


def test_first_deployment(quartet, stack):
    result = quartet("ecs_service", stack.args(stack.service("first", desired_count=2)))
    assert [(c["resource"], c["action"]) for c in result["changes"]] == [("service first", "create")]
    service = result["services"]["first"]
    assert service["running_count"] == service["desired_count"] == 2
    assert (service["family"], service["revision"]) == (f"{stack.cluster}-first", 1)
    assert service["task_definition_arn"] == stack.describe("first")["taskDefinition"]
    tags = stack.ecs.list_tags_for_resource(resourceArn=service["task_definition_arn"])["tags"]
    assert {tag["key"]: tag["value"] for tag in tags} == TAGS


def test_check_mode_predicts_what_comes(module, stack):
    args = stack.args(stack.service("foretold", desired_count=0))
    foretold = module("ecs_service", args, check=True)["services"]
    assert foretold == module("ecs_service", args)["services"]
    args["services"][0]["task_definition"]["containers"][0]["environment"]["A"] = "2"
    foretold = module("ecs_service", args, check=True)["services"]["foretold"]
    assert foretold["revision"] == 2
    assert foretold == module("ecs_service", args)["services"]["foretold"]


def test_check_mode_needs_no_cluster(module, stack, calls):
    args = stack.args(stack.service("early"), cluster="not-there-yet")
    result = module("ecs_service", args, check=True)
    assert result["services"]["early"]["cluster_arn"].endswith(":cluster/not-there-yet")
    message = module("ecs_service", args, expect_failure=True)["msg"]
    assert "cluster not-there-yet does not exist" in message
    assert calls.writes == []


def test_an_update_replaces_the_tasks_and_never_sends_the_count(quartet, module, stack, sent):
    args = stack.args(stack.service("update"))
    module("ecs_service", args)
    stack.ecs.update_service(cluster=stack.cluster, service="update", desiredCount=2)
    args["services"][0]["task_definition"]["containers"][0]["environment"] = {"A": "2", "NEW": "x"}
    args["services"][0]["minimum_healthy_percent"] = 50
    sent.clear()
    result = quartet("ecs_service", args)
    assert paths(result) == {
        "task_definition.containers.main.environment.A",
        "task_definition.containers.main.environment.NEW",
        "minimum_healthy_percent",
    }
    updates = [arguments for operation, arguments in sent if operation == "UpdateService"]
    assert len(updates) == 1
    assert "desiredCount" not in updates[0]
    assert stack.describe("update")["desiredCount"] == 2
    assert result["services"]["update"]["running_count"] == 2
    assert result["services"]["update"]["revision"] == stack.revisions("update") == 2


def test_a_count_that_nobody_scales_is_enforced(quartet, module, stack):
    once = stack.service("beat", minimum_healthy_percent=0, maximum_percent=100)
    args = stack.args({**once, "enforce_desired_count": True})
    module("ecs_service", args)
    stack.ecs.update_service(cluster=stack.cluster, service="beat", desiredCount=0)
    assert paths(quartet("ecs_service", args)) == {"desired_count"}
    assert stack.describe("beat")["desiredCount"] == stack.describe("beat")["runningCount"] == 1

    args["services"][0]["task_definition"]["containers"][0]["environment"]["A"] = "2"
    assert {c["impact"] for c in module("ecs_service", args, check=True)["changes"]} == {"disruptive"}


def test_many_services_in_few_calls(module, stack, calls):
    services = [stack.service(f"many-{i}", desired_count=0) for i in range(12)]
    module("ecs_service", stack.args(*services))
    calls.clear()
    assert not module("ecs_service", stack.args(*services))["changed"]
    # two batches to read, which show that all is steady, and each revision once
    assert len(calls) == 2 + 12


def test_rollouts_go_on_together(module, stack):
    """Each takes over two seconds in the sandbox; one after the other they would take five times that."""
    services = [stack.service(f"together-{i}") for i in range(5)]
    module("ecs_service", stack.args(*services))
    deployments = [stack.describe(service["name"])["deployments"][0] for service in services]
    last_start = max(deployment["createdAt"] for deployment in deployments)
    assert all(deployment["updatedAt"] > last_start for deployment in deployments)


def test_a_run_that_stopped_after_registering_leaves_no_pile_of_revisions(module, stack, monkeypatch):
    args = stack.args(stack.service("halfway", desired_count=0))
    original = BaseClient._make_api_call

    def cut(self, operation, arguments):
        if operation in ("CreateService", "UpdateService"):
            raise KeyboardInterrupt
        return original(self, operation, arguments)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(BaseClient, "_make_api_call", cut)
            with pytest.raises(KeyboardInterrupt):
                module("ecs_service", args)
    assert stack.revisions("halfway") == 1
    assert module("ecs_service", args)["services"]["halfway"]["revision"] == 1


def test_a_run_that_stopped_while_it_waited_is_gone_on_with(module, stack, monkeypatch):
    args = stack.args(stack.service("stopped"))
    module("ecs_service", args)
    args["services"][0]["task_definition"]["containers"][0]["environment"]["A"] = "2"
    with monkeypatch.context() as patch:
        patch.setattr(ecs_rollout, "wait_until", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            module("ecs_service", args)
    assert module("ecs_service", args)["changes"] == []
    assert [d["rolloutState"] for d in stack.describe("stopped")["deployments"]] == ["COMPLETED"]


def test_without_wait_nobody_is_told(module, stack):
    broken = stack.service("later", container={"image": "nexus-learn-worker:missing"})
    assert module("ecs_service", stack.args(broken, wait=False))["changed"]


def test_absent_lets_tasks_end_their_work(quartet, module, stack):
    script = "trap 'sleep 1; echo finished; exit 0' TERM; while :; do sleep 0.1; done"
    args = stack.args(stack.service("drain", script))
    module("ecs_service", args)
    gone = quartet("ecs_service", stack.args({"name": "drain"}, state="absent"))
    assert [(c["action"], c["impact"]) for c in gone["changes"]] == [("delete", "disruptive")]
    streams = stack.logs.describe_log_streams(logGroupName=stack.log_group)["logStreams"]
    lines = [
        event["message"]
        for stream in streams
        for event in stack.logs.get_log_events(logGroupName=stack.log_group, logStreamName=stream["logStreamName"])[
            "events"
        ]
    ]
    assert "finished" in lines
    assert module("ecs_service", stack.args({"name": "drain"}, state="absent"))["changes"] == []
    # the name is free again, and its history of revisions goes on
    args["services"][0]["desired_count"] = 0
    assert [c["action"] for c in quartet("ecs_service", args)["changes"]] == ["create"]
    assert stack.revisions("drain") == 1


def test_absent_with_force_and_without_cluster(module, stack, sent):
    module("ecs_service", stack.args(stack.service("force"), wait=False))
    sent.clear()
    module("ecs_service", stack.args({"name": "force"}, state="absent", force=True))
    assert "UpdateService" not in [operation for operation, _ in sent]
    assert module("ecs_service", stack.args({"name": "force"}, state="absent", cluster="none"))["changes"] == []


def test_what_is_left_after_absent_has_ended(module, stack):
    """DescribeServices does not count a task that ends its work: whoever deletes Redis next would lose that."""
    script = "trap 'sleep 3; exit 0' TERM; while :; do sleep 0.1; done"
    module("ecs_service", stack.args(stack.service("last", script)))
    module("ecs_service", stack.args({"name": "last"}, state="absent"))
    tasks = stack.ecs.list_tasks(cluster=stack.cluster, family=f"{stack.cluster}-last", desiredStatus="STOPPED")
    (task,) = stack.ecs.describe_tasks(cluster=stack.cluster, tasks=tasks["taskArns"])["tasks"]
    assert task["lastStatus"] == "STOPPED"


def test_absent_in_the_middle_of_a_deployment(module, stack, sent):
    """ECS deletes no service with two deployments, also where nothing of them runs any more."""
    args = stack.args(stack.service("middle", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"))
    module("ecs_service", args)
    args["services"][0]["task_definition"]["containers"][0]["environment"] = {"A": "2"}
    module("ecs_service", {**args, "wait": False})
    module("ecs_service", stack.args({"name": "middle"}, state="absent"))
    assert stack.describe("middle")["status"] == "INACTIVE"


def test_a_service_that_is_being_deleted_is_waited_for(module, stack):
    script = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"
    args = stack.args(stack.service("again", script))
    module("ecs_service", args)
    stack.ecs.delete_service(cluster=stack.cluster, service="again", force=True)
    assert stack.describe("again")["status"] == "DRAINING"
    assert module("ecs_service", args)["services"]["again"]["running_count"] == 1


def test_an_older_revision_or_another_family_by_hand_is_mended(quartet, module, stack):
    args = stack.args(stack.service("hand", desired_count=0))
    module("ecs_service", args)
    args["services"][0]["task_definition"]["containers"][0]["environment"]["A"] = "2"
    module("ecs_service", args)
    stack.ecs.update_service(cluster=stack.cluster, service="hand", taskDefinition=f"{stack.cluster}-hand:1")
    result = quartet("ecs_service", args)
    assert paths(result) == {"task_definition.containers.main.environment.A"}
    assert stack.revisions("hand") == 2, "the latest revision is as wanted: no need for another"

    other = stack.service("other", desired_count=0)
    module("ecs_service", stack.args(other))
    stack.ecs.update_service(cluster=stack.cluster, service="hand", taskDefinition=f"{stack.cluster}-other")
    assert "task_definition.family" in paths(quartet("ecs_service", args))
    assert stack.describe("hand")["taskDefinition"].endswith(f"{stack.cluster}-hand:2")


def test_a_deregistered_revision_is_replaced(quartet, module, stack):
    args = stack.args(stack.service("retired", desired_count=0))
    module("ecs_service", args)
    stack.ecs.deregister_task_definition(taskDefinition=f"{stack.cluster}-retired:1")
    assert paths(quartet("ecs_service", args)) == {"task_definition.status"}
    assert stack.describe("retired")["taskDefinition"].endswith(":2")


def test_launch_type_and_strategy_take_turns(quartet, module, stack):
    args = stack.args(stack.service("turns", desired_count=0))
    module("ecs_service", args)
    strategy = [{"capacity_provider": "FARGATE_SPOT", "weight": 2}, {"capacity_provider": "FARGATE", "base": 1}]
    del args["services"][0]["launch_type"]
    args["services"][0]["capacity_provider_strategy"] = strategy
    quartet("ecs_service", args)
    assert {item["capacityProvider"] for item in stack.describe("turns")["capacityProviderStrategy"]} == {
        "FARGATE",
        "FARGATE_SPOT",
    }
    args["services"][0]["capacity_provider_strategy"] = strategy[::-1]
    assert module("ecs_service", args)["changes"] == []


def test_impossible_changes_are_refused(module, stack, calls):
    args = stack.args(stack.service("fixed", desired_count=0))
    module("ecs_service", args)
    calls.clear()
    ec2 = stack.args(stack.service("fixed", launch_type="EC2"))
    assert "cannot change launch_type from FARGATE to EC2" in module("ecs_service", ec2, expect_failure=True)["msg"]
    both = stack.args(stack.service("fixed", capacity_provider_strategy=[{"capacity_provider": "FARGATE"}]))
    assert "only one of them" in module("ecs_service", both, expect_failure=True)["msg"]
    bare = stack.args({"name": "fixed"})
    assert "set task_definition" in module("ecs_service", bare, expect_failure=True)["msg"]
    assert calls.writes == []


def test_somebody_elses_service_is_refused(module, stack, calls):
    args = stack.args(stack.service("foreign", desired_count=0))
    module("ecs_service", args)
    args["tags"] = {**TAGS, "Environment": "prod"}
    args["services"][0]["task_definition"]["containers"][0]["environment"]["A"] = "2"
    calls.clear()
    message = module("ecs_service", args, expect_failure=True)["msg"]
    assert "Environment=test" in message
    assert "name_prefix" in message
    assert calls.writes == []


def test_absent_leaves_somebody_elses_service_alone(left_alone, module, stack):
    module("ecs_service", stack.args(stack.service("theirs")))
    warnings = left_alone("ecs_service", stack.args({"name": "theirs"}, tags={**TAGS, "Environment": "prod"}))
    assert warnings == [
        "service theirs is left alone: it belongs to somebody else: it carries Project=nexus-learn Environment=test"
    ]
    assert stack.describe("theirs")["runningCount"] == 1


def test_absent_finds_the_services_of_the_cluster_by_their_tags(quartet, module, sandbox):
    stack = Stack(sandbox)
    mine = [stack.service(name, desired_count=count) for name, count in (("a", 1), ("ab", 0), ("b", 0), ("keep", 0))]
    module("ecs_service", stack.args(*mine))
    module("ecs_service", stack.args(stack.service("theirs", desired_count=0), tags={"Project": "other"}))
    result = quartet("ecs_service", stack.args({"name": "a*"}, state="absent"))
    assert [change["resource"] for change in result["changes"]] == ["service a", "service ab"]
    result = quartet("ecs_service", stack.args({"name": "*"}, state="absent", keep=["keep"]))
    assert [change["resource"] for change in result["changes"]] == ["service b"]
    assert [warning.split(" is")[0] for warning in result["warnings"]] == ["service theirs"]
    left = stack.ecs.list_services(cluster=stack.cluster)["serviceArns"]
    assert sorted(arn.rsplit("/", 1)[-1] for arn in left) == ["keep", "theirs"]
    assert module("ecs_service", stack.args({"name": "*"}, state="absent", cluster="none"))["changes"] == []
    cluster = {"name": stack.cluster, "state": "absent"}
    assert "2 services: keep, theirs" in module("ecs_cluster", cluster, expect_failure=True)["msg"]


def test_what_is_left_out_is_not_touched(module, stack):
    module("ecs_service", stack.args(stack.service("sparse", desired_count=0, maximum_percent=150)))
    definition = stack.service("sparse")["task_definition"]
    sparse = {"cluster": stack.cluster, "services": [{"name": "sparse", "task_definition": definition}]}
    assert module("ecs_service", sparse)["changes"] == []


def test_a_target_group_is_attached(quartet, module, stack, sandbox):
    """The task counts as up only when the load balancer says so."""
    elb = sandbox.client("elbv2")
    vpc = sandbox.client("ec2").describe_subnets(SubnetIds=stack.subnets[:1])["Subnets"][0]["VpcId"]
    group = elb.create_target_group(Name=stack.cluster, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")
    arn = group["TargetGroups"][0]["TargetGroupArn"]
    balancer = elb.create_load_balancer(Name=stack.cluster, Subnets=stack.subnets[:2])["LoadBalancers"][0]
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
    )
    service = stack.service("web", container={"port_mappings": [{"container_port": 8000}]}, desired_count=0)
    module("ecs_service", stack.args(service))
    service["load_balancers"] = [{"target_group_arn": arn, "container_name": "main", "container_port": 8000}]
    service["health_check_grace_period_seconds"] = 7
    assert paths(quartet("ecs_service", stack.args(service))) == {"load_balancers", "health_check_grace_period_seconds"}
    assert stack.describe("web")["loadBalancers"][0]["targetGroupArn"] == arn
    service["load_balancers"] = []
    quartet("ecs_service", stack.args(service))
    assert stack.describe("web")["loadBalancers"] == []


def test_events_are_shown_once(module, stack, capsys):
    module("ecs_service", stack.args(stack.service("told", desired_count=0)))
    shown = capsys.readouterr().out
    assert shown.count("(service told) has reached a steady state") == 1
    module("ecs_service", stack.args(stack.service("told", desired_count=0)))
    assert "(service told)" not in capsys.readouterr().out


def test_a_new_version_of_a_secret_is_rolled_out(quartet, module, stack, sandbox):
    secrets = sandbox.client("secretsmanager")
    first = secrets.create_secret(Name="rolled-out", SecretString='{"key": "one"}')
    arn = first["ARN"]
    script = f'echo "read $S"; {LOOP}'
    pinned = f"{arn}:key::{first['VersionId']}"
    kept = {"S": f"{arn}:key::", "PINNED": pinned, "PARAMETER": "arn:aws:ssm:x:1:parameter/p"}
    service = stack.service("secretive", script, container={"secrets": {"S": kept["S"]}, "secret_versions": ["S"]})
    args = stack.args(service)
    quartet("ecs_service", args)
    second = secrets.put_secret_value(SecretId=arn, SecretString='{"key": "two"}')["VersionId"]
    done = quartet("ecs_service", args)
    assert [(change["path"], change["before"], change["after"]) for change in done["changes"]] == [
        ("task_definition.containers.main.docker_labels.secret-version/S", first["VersionId"], second)
    ]
    said = stack.logs.filter_log_events(logGroupName=stack.log_group, filterPattern="read")["events"]
    assert [event["message"] for event in said] == ["read one", "read two"]
    # what is not followed any more leaves no label behind
    args["services"][0]["task_definition"]["containers"][0]["secret_versions"] = []
    done = quartet("ecs_service", args)
    assert [(change["path"].rsplit(".", 1)[-1], change["after"]) for change in done["changes"]] == [
        ("docker_labels", None)
    ]
    # neither what is pinned to a version nor what is no secret is followed, and a name must be one of the secrets
    args = stack.args(
        stack.service(
            "pinned", desired_count=0, container={"secrets": kept, "secret_versions": ["PINNED", "PARAMETER"]}
        )
    )
    assert "secret-version" not in str(module("ecs_service", args, check=True)["changes"])
    args["services"][0]["task_definition"]["containers"][0]["secret_versions"] = ["TOKEN"]
    refused = module("ecs_service", args, check=True, expect_failure=True)
    assert "secret_versions of container main has TOKEN" in refused["msg"]
    assert "allowed: S, PINNED, PARAMETER" in refused["msg"]
