"""What other tools for ECS are blamed for: each test is named after the complaint and cites it."""

import copy

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout
from ecs_examples import TAGS, Stack

QUICK = {"enable": True, "rollback": True, "threshold_configuration": {"type": "COUNT", "value": 1}}


@pytest.fixture(scope="module")
def stack(sandbox):
    return Stack(sandbox)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ecs_rollout, "PAUSE", 0.1)


def paths(result):
    return {change["path"] for change in result["changes"]}


# What a playbook changes, which the stock modules report as no change, and the fields that it is here.
UNSEEN = {
    "environment value": (lambda s, c: c.update(environment={"A": "2"}), {"environment.A"}),
    "environment name": (lambda s, c: c.update(environment={"B": "1"}), {"environment.A", "environment.B"}),
    "secret": (lambda s, c: c.update(secrets={"S": "arn:aws:ssm:us-east-1:123456789012:parameter/t"}), {"secrets.S"}),
    "command": (lambda s, c: c.update(command=["sh", "-c", "sleep 9"]), {"command"}),
    "task size": (lambda s, c: s["task_definition"].update(cpu="512", memory="1024"), {"/cpu", "/memory"}),
    "execution role": (
        lambda s, c: s["task_definition"].update(execution_role_arn="arn:aws:iam::123456789012:role/other"),
        {"/execution_role_arn"},
    ),
    "architecture": (lambda s, c: s["task_definition"].update(cpu_architecture="ARM64"), {"/cpu_architecture"}),
    "subnets": (lambda s, c: s.update(subnets=s["subnets"][:1]), {"//subnets"}),
    "percents": (
        lambda s, c: s.update(minimum_healthy_percent=50, maximum_percent=150),
        {"//minimum_healthy_percent", "//maximum_percent"},
    ),
    "breaker": (
        lambda s, c: s.update(circuit_breaker={"enable": False, "rollback": False}),
        {"//circuit_breaker.enable", "//circuit_breaker.rollback"},
    ),
    "platform version": (lambda s, c: s.update(platform_version="1.4.0"), {"//platform_version"}),
}


def whole(field):
    task, container = "task_definition.", "task_definition.containers.main."
    return field[2:] if field.startswith("//") else f"{task}{field[1:]}" if field.startswith("/") else container + field


@pytest.mark.parametrize("what", UNSEEN)
def test_a_change_of_the_same_length_is_no_match(module, stack, what):
    """ansible/ansible#53049, ansible/ansible#59900, community.aws#45, community.aws#1142: lists are compared by length,
    sizes, roles and platform not at all, and of a service neither its network nor its deployment."""
    change, fields = UNSEEN[what]
    service = stack.service(what.replace(" ", "-"), desired_count=0)
    service["task_definition"]["containers"][0]["secrets"] = {"S": "arn:aws:ssm:us-east-1:123456789012:parameter/s"}
    module("ecs_service", stack.args(service))
    changed = copy.deepcopy(service)
    change(changed, changed["task_definition"]["containers"][0])
    assert paths(module("ecs_service", stack.args(changed), check=True)) == {whole(field) for field in fields}
    module("ecs_service", stack.args(changed))
    assert module("ecs_service", stack.args(changed))["changes"] == []


def test_many_revisions_are_not_read_one_by_one(module, stack, calls):
    """community.aws#2123: every revision of the family is described on every run, and the oldest match is taken."""
    service = stack.service("history", desired_count=0)
    for value in ("1", "2", "1", "3"):
        service["task_definition"]["containers"][0]["environment"]["A"] = value
        result = module("ecs_service", stack.args(service))
    assert result["services"]["history"]["revision"] == 4, (
        "what is registered is new, also when an old one is as wanted"
    )
    calls.clear()
    module("ecs_service", stack.args(service))
    assert calls.count(("ecs", "DescribeTaskDefinition")) == 1
    assert ("ecs", "ListTaskDefinitions") not in calls


def test_no_count_in_the_inventory_is_no_change(module, stack, calls):
    """hashicorp/terraform#9690, hashicorp/terraform#10308, aws-cdk#3919, cloudformation-coverage-roadmap#187: a count
    that a scaler has set is undone by a change of a tag, or is a change on every run when the inventory has none."""
    service = stack.service("scaled", desired_count=0)
    module("ecs_service", stack.args(service))
    stack.ecs.update_service(cluster=stack.cluster, service="scaled", desiredCount=2)
    del service["desired_count"]
    assert module("ecs_service", stack.args(service))["changes"] == []
    module("ecs_service", stack.args(service, tags={**TAGS, "Team": "a"}))
    assert stack.describe("scaled")["desiredCount"] == 2


def test_tags_and_their_propagation_can_be_changed(quartet, module, stack):
    """community.aws#2446, community.aws#2466: changed tags, or propagate_tags, fail the task."""
    service = stack.service("tagged", desired_count=0, propagate_tags="NONE")
    module("ecs_service", stack.args(service))
    service["propagate_tags"] = "SERVICE"
    result = quartet("ecs_service", stack.args(service, tags={**TAGS, "Team": "a"}))
    assert paths(result) == {"tags.Team", "task_definition.tags.Team", "propagate_tags"}
    assert stack.revisions("tagged") == 1, "tags alone need no new revision"


def test_a_deployment_that_was_rolled_back_is_no_success(module, stack):
    """hashicorp/terraform-provider-aws#20858, #19519, terraform-aws-ecs#325, ecs-deploy#185, ecspresso#732: the service
    is steady again, on the old revision, and the tool says that all is well."""
    service = stack.service("rolled", circuit_breaker=QUICK)
    module("ecs_service", stack.args(service))
    service["task_definition"]["containers"][0]["command"] = ["sh", "-c", "echo no broker; exit 3"]
    message = module("ecs_service", stack.args(service), expect_failure=True)["msg"]
    assert "exit code 3" in message
    assert "no broker" in message
    assert "serving now" in message
    arn = stack.describe("rolled")["taskDefinition"]
    assert arn.endswith("rolled:1")
    assert stack.ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]["status"] == "ACTIVE"


def test_one_failure_of_a_singleton_can_be_enough(module, stack):
    """aws/containers-roadmap#1247, #1206, hashicorp/terraform-provider-aws#48748: three failures, with longer and
    longer pauses, before a service of one task is given up."""
    service = stack.service("singleton", circuit_breaker=QUICK, minimum_healthy_percent=0, maximum_percent=100)
    module("ecs_service", stack.args(service))
    service["task_definition"]["containers"][0]["command"] = ["sh", "-c", "exit 3"]
    module("ecs_service", stack.args(service), expect_failure=True)
    arns = stack.ecs.list_tasks(cluster=stack.cluster, serviceName="singleton", desiredStatus="STOPPED")["taskArns"]
    stopped = stack.ecs.describe_tasks(cluster=stack.cluster, tasks=arns)["tasks"]
    assert len([task for task in stopped if task["taskDefinitionArn"].endswith(":2")]) == 1


def test_deployment_alarms_are_a_field_like_others(quartet, module, stack):
    """cloudposse/terraform-aws-ecs-alb-service-task#257: no way to give alarms; elsewhere they are never compared."""
    service = stack.service("alarms", desired_count=0)
    module("ecs_service", stack.args(service))
    service["deployment_alarms"] = {"alarm_names": ["b", "a"], "enable": True, "rollback": True}
    assert paths(quartet("ecs_service", stack.args(service))) == {
        f"deployment_alarms.{field}" for field in ("alarm_names", "enable", "rollback")
    }
    service["deployment_alarms"]["alarm_names"].reverse()
    service["maximum_percent"] = 150
    assert paths(quartet("ecs_service", stack.args(service))) == {"maximum_percent"}
    assert stack.describe("alarms")["deploymentConfiguration"]["alarms"]["enable"] is True


def test_a_service_is_drained_before_it_is_deleted(module, stack, calls):
    """hashicorp/terraform-provider-aws#3414, #17548, terraform-aws-ecs#46: destroy hangs on a service with tasks."""
    module("ecs_service", stack.args(stack.service("gone")))
    calls.clear()
    module("ecs_service", stack.args({"name": "gone"}, state="absent"))
    assert [operation for _, operation in calls.writes] == ["UpdateService", "DeleteService"]


def test_a_new_service_can_be_checked_and_used_before_it_is_there(module, stack, calls):
    """ansible.md A2, finding 1: in check mode the stock module returns no task definition for the next task to use."""
    result = module("ecs_service", stack.args(stack.service("new")), check=True)
    assert result["services"]["new"]["task_definition_arn"].endswith(f":task-definition/{stack.cluster}-new:1")
    assert calls.writes == []


def test_numbers_and_booleans_of_yaml_are_environment_too(quartet, stack):
    """ansible.md A2, finding 1: an environment variable with a number fails with a ParamValidation error."""
    container = {"environment": {"PORT": 6379, "DEBUG": True, "EMPTY": ""}}
    quartet("ecs_service", stack.args(stack.service("types", desired_count=0, container=container)))


def test_another_strategy_or_controller_is_not_overwritten(module, stack, monkeypatch):
    """What is deployed by blue/green is somebody's decision: it is refused with the reason, not rolled over."""
    args = stack.args(stack.service("blue", desired_count=0))
    module("ecs_service", args)
    original = ecs_rollout.read_services

    def shifting(*given, **named):
        found = original(*given, **named)
        for service in found.values():
            service["deploymentConfiguration"]["strategy"] = "BLUE_GREEN"
        return found

    monkeypatch.setattr(ecs_rollout, "read_services", shifting)
    message = module("ecs_service", args, expect_failure=True)["msg"]
    assert "deployment strategy BLUE_GREEN" in message


def test_what_nobody_owns_is_taken_over_field_by_field(module, stack, calls):
    """The service and its family were made by hand; adopt takes them over and replaces nothing."""
    service = stack.service("theirs", desired_count=0)
    theirs = copy.deepcopy(service)
    theirs["maximum_percent"] = 150
    theirs["task_definition"]["containers"][0]["environment"]["A"] = "theirs"
    module("ecs_service", stack.args(theirs, tags={"Team": "theirs"}))
    before = stack.describe("theirs")
    service["maximum_percent"] = 200
    calls.clear()
    message = module("ecs_service", stack.args(service), expect_failure=True)["msg"]
    assert "service theirs exists and belongs to somebody else" in message
    assert calls.writes == []

    taken = stack.args(service, adopt=["service theirs"])
    foretold = module("ecs_service", taken, check=True)["changes"]
    assert {change["path"] for change in foretold} == {
        "maximum_percent",
        "task_definition.containers.main.environment.A",
        *(f"tags.{key}" for key in ("Team", *TAGS)),
    }
    assert module("ecs_service", taken)["changes"] == foretold
    assert module("ecs_service", taken, check=True)["changes"] == []
    after = stack.describe("theirs")
    assert (after["serviceArn"], after["createdAt"]) == (before["serviceArn"], before["createdAt"])

    stack.ecs.untag_resource(resourceArn=after["serviceArn"], tagKeys=["Environment"])
    gone = module("ecs_service", {**taken, "state": "absent"})
    assert gone["changes"] == []
    assert gone["warnings"][0].startswith("service theirs is left alone")


def test_a_family_that_another_stack_owns_is_taken_over_only_when_it_is_named(module, stack, calls):
    """Also of a service that is new: its revisions would go on with another stack's history."""
    service = stack.service("family", desired_count=0)
    family = service["task_definition"]["family"]
    module("ecs_service", stack.args(service, tags={**TAGS, "Environment": "prod"}))
    module("ecs_service", stack.args({"name": "family"}, tags={**TAGS, "Environment": "prod"}, state="absent"))
    calls.clear()
    message = module("ecs_service", stack.args(service), expect_failure=True)["msg"]
    assert f"task definition family {family} exists" in message
    assert calls.writes == []
    taken = stack.args(service, adopt=[f"task definition family {family}"])
    foretold = module("ecs_service", taken, check=True)
    done = module("ecs_service", taken)
    assert done["changes"] == foretold["changes"]
    assert module("ecs_service", taken, check=True)["changes"] == []
