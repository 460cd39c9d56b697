"""Deployments that do not come true: the message tells why, the old version serves on, the next run tries again."""

import time

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from botocore.client import BaseClient
from ecs_examples import LOOP, Stack

CRASH = "echo before the end; echo cannot find the broker >&2; exit 3"


@pytest.fixture(scope="module")
def stack(sandbox):
    return Stack(sandbox)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ecs_rollout, "PAUSE", 0.1)


def container(args):
    return args["services"][0]["task_definition"]["containers"][0]


def crash_on_start(args):
    container(args)["command"] = ["sh", "-c", CRASH]


def crash_after_five_seconds(args):
    # Before it is healthy; without a health check a task that runs is a healthy one to ECS, and the deployment is over.
    container(args)["command"] = ["sh", "-c", f"sleep 5; {CRASH}"]
    container(args)["health_check"] = {"command": ["CMD-SHELL", "exit 1"], "interval": 60, "timeout": 2, "retries": 1}


def never_healthy(args):
    container(args)["command"] = ["sh", "-c", f"echo cannot find the broker; {LOOP}"]
    container(args)["health_check"] = {"command": ["CMD-SHELL", "exit 1"], "interval": 5, "timeout": 2, "retries": 1}


def image_missing(args):
    container(args)["image"] = "nexus-learn-worker:missing"


def secret_missing(args):
    container(args)["secrets"] = {"TOKEN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:nobody-AbCdEf"}


CASES = {
    crash_on_start: ["exit code 3", "cannot find the broker", "EssentialContainerExited"],
    crash_after_five_seconds: ["exit code 3", "cannot find the broker"],
    never_healthy: ["failed container health checks", "health UNHEALTHY", "cannot find the broker"],
    image_missing: ["CannotPullContainerError", "nexus-learn-worker:missing"],
    secret_missing: ["nobody-AbCdEf", "ResourceInitializationError"],
}


@pytest.fixture(scope="module")
def deployed():
    return {}


# The circuit breaker wants three failures; where each takes seconds they come from three tasks at once.
COUNT = {never_healthy: 3, crash_after_five_seconds: 3}


def name_of(breaking):
    return breaking.__name__.replace("_", "-")


@pytest.fixture
def broken(module, stack, deployed):
    """The arguments and the message of one roll-out of six services, five of which break; made once."""
    if not deployed:
        services = {
            name_of(breaking): stack.service(name_of(breaking), desired_count=COUNT.get(breaking, 1))
            for breaking in CASES
        }
        args = stack.args(*services.values(), stack.service("fine"))
        module("ecs_service", args)
        deployed["tasks"] = {name: running(stack, name) for name in services}
        for service, breaking in zip(args["services"], CASES, strict=False):
            breaking({"services": [service]})
        args["services"][-1]["task_definition"]["containers"][0]["environment"]["A"] = "2"
        deployed |= {"args": args, "message": module("ecs_service", args, expect_failure=True)["msg"]}
    return deployed


def running(stack, name):
    return sorted(stack.ecs.list_tasks(cluster=stack.cluster, serviceName=name)["taskArns"])


@pytest.mark.parametrize("breaking", CASES, ids=name_of)
def test_the_failure_is_told_and_the_old_version_serves_on(module, stack, broken, breaking):
    name = name_of(breaking)
    family = f"{stack.cluster}-{name}"
    account = next(part for part in broken["message"].split("\nservice ") if part.startswith(f"{name}: "))
    for part in CASES[breaking]:
        assert part in account
    assert f"of {family}:2 failed" in account
    count = COUNT.get(breaking, 1)
    assert f"serving now: {family}:1 ({count} of {count} tasks)" in account
    assert running(stack, name) == broken["tasks"][name], "no old task was stopped"

    # ECS rolled back, so the next run sees the difference, and takes the revision that is there
    foretold = module("ecs_service", broken["args"], check=True)
    assert foretold["changed"]
    assert foretold["services"][name]["revision"] == 2


def test_the_others_are_through(stack, broken):
    assert broken["message"].startswith("5 of 6 services")
    assert "run the same command again" in broken["message"]
    assert "service fine" not in broken["message"]
    assert stack.describe("fine")["taskDefinition"].endswith("fine:2")


def test_the_next_run_tries_again_with_the_same_revision(module, stack, tmp_path):
    """The cause lies outside the task definition: nothing differs, and yet there is something to do."""
    flag = tmp_path / "there"
    script = f"test -e {flag} || exit 4; {LOOP}"
    args = stack.args(stack.service("retry"))
    module("ecs_service", args)
    container(args)["command"] = ["sh", "-c", script]
    # one whose new version fails, and one whose very first deployment does
    args["services"].append(stack.service("first", script))
    message = module("ecs_service", args, expect_failure=True)["msg"]
    assert message.count("exit code 4") == 2
    assert "serving now: nothing" in message
    assert f"serving now: {stack.cluster}-retry:1" in message

    flag.touch()
    changes = module("ecs_service", args, check=True)["changes"]
    assert [(c["path"], c["before"]) for c in changes if c["resource"] == "service first"] == [("rollout", "FAILED")]
    result = module("ecs_service", args)
    assert result["services"]["retry"]["revision"] == stack.revisions("retry") == 2
    assert result["services"]["first"]["revision"] == stack.revisions("first") == 1
    assert module("ecs_service", args)["changes"] == []


def test_a_timeout_says_where_things_stand(module, stack):
    args = stack.args(stack.service("slow", circuit_breaker={"enable": False, "rollback": False}))
    module("ecs_service", args)
    container(args)["command"] = ["sh", "-c", CRASH]
    message = module("ecs_service", {**args, "wait_timeout": 3}, expect_failure=True)["msg"]
    assert "not finished after 3 s (wait_timeout)" in message
    assert "exit code 3" in message
    assert f"{stack.cluster}-slow:1" in message


def test_somebody_elses_deployment_is_not_taken_for_ours(module, stack, monkeypatch):
    args = stack.args(stack.service("overtaken"))
    module("ecs_service", args)
    container(args)["environment"]["A"] = "2"
    original = ecs_rollout.follow

    def follow(*given, **named):
        stack.ecs.update_service(
            cluster=stack.cluster, service="overtaken", taskDefinition=f"{stack.cluster}-overtaken:1"
        )
        return original(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ecs_rollout, "follow", follow)
        message = module("ecs_service", args, expect_failure=True)["msg"]
    assert "was overtaken" in message
    assert f"{stack.cluster}-overtaken:1 took its place" in message


def migrating(stack, name, command, version):
    """A service, its container's version, and a command before it."""
    before = {"command": ["sh", "-c", command], "wait_timeout": 60}
    return stack.args(stack.service(name, run_task_before=before, container={"environment": {"A": version}}))


def begun_before(stack, name):
    arns = stack.ecs.list_tasks(cluster=stack.cluster, family=f"{stack.cluster}-{name}", desiredStatus="STOPPED")
    tasks = stack.ecs.describe_tasks(cluster=stack.cluster, tasks=arns["taskArns"])["tasks"] if arns["taskArns"] else []
    return [task for task in tasks if task["startedBy"].startswith("before/")]


def test_the_task_before_a_deployment_decides(quartet, module, stack, capsys):
    quartet("ecs_service", migrating(stack, "migrated", "echo columns are there: $A", "1"))
    assert "columns are there: 1" in capsys.readouterr().out
    assert len(begun_before(stack, "migrated")) == 1
    message = module(
        "ecs_service", migrating(stack, "migrated", "echo no such table; exit 7", "2"), expect_failure=True
    )
    assert "nothing was deployed" in message["msg"]
    assert "no such table" in message["msg"]
    assert "exit code 7" in message["msg"]
    assert stack.describe("migrated")["taskDefinition"].endswith(":1")
    done = quartet("ecs_service", migrating(stack, "migrated", "echo columns are there: $A", "2"))
    assert [change["after"] for change in done["changes"] if change["path"] == "run_task_before"]
    assert "columns are there: 2" in capsys.readouterr().out
    assert stack.describe("migrated")["taskDefinition"].endswith(":2")
    # what is no new revision needs none
    args = migrating(stack, "migrated", "exit 1", "2")
    args["services"][0]["subnets"] = stack.subnets[:1]
    quartet("ecs_service", args)


def test_a_task_that_a_stopped_run_began_is_not_begun_again(module, stop_at, stack, tmp_path):
    go = tmp_path / "go"
    args = migrating(stack, "taken-up", f"while ! test -e {go}; do sleep 0.1; done; echo once", "1")
    stop_at("ecs_service", "RunTask", args)
    go.touch()
    assert module("ecs_service", args)["changed"]
    assert len(begun_before(stack, "taken-up")) == 1
    args["services"][0]["task_definition"]["containers"][0]["environment"]["A"] = "2"
    stop_at("ecs_service", "UpdateService", args)  # it is over, and what was to come after it has been begun
    assert not module("ecs_service", args)["changed"]
    assert len(begun_before(stack, "taken-up")) == 2


def test_a_task_that_stops_while_tasks_are_listed_is_seen(stack, sandbox, monkeypatch):
    """Asked for the stopped ones first, or for both at once, ECS shows it in neither list."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", sandbox.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sandbox")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sandbox")
    definition = stack.ecs.register_task_definition(
        family=f"{stack.cluster}-stops",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "main", "image": "nexus-learn-worker:1", "command": ["sh", "-c", LOOP]}],
    )["taskDefinition"]
    network = {"awsvpcConfiguration": {"subnets": stack.subnets[:1]}}
    (task,) = stack.ecs.run_task(
        cluster=stack.cluster,
        taskDefinition=definition["taskDefinitionArn"],
        launchType="FARGATE",
        networkConfiguration=network,
    )["tasks"]
    original = BaseClient._make_api_call

    def stop_after_the_first_list(self, operation, arguments):
        answer = original(self, operation, arguments)
        if operation == "ListTasks":
            original(stack.ecs, "StopTask", {"cluster": stack.cluster, "task": task["taskArn"]})
        return answer

    monkeypatch.setattr(BaseClient, "_make_api_call", stop_after_the_first_list)
    aws = Aws({"region": "us-east-1"})
    found = ecs_rollout.read_tasks(aws, stack.cluster, family=definition["family"])
    assert [(one["taskArn"], one["desiredStatus"]) for one in found] == [(task["taskArn"], "STOPPED")]


def ring(sandbox, name, state):
    cloudwatch = sandbox.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="nobody",
        MetricName="nothing",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )
    cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")


def test_a_healthy_version_under_which_an_alarm_rings_is_rolled_back(module, stack, sandbox, monkeypatch, tmp_path):
    ring(sandbox, "failure-share", "OK")
    rung = tmp_path / "rung"
    # the deployment is not over before the old task has ended, and that waits for the alarm
    script = f"trap 'while ! test -e {rung}; do sleep 0.1; done; exit 0' TERM; while :; do sleep 0.1; done"
    alarms = {"alarm_names": ["failure-share"], "enable": True, "rollback": True}
    args = stack.args(stack.service("ringing", script, container={"stop_timeout": 60}, deployment_alarms=alarms))
    module("ecs_service", args)
    container(args)["environment"]["A"] = "2"
    original = ecs_rollout.follow

    def follow(*given, **named):
        while not ecs_rollout.primary(stack.describe("ringing"))["runningCount"]:
            time.sleep(0.1)
        ring(sandbox, "failure-share", "ALARM")
        rung.touch()
        return original(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ecs_rollout, "follow", follow)
        message = module("ecs_service", args, expect_failure=True)["msg"]
    assert "alarm detected" in message
    assert f"serving now: {stack.cluster}-ringing:1 (1 of 1 tasks)" in message


def test_no_version_is_begun_while_its_alarm_rings(module, stack, sandbox, calls):
    """ECS would watch no alarm in that deployment."""
    ring(sandbox, "too-slow", "ALARM")
    quiet = stack.service("quiet")
    args = stack.args(quiet)
    module("ecs_service", args)
    alarms = {"alarm_names": ["too-slow"], "enable": True, "rollback": True}
    args["services"][0]["deployment_alarms"] = alarms
    module("ecs_service", args)  # the alarm itself is no new version
    container(args)["environment"]["A"] = "2"
    first = stack.args(stack.service("first-under-alarm", deployment_alarms=alarms))
    for asked in (args, first):
        for check in (True, False):
            calls.clear()
            result = module("ecs_service", asked, check=check, expect_failure=True)
            assert result["refused"]
            assert "too-slow is in the state ALARM" in result["msg"]
            assert "deployment_alarms" in result["msg"]
            assert calls.writes == []
    ring(sandbox, "too-slow", "OK")
    assert module("ecs_service", args)["changed"]


def test_a_roll_back_that_fails_too_says_that_nothing_serves(module, stack, tmp_path):
    there = tmp_path / "there"
    there.touch()
    # the old version cannot start again either, and its task ends while the new one fails
    args = stack.args(
        stack.service("twice", f"while test -e {there}; do sleep 0.1; done; echo old version gone; exit 5")
    )
    module("ecs_service", args)
    container(args)["command"] = ["sh", "-c", f"rm -f {there}; {CRASH}"]
    message = module("ecs_service", args, expect_failure=True)["msg"]
    assert "exit code 3" in message
    assert "cannot find the broker" in message
    assert "serving now: nothing, no task is running" in message
    there.touch()
    container(args)["command"] = ["sh", "-c", LOOP]
    assert module("ecs_service", args)["changed"]
    assert stack.describe("twice")["runningCount"] == 1


REFUSALS = {
    "cpu and memory": (lambda s: s["task_definition"].update(cpu="256", memory="4096"), "cpu 256 with memory 4096"),
    "subnets": (lambda s: s.update(subnets=["subnet-0000"]), "Check subnets"),
    "security groups": (lambda s: s.update(security_groups=["sg-0000"]), "Check security_groups"),
    "target group": (
        lambda s: s.update(
            load_balancers=[{"target_group_arn": "arn:none", "container_name": "main", "container_port": 8000}]
        ),
        "Check load_balancers",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_aws_refuses_names_the_option(module, stack, what):
    change, hint = REFUSALS[what]
    service = stack.service(
        what.replace(" ", "-"), desired_count=0, container={"port_mappings": [{"container_port": 8000}]}
    )
    change(service)
    message = module("ecs_service", stack.args(service), expect_failure=True)["msg"]
    assert hint in message
    assert f"service {what.replace(' ', '-')}: " in message
