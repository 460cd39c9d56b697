"""What is done with services that are deployed already: seen, read, scaled, restarted, rolled back, run beside."""

import json
import time

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import aws, ecs_rollout, engine
from botocore.client import BaseClient
from ecs_examples import LOOP, TAGS, Stack

NAMING = "v-*-s"
TALK = f"echo hello of $HOSTNAME; echo ERROR of $HOSTNAME; {LOOP}"


@pytest.fixture(scope="module")
def flag(tmp_path_factory):
    """While it is there, what looks for it comes up."""
    flag = tmp_path_factory.mktemp("verbs") / "flag"
    flag.touch()
    return flag


@pytest.fixture(scope="module")
def shared(sandbox):
    return Stack(sandbox)


@pytest.fixture
def stack(shared, module, flag, monkeypatch):
    """Services that all tests share, deployed by the first of them; each is changed by one test only."""
    monkeypatch.setattr(ecs_rollout, "PAUSE", 0.2)
    if not hasattr(shared, "services"):
        shared.services = [
            shared.service("v-seen-s", TALK, container=talking(shared, "busybox:1")),
            shared.service("v-count-s"),
            shared.service("v-alone-s"),
            shared.service(
                "v-again-s",
                f"test -e {flag} || exit 4; {LOOP}",
                minimum_healthy_percent=0,
                maximum_percent=100,
                availability_zone_rebalancing="DISABLED",
            ),
            shared.service("v-back-s", container={"image": "busybox:1"}),
            shared.service("v-stuck-s", container={"image": "busybox:1"}),
        ]
        module("ecs_service", shared.args(*shared.services))
        shared.scaler = shared_scaler(shared)
    return shared


def talking(stack, image):
    """Of a container with a log group of its own."""
    group = f"{stack.log_group}-seen"
    if not stack.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        stack.logs.create_log_group(logGroupName=group)
    options = {"awslogs-group": group, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t"}
    return {"image": image, "log_configuration": {"log_driver": "awslogs", "options": options}}


def shared_scaler(stack):
    client = stack.sandbox_client("application-autoscaling")
    client.register_scalable_target(
        ServiceNamespace="ecs", ResourceId=f"service/{stack.cluster}/v-count-s",
        ScalableDimension="ecs:service:DesiredCount", MinCapacity=1, MaxCapacity=2,
    )  # fmt: skip
    return client


@pytest.fixture
def verb(module, stack):
    def call(name, **more):
        kwargs = {key: more.pop(key) for key in ("check", "expect_failure") if key in more}
        return module(name, {"cluster": stack.cluster, "naming": NAMING, **more}, **kwargs)

    return call


def foretold(verb, calls, name, **args):
    """What a check says, which writes nothing, and then what a run does; both plans are the same."""
    calls.clear()
    check = verb(name, check=True, **args)
    assert calls.writes == []
    done = verb(name, **args)
    assert check["changes"] == done["changes"]
    assert set(check) == set(done)
    return done


def test_who_is_not_there_is_told_who_is(verb, module, stack):
    for name in ("ecs_service_status", "ecs_task_logs"):
        message = verb(name, services=["nobody"], expect_failure=True)["msg"]
        assert message == f"There is no service nobody in {stack.cluster}; there are: " + (
            "again, alone, back, count, seen, stuck."
        )
    message = module("ecs_service_status", {"cluster": "nowhere"}, expect_failure=True)["msg"]
    assert "deploy it with site.yml first" in message


def test_status(verb, stack):
    status = verb("ecs_service_status")
    found = {service["name"]: service for service in status["services"]}
    assert sorted(found) == ["again", "alone", "back", "count", "seen", "stuck"]
    seen = found["seen"]
    assert (seen["running"], seen["desired"], seen["scaler"]) == (1, 1, None)
    assert found["count"]["scaler"] == {"min": 1, "max": 2}
    (deployment,), (task,) = seen["deployments"], seen["tasks"]
    assert (deployment["state"], deployment["image"]) == ("COMPLETED", "busybox:1")
    assert task["task_definition"] == deployment["task_definition"] == f"{stack.cluster}-v-seen-s:1"
    assert (task["status"], task["zone"], task["enable_execute_command"]) == ("RUNNING", "us-east-1a", False)
    assert len(seen["events"]) <= 5
    assert any(line.startswith("count: 1 of 1 running; scaler 1 to 2") for line in status["lines"])
    assert any(task["id"] in line and "RUNNING" in line for line in status["lines"])


def test_alarms_that_ring_are_named_and_those_of_target_tracking_are_not(verb, stack):
    client = stack.sandbox_client("cloudwatch")
    names = [f"{stack.cluster}-full", f"TargetTracking-{stack.cluster}"]
    for name in names:
        client.put_metric_alarm(
            AlarmName=name, Namespace="t", MetricName="t", Period=60, EvaluationPeriods=1, Statistic="Sum",
            Threshold=1, ComparisonOperator="GreaterThanThreshold", ActionsEnabled=False,
            TreatMissingData="breaching",  # whenever it is evaluated, it goes on ringing
        )  # fmt: skip
        client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="too much")
    status = verb("ecs_service_status", services=["seen"], alarm_name_prefix=f"{stack.cluster}-")
    client.delete_alarms(AlarmNames=names)
    assert [alarm["name"] for alarm in status["alarms"]] == names[:1]
    assert status["lines"][-1].startswith(f"ALARM {names[0]} since ")


def test_logs_are_in_order_and_say_whose_they_are(verb, stack):
    """And a read whose answer is lost is asked for again, as one that changes something would not be."""
    assert "FilterLogEvents".startswith(aws.READS)
    found = []
    while len(found) < 2:  # the awslogs driver sends in batches
        found = verb("ecs_task_logs", since="1h")["events"]
        time.sleep(0.1)
    assert [event["message"].split()[0] for event in found] == ["hello", "ERROR"]
    assert {event["service"] for event in found} == {"seen"}
    (task,) = verb("ecs_service_status", services=["seen"])["services"][0]["tasks"]
    assert {event["task"] for event in found} == {task["id"]}
    filtered = verb("ecs_task_logs", services=["seen", "alone"], since="1h", filter="ERROR")
    assert [line.split()[1:3] for line in filtered["lines"]] == [[f"seen/{task['id'][:8]}", "ERROR"]]
    assert len(verb("ecs_task_logs", since="1h", lines=1)["lines"]) == 1
    stack.logs.create_log_stream(logGroupName=stack.log_group, logStreamName="t/main/0123456789ab")
    stack.logs.put_log_events(
        logGroupName=stack.log_group,
        logStreamName="t/main/0123456789ab",
        logEvents=[{"timestamp": int(time.time() * 1000), "message": "of either"}],
    )
    (line,) = verb("ecs_task_logs", services=["count", "back"])["lines"]
    assert line.endswith("Z back,count/01234567 of either")
    assert "10m, 2h" in verb("ecs_task_logs", since="soon", expect_failure=True)["msg"]


def test_count_within_the_limits(verb, calls, stack):
    args = {"service": "count", "count": 2, "tags": TAGS, "wait_timeout": 60}
    done = foretold(verb, calls, "ecs_service_count", **args)
    assert [(c["path"], c["before"], c["after"]) for c in done["changes"]] == [("desired_count", 1, 2)]
    assert done["limits"] == {"min_capacity": 1, "max_capacity": 2}
    service = stack.describe("v-count-s")
    assert (service["desiredCount"], service["runningCount"]) == (2, 2)
    calls.clear()
    assert verb("ecs_service_count", **args)["changes"] == []
    assert calls.writes == []


def test_count_beyond_the_limits_is_refused_or_moves_them(verb, calls, stack):
    args = {"service": "count", "tags": TAGS, "wait_timeout": 60}
    calls.clear()
    for count in (3, 0):
        message = verb("ecs_service_count", count=count, expect_failure=True, **args)["msg"]
        assert "from 1 to 2" in message
        assert "move_limits=true" in message
    assert "allowed: 0 or more" in verb("ecs_service_count", count=-1, expect_failure=True, **args)["msg"]
    assert calls.writes == []
    done = foretold(verb, calls, "ecs_service_count", count=3, move_limits=True, **args)
    assert [(c["path"], c["after"]) for c in done["changes"]] == [("max_capacity", 3), ("desired_count", 3)]
    (target,) = stack.scaler.describe_scalable_targets(
        ServiceNamespace="ecs", ResourceIds=[f"service/{stack.cluster}/v-count-s"]
    )["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)
    assert stack.describe("v-count-s")["runningCount"] == 3


def test_count_without_a_scaler_down_to_none(verb, calls, stack):
    done = foretold(verb, calls, "ecs_service_count", service="alone", count=0, tags=TAGS, wait_timeout=60)
    assert done["limits"] is None
    assert stack.describe("v-alone-s")["runningCount"] == 0


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("ecs_service_count", {"service": "seen", "count": 2}),
        ("ecs_service_deployment", {"services": ["seen"], "state": "restarted"}),
        ("ecs_service_deployment", {"services": ["seen"], "state": "rolled_back", "to": "1"}),
        ("ecs_task_run", {"service": "seen", "command": ["true"]}),
    ],
)
def test_another_stack_s_service_is_not_touched(verb, calls, name, args):
    calls.clear()
    message = verb(name, tags={**TAGS, "Environment": "other"}, expect_failure=True, **args)["msg"]
    assert "service v-seen-s exists and belongs to somebody else" in message
    assert calls.writes == []


def test_restart_replaces_the_tasks_and_a_failed_one_says_why(verb, calls, stack, flag):
    args = {"services": ["again"], "state": "restarted", "tags": TAGS, "wait_timeout": 60}
    (before,) = stack.describe("v-again-s")["deployments"]
    done = foretold(verb, calls, "ecs_service_deployment", **args)
    (change,) = done["changes"]
    assert (change["resource"], change["path"]) == ("service v-again-s", "deployment")
    assert (change["impact"], "none runs for about a minute" in change["note"]) == ("disruptive", True)
    (after,) = stack.describe("v-again-s")["deployments"]
    assert (after["id"] != before["id"], after["taskDefinition"]) == (True, before["taskDefinition"])
    flag.unlink()
    message = verb("ecs_service_deployment", expect_failure=True, **args)["msg"]
    flag.touch()
    assert "service v-again-s: deployment" in message
    assert "exit code 4" in message


def test_back_to_the_previous_one_to_a_tag_and_to_a_number(verb, module, calls, stack):
    args = {"services": ["back"], "state": "rolled_back", "tags": TAGS, "wait_timeout": 60}
    message = verb("ecs_service_deployment", expect_failure=True, **args)["msg"]
    family = f"{stack.cluster}-v-back-s"
    assert f"there is no earlier one. There are: {family}:1 (busybox:1)." in message
    module("ecs_service", stack.args(stack.service("v-back-s", container={"image": "busybox:2"})))
    done = foretold(verb, calls, "ecs_service_deployment", **args)
    assert [(c["path"], c["before"], c["after"]) for c in done["changes"]] == [
        ("task_definition", f"{family}:2", f"{family}:1"),
        ("image", "busybox:2", "busybox:1"),
    ]
    assert done["services"]["back"]["task_definition"] == f"{family}:1"
    (deployment,) = stack.describe("v-back-s")["deployments"]
    assert (deployment["rolloutState"], deployment["taskDefinition"][-2:]) == ("COMPLETED", ":1")
    for to, number in ((":2", "2"), ("1", "1")):
        verb("ecs_service_deployment", to=to, **args)
        assert stack.describe("v-back-s")["taskDefinition"].endswith(f":{number}")
    calls.clear()
    assert verb("ecs_service_deployment", to="1", **args)["changes"] == []
    assert calls.writes == []
    message = verb("ecs_service_deployment", to="v9", expect_failure=True, **args)["msg"]
    assert "no one with the image v9" in message
    assert f"{family}:2 (busybox:2)" in message
    assert "no such revision" in verb("ecs_service_deployment", to="99", expect_failure=True, **args)["msg"]
    stack.ecs.deregister_task_definition(taskDefinition=f"{family}:2")
    assert "deregistered" in verb("ecs_service_deployment", expect_failure=True, **args)["msg"]


def test_a_deployment_in_flight_is_stopped(verb, calls, stack):
    """It would go on for an hour: its health check does not count before that."""
    family = f"{stack.cluster}-v-stuck-s"
    described = stack.ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    (container,) = described["containerDefinitions"]
    stuck = {"command": ["CMD", "false"], "startPeriod": 300, "interval": 300, "timeout": 5, "retries": 10}
    arn = stack.ecs.register_task_definition(
        family=family, cpu="256", memory="512", networkMode="awsvpc", requiresCompatibilities=["FARGATE"],
        executionRoleArn=described["executionRoleArn"],
        containerDefinitions=[{**container, "image": "busybox:2", "healthCheck": stuck}],
    )["taskDefinition"]["taskDefinitionArn"]  # fmt: skip
    stack.ecs.update_service(cluster=stack.cluster, service="v-stuck-s", taskDefinition=arn)
    args = {"services": ["stuck"], "state": "rolled_back", "tags": TAGS, "wait_timeout": 60}
    done = foretold(verb, calls, "ecs_service_deployment", **args)
    assert ("ecs", "StopServiceDeployment") in calls.writes
    assert [(c["path"], c["after"]) for c in done["changes"]] == [
        ("deployment", "stopped and rolled back"),
        ("task_definition", f"{family}:1"),
        ("image", "busybox:1"),
    ]
    (deployment,) = stack.describe("v-stuck-s")["deployments"]
    assert (deployment["rolloutState"], deployment["taskDefinition"][-2:]) == ("COMPLETED", ":1")


def test_a_command_runs_beside_a_service_and_its_exit_code_decides(verb, calls, stack, capsys):
    args = {"service": "seen", "tags": TAGS, "wait_timeout": 60, "environment": {"WORD": "secret"}}
    done = foretold(verb, calls, "ecs_task_run", command=["sh", "-c", "echo one; sleep 0.5; echo $WORD $A"], **args)
    assert (done["exit_code"], done["log"]) == (0, ["one", "secret 1"])
    assert capsys.readouterr().out.index("one") >= 0
    assert "secret" not in json.dumps(done["changes"])
    (task,) = stack.ecs.describe_tasks(cluster=stack.cluster, tasks=[done["task"]], include=["TAGS"])["tasks"]
    assert {tag["key"]: tag["value"] for tag in task["tags"]} == TAGS
    assert task["taskDefinitionArn"].endswith("v-seen-s:1")
    assert stack.describe("v-seen-s")["desiredCount"] == 1
    message = verb("ecs_task_run", command=["sh", "-c", "echo broken; exit 3"], expect_failure=True, **args)["msg"]
    assert "exit code 3" in message
    assert message.endswith("  broken")
    message = verb("ecs_task_run", command=["true"], container="x", expect_failure=True, **args)["msg"]
    assert "container is x; allowed with seen: main." in message


def test_a_command_runs_in_an_image_that_the_next_deployment_takes_over(verb, module, calls, stack):
    args = {"service": "seen", "command": ["echo", "x"], "image": "busybox:2", "tags": TAGS, "wait_timeout": 60}
    done = foretold(verb, calls, "ecs_task_run", **args)
    family = f"{stack.cluster}-v-seen-s"
    assert [c["resource"] for c in done["changes"]] == [f"task definition {family}:2", "task beside seen"]
    assert done["task_definition"] == f"{family}:2"
    assert stack.describe("v-seen-s")["taskDefinition"].endswith(":1")
    assert verb("ecs_task_run", **args)["task_definition"] == f"{family}:2"
    module("ecs_service", stack.args(stack.service("v-seen-s", TALK, container=talking(stack, "busybox:2"))))
    assert stack.describe("v-seen-s")["taskDefinition"].endswith(":2")
    assert stack.revisions("v-seen-s") == 2


@pytest.mark.parametrize(
    ("operation", "name", "args"),
    [
        ("RunTask", "ecs_task_run", {"service": "seen", "command": ["echo", "x"]}),
        ("UpdateService", "ecs_service_deployment", {"services": ["again"], "state": "restarted"}),
    ],
)
def test_what_is_started_is_not_started_again_when_its_answer_is_lost(verb, calls, monkeypatch, operation, name, args):
    monkeypatch.setattr(engine, "_LONGEST_PAUSE", 0)
    original, lost = BaseClient._make_api_call, []

    def call(self, made, given):
        answer = original(self, made, given)
        if made == operation and not lost:
            lost.append(made)
            raise aws.WriteUnanswered(operation=made, reason="a test")
        return answer

    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", call)
        verb(name, tags=TAGS, wait_timeout=60, **args)
    assert lost == [operation]
    assert [made for _, made in calls.writes] == [operation]
