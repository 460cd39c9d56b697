"""Tasks as real processes: life cycle, exit codes, secrets, logs, dependencies, health, metadata, signals."""

import json
import os
import re
import time

import psutil
import pytest
from botocore.exceptions import ClientError
from ecs_stack import eventually, stack_fixture  # noqa: F401 - used as `stack`


def pid_of(stack, arn: str, container: str = "main") -> int:
    """The container prints `pid N` first."""
    line = eventually(lambda: [line for line in stack.printed(arn, container) if line.startswith("pid ")])[0]
    return int(line.split()[1])


def alive(pid: int) -> bool:
    """Zombies, which only init can take away, are not alive."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_task_runs_prints_and_stops_with_the_exit_code_of_its_process(stack):
    arn = stack.run(
        stack.register(stack.container("echo out; echo err >&2; printf unfinished; exit 7")), startedBy="me"
    )
    task = stack.reached(arn, "STOPPED")
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert task["containers"][0]["exitCode"] == 7
    assert stack.printed(arn) == ["out", "err", "unfinished"]  # complete by the time the task is STOPPED
    assert task["startedBy"] == "me"
    assert task["createdAt"] <= task["startedAt"] <= task["stoppedAt"]
    assert task["attachments"][0]["type"] == "ElasticNetworkInterface"
    details = {item["name"]: item["value"] for item in task["attachments"][0]["details"]}
    assert details["subnetId"] == stack.subnets[0]
    assert details["privateIPv4Address"]
    assert task["version"] >= 4


def test_task_goes_through_the_statuses_and_is_listed_by_what_it_should_be(stack):
    definition = stack.register()
    arn = stack.run(definition, startedBy="lister")
    assert stack.task(arn)["lastStatus"] in ("PROVISIONING", "PENDING", "RUNNING")
    running = stack.reached(arn, "RUNNING")
    family = definition.rpartition("/")[2].rpartition(":")[0]
    for key, value in (("startedBy", "lister"), ("family", family)):
        assert stack.ecs.list_tasks(cluster=stack.cluster, **{key: value})["taskArns"] == [arn]
    pid = running["containers"][0]["runtimeId"]
    assert pid
    answer = stack.ecs.stop_task(cluster=stack.cluster, task=arn, reason="enough of it")["task"]
    assert answer["desiredStatus"] == "STOPPED"
    task = stack.reached(arn, "STOPPED")
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough of it")
    assert task["containers"][0]["exitCode"] == 143
    assert stack.ecs.list_tasks(cluster=stack.cluster, family=family, desiredStatus="STOPPED")["taskArns"] == [arn]
    with pytest.raises(ClientError, match="cannot specify startedBy with other arguments"):
        stack.ecs.list_tasks(cluster=stack.cluster, startedBy="lister", desiredStatus="STOPPED")


def test_a_task_that_needs_more_memory_than_it_has_loses_its_biggest_process(stack):
    """Only its own death ends the container; that of a child is its parent's business."""
    hungry = "import time; print('x'); held = b'x' * (700 << 20); time.sleep(600)"
    image = "nexus-learn-worker:latest"
    whole = stack.run(stack.register(stack.container(image=image, command=["python", "-c", hungry])))
    child = f'python -c "{hungry}"; echo "the child ended with $?"; exec sleep 600'
    part = stack.run(stack.register(stack.container(child, image=image)))
    (container,) = stack.reached(whole, "STOPPED")["containers"]
    assert (container["exitCode"], container["reason"]) == (
        137,
        "OutOfMemoryError: Container killed due to memory usage",
    )
    assert eventually(lambda: "the child ended with 137" in stack.printed(part))
    assert stack.task(part)["lastStatus"] == "RUNNING"
    stack.ecs.stop_task(cluster=stack.cluster, task=part)


def test_stop_gives_time_to_finish_then_kills_the_whole_group(stack):
    gentle = stack.run(
        stack.register(stack.container("trap 'echo bye; exit 0' TERM; echo pid $$; while :; do sleep 0.1; done"))
    )
    deaf = stack.run(
        stack.register(
            stack.container("trap '' TERM; echo pid $$; sleep 600 & while :; do sleep 0.1; done", stopTimeout=1)
        )
    )
    pids = [pid_of(stack, arn) for arn in (gentle, deaf)]
    children = [child.pid for child in psutil.Process(pids[1]).children(recursive=True)]
    assert children
    for arn in (gentle, deaf):
        stack.ecs.stop_task(cluster=stack.cluster, task=arn)
    assert stack.reached(gentle, "STOPPED")["containers"][0]["exitCode"] == 0
    assert stack.printed(gentle)[-1] == "bye"
    task = stack.reached(deaf, "STOPPED")
    assert task["containers"][0]["exitCode"] == 137
    assert (task["stoppedAt"] - task["stoppingAt"]).total_seconds() >= 1
    assert not [pid for pid in (*pids, *children) if alive(pid)]


def test_environment_is_the_definition_and_the_overrides_and_nothing_of_the_host(stack):
    container = stack.container(
        "env | sort; pwd",
        environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "PORT", "value": "8000"}],
        portMappings=[{"containerPort": 8000}],
        workingDirectory="/usr",
    )
    override = {"name": "main", "environment": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]}
    arn = stack.run(stack.register(container), overrides={"containerOverrides": [override]})
    stack.reached(arn, "STOPPED")
    *lines, folder = stack.printed(arn)
    env = dict(line.split("=", 1) for line in lines)
    assert (env["A"], env["B"], env["C"], folder) == ("1", "3", "4", "/usr")
    assert env["AWS_ENDPOINT_URL"] == stack.sandbox.endpoint
    assert env["AWS_REGION"] == "us-east-1"
    assert 20000 <= int(env["PORT"]) < 32000  # the one port that this task alone listens on
    assert "SANDBOX_HOME" not in env
    assert "VIRTUAL_ENV" not in env
    assert set(env) <= {
        "A", "B", "C", "PORT", "PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "AWS_ENDPOINT_URL", "AWS_REGION",
        "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EXECUTION_ENV",
        "ECS_CONTAINER_METADATA_URI_V4", "ECS_AGENT_URI", "PWD", "OLDPWD", "SHLVL", "_",
    }  # fmt: skip


def test_secrets_arrive_by_key_stage_version_and_parameter_name(stack):
    sm, ssm = stack.sandbox.client("secretsmanager"), stack.sandbox.client("ssm")
    first = sm.create_secret(Name=stack.name("secret"), SecretString=json.dumps({"token": "old", "n": 5}))
    arn = first["ARN"]
    sm.put_secret_value(SecretId=arn, SecretString=json.dumps({"token": "new", "n": 6}))
    parameter = stack.name("/app/parameter")
    ssm.put_parameter(Name=parameter, Value="plain", Type="SecureString")
    plain = sm.create_secret(Name=stack.name("plain"), SecretString="whole")["ARN"]
    wanted = {
        "CURRENT": f"{arn}:token::",
        "NUMBER": f"{arn}:n::",
        "PREVIOUS": f"{arn}:token:AWSPREVIOUS:",
        "VERSION": f"{arn}:token::{first['VersionId']}",
        "WHOLE": plain,
        "PARAMETER": parameter,
        "PARAMETER_ARN": f"arn:aws:ssm:us-east-1:123456789012:parameter{parameter}",
    }
    secrets = [{"name": name, "valueFrom": value} for name, value in wanted.items()]
    arn = stack.run(stack.register(stack.container("env", secrets=secrets)))
    stack.reached(arn, "STOPPED")
    env = dict(line.split("=", 1) for line in stack.printed(arn))
    assert {name: env[name] for name in wanted} == {
        "CURRENT": "new", "NUMBER": "6", "PREVIOUS": "old", "VERSION": "old", "WHOLE": "whole", "PARAMETER": "plain",
        "PARAMETER_ARN": "plain",
    }  # fmt: skip


def test_environment_files_are_read_in_order_and_below_the_definition(stack):
    s3, bucket = stack.sandbox.client("s3"), stack.name("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a.env", Body=b"# comment\nA=1=2\nB=a\nC=a\n")
    s3.put_object(Bucket=bucket, Key="b.env", Body=b"B=b\nD=b")
    files = [{"type": "s3", "value": f"arn:aws:s3:::{bucket}/{key}.env"} for key in "ab"]
    container = stack.container(
        'echo "$A $B $C $D"', environmentFiles=files, environment=[{"name": "C", "value": "own"}]
    )
    arn = stack.run(stack.register(container))
    stack.reached(arn, "STOPPED")
    assert stack.printed(arn) == ["1=2 a own b"]
    files[1]["value"] = f"arn:aws:s3:::{bucket}/none.env"
    task = stack.reached(stack.run(stack.register(container)), "STOPPED")
    assert re.search("ResourceInitializationError: failed to download env files.*NoSuchKey", task["stoppedReason"])


def test_container_with_a_restart_policy_is_started_again_in_the_same_task(stack, sandbox):
    """It must have run for the period, which is a second here, and not end with an exit code that is ignored."""
    period = 60 / sandbox.time_scale
    policy = {"enabled": True, "ignoredExitCodes": [7], "restartAttemptPeriod": 60}
    script = (
        f"echo started; test -e once && {{ sleep {period + 0.3}; exit 7; }}; touch once; sleep {period + 0.3}; exit 3"
    )
    arn = stack.run(stack.register(stack.container(f"cd $TMPDIR; {script}", restartPolicy=policy)))
    task = stack.reached(arn, "STOPPED")
    assert stack.printed(arn) == ["started", "started"]
    assert task["containers"][0]["exitCode"] == 7

    early = stack.run(stack.register(stack.container("echo started; exit 3", restartPolicy=policy)))
    assert stack.reached(early, "STOPPED")["containers"][0]["exitCode"] == 3
    assert stack.printed(early) == ["started"]


def test_task_that_cannot_start_says_why(stack):
    sm = stack.sandbox.client("secretsmanager")
    secret = sm.create_secret(Name=stack.name("keys"), SecretString='{"a": "1"}')["ARN"]
    missing = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nobody-AbCdEf"
    options = {"awslogs-group": "/nobody", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t"}
    init = "ResourceInitializationError: "
    cases = [
        ({"secrets": [{"name": "A", "valueFrom": f"{secret}:b::"}]}, f"{init}.*did not contain json key b"),
        ({"secrets": [{"name": "A", "valueFrom": missing}]}, f"{init}.*ResourceNotFoundException"),
        ({"secrets": [{"name": "A", "valueFrom": "/no/parameter"}]}, f"{init}.*invalid ssm parameters"),
        ({"logConfiguration": {"logDriver": "awslogs", "options": options}},
         f"{init}.*log group does not exist"),
        ({"image": "busybox:missing"}, "CannotPullContainerError: .*busybox:missing: not found"),
        ({"image": "registry.example/other:1"}, "CannotPullContainerError: "),
        ({"command": ["no-such-program"]}, "Task failed to start"),
    ]  # fmt: skip
    arns = [stack.run(stack.register(stack.container(**change))) for change, _ in cases]
    for arn, (change, words) in zip(arns, cases, strict=True):
        task = stack.reached(arn, "STOPPED")
        assert task["stopCode"] == "TaskFailedToStart"
        assert re.search(words, task["stoppedReason"]), (change, task["stoppedReason"])
        assert "exitCode" not in task["containers"][0]
        assert "startedAt" not in task
    assert 'exec: "no-such-program"' in stack.task(arns[-1])["containers"][0]["reason"]
    assert "CannotPullContainerError" in stack.task(arns[-2])["containers"][0]["reason"]


def test_log_group_is_made_where_the_definition_asks_for_it(stack):
    group = stack.name("/made")
    options = {
        "awslogs-group": group,
        "awslogs-region": "us-east-1",
        "awslogs-stream-prefix": "p",
        "awslogs-create-group": "true",
    }
    container = stack.container("echo here", logConfiguration={"logDriver": "awslogs", "options": options})
    arn = stack.run(stack.register(container))
    stack.reached(arn, "STOPPED")
    events = stack.logs.filter_log_events(logGroupName=group)["events"]
    assert [(e["logStreamName"], e["message"]) for e in events] == [(f"p/main/{arn.rpartition('/')[2]}", "here")]


def test_much_output_arrives_whole_and_in_order(stack):
    arn = stack.run(stack.register(stack.container("seq 1 20000")))
    stack.reached(arn, "STOPPED", 40)
    stream, token, lines = f"t/main/{arn.rpartition('/')[2]}", None, []
    while True:
        more = {"nextToken": token} if token else {}
        page = stack.logs.get_log_events(logGroupName=stack.log_group, logStreamName=stream, startFromHead=True, **more)
        lines += [event["message"] for event in page["events"]]
        if not page["events"] or page["nextForwardToken"] == token:
            break
        token = page["nextForwardToken"]
    assert lines == [str(n) for n in range(1, 20001)]


def test_containers_wait_for_what_they_depend_on_and_stop_in_reverse(stack):
    stamp = "date +%s%N"
    containers = [
        stack.container(f"sleep 0.3; {stamp}", name="setup", essential=False),
        stack.container(
            f"trap '{stamp}; exit 0' TERM; touch $HOME/up; {stamp}; while :; do sleep 0.05; done",
            name="proxy",
            dependsOn=[{"containerName": "setup", "condition": "SUCCESS"}],
            healthCheck={"command": ["CMD-SHELL", "test -e $HOME/up"], "interval": 5},
        ),
        stack.container(
            f"trap '{stamp}; exit 0' TERM; {stamp}; while :; do sleep 0.05; done",
            dependsOn=[
                {"containerName": "proxy", "condition": "HEALTHY"},
                {"containerName": "setup", "condition": "COMPLETE"},
            ],
        ),
    ]  # fmt: skip
    arn = stack.run(stack.register(*containers))
    task = stack.reached(arn, "RUNNING")
    assert {c["name"]: c["healthStatus"] for c in task["containers"]} == {
        "setup": "UNKNOWN", "proxy": "HEALTHY", "main": "UNKNOWN",
    }  # fmt: skip
    assert task["healthStatus"] == "HEALTHY"
    eventually(lambda: stack.printed(arn))
    stack.ecs.stop_task(cluster=stack.cluster, task=arn)
    stack.reached(arn, "STOPPED")
    times = {name: [int(line) for line in stack.printed(arn, name)] for name in ("setup", "proxy", "main")}
    assert times["setup"][0] < times["proxy"][0] < times["main"][0]
    assert times["main"][1] < times["proxy"][1]


def test_dependency_that_fails_or_takes_too_long_stops_the_task(stack):
    def pair(script: str, condition: str, **more) -> list[dict]:
        return [
            stack.container(script, name="first", essential=False, **more),
            stack.container(dependsOn=[{"containerName": "first", "condition": condition}]),
        ]

    failed = stack.run(stack.register(*pair("exit 3", "SUCCESS")))
    late = stack.run(stack.register(*pair("exec sleep 600", "COMPLETE", startTimeout=2)))
    assert "did not reach SUCCESS before it exited with 3" in stack.reached(failed, "STOPPED")["stoppedReason"]
    assert "within its startTimeout of 2 s" in stack.reached(late, "STOPPED")["stoppedReason"]
    assert "exitCode" not in stack.task(failed)["containers"][1]


def test_container_that_is_not_essential_may_end(stack):
    arn = stack.run(stack.register(stack.container(), stack.container("exit 4", name="side", essential=False)))
    stack.reached(arn, "RUNNING")
    eventually(lambda: stack.task(arn)["containers"][1].get("exitCode") == 4)
    time.sleep(0.5)  # long enough for a wrong reaction
    assert stack.task(arn)["lastStatus"] == "RUNNING"


def test_metadata_endpoint_tells_a_task_about_itself(stack):
    script = """python3 -c "
import json, os, urllib.request as u
base = os.environ['ECS_CONTAINER_METADATA_URI_V4']
print(json.dumps([json.load(u.urlopen(base + path)) for path in ('', '/task')]))
" """
    definition = stack.register(stack.container(script))
    arn = stack.run(definition)
    stack.reached(arn, "STOPPED")
    container, task = json.loads(stack.printed(arn)[0])
    assert container["Name"] == "main"
    assert container["Labels"]["com.amazonaws.ecs.task-arn"] == arn
    assert task["TaskARN"] == arn
    assert task["Limits"] == {"CPU": 0.25, "Memory": 512}
    assert definition.endswith(f"{task['Family']}:{task['Revision']}")


def test_several_tasks_have_host_names_of_their_own(stack):
    definition = stack.register(stack.container("hostname"))
    arns = [stack.run(definition) for _ in range(2)]
    names = set()
    for arn in arns:
        stack.reached(arn, "STOPPED")
        names.update(stack.printed(arn))
    assert len(names) == (2 if os.getuid() == 0 else len(names))


def test_the_same_client_token_starts_no_second_task(stack):
    definition = stack.register()
    first, second, other = (stack.run(definition, clientToken=token) for token in ("a-token", "a-token", "another"))
    assert first == second != other
