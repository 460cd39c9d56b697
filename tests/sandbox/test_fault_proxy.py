"""The proxy that slows, throttles, breaks and hangs API calls, seen through boto3."""

import contextlib
import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.retries.standard import ThrottledRetryableChecker
from ecs_stack import Stack, eventually

from sandbox.faults import Faults


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(60.0, "--latency", "0ms")


@pytest.fixture
def stack(sandbox):
    stack = Stack(sandbox)
    yield stack
    stack.close()


def client(sandbox, service, **config):
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=sandbox.endpoint,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
        config=Config(proxies={}, **{"retries": {"total_max_attempts": 1}, **config}),
    )


CALLS = {
    "ec2": ("describe_vpcs", "RequestLimitExceeded"),
    "ecs": ("list_clusters", "ThrottlingException"),
    "iam": ("list_roles", "Throttling"),
    "elbv2": ("describe_load_balancers", "Throttling"),
    "elasticache": ("describe_replication_groups", "Throttling"),
    "logs": ("describe_log_groups", "ThrottlingException"),
    "secretsmanager": ("list_secrets", "ThrottlingException"),
    "cloudwatch": ("describe_alarms", "ThrottlingException"),
    "kms": ("list_keys", "ThrottlingException"),
    "sns": ("list_topics", "Throttling"),
    "sts": ("get_caller_identity", "Throttling"),
    "s3": ("list_buckets", "SlowDown"),
}


@pytest.mark.parametrize("service", CALLS)
def test_each_service_throttles_in_its_own_words(sandbox, service):
    operation, code = CALLS[service]
    sandbox.faults(throttle=1)
    with pytest.raises(ClientError) as error:
        getattr(client(sandbox, service), operation)()
    assert error.value.response["Error"]["Code"] == code
    assert code in ThrottledRetryableChecker._THROTTLED_ERROR_CODES
    sandbox.faults()
    assert getattr(client(sandbox, service), operation)()["ResponseMetadata"]["HTTPStatusCode"] == 200


def attempts(sandbox, kind, error, count=12, **config):
    """Create log groups; return the errors, and which of the groups are there all the same."""
    sandbox.faults(**{kind: 1})
    names = [f"/{kind}/{number}" for number in range(count)]
    met = []
    for name in names:
        with pytest.raises(error) as caught:
            client(sandbox, "logs", **config).create_log_group(logGroupName=name)
        met.append(caught.value)
    logs = sandbox.client("logs")
    there = {group["logGroupName"] for group in logs.describe_log_groups(logGroupNamePrefix=f"/{kind}/")["logGroups"]}
    assert sandbox.ask("faults")["done"] == {kind: count}
    return met, [name in there for name in names]


def test_an_error_strikes_before_or_after_the_call_is_carried_out(sandbox):
    met, there = attempts(sandbox, "errors", ClientError)
    statuses = [error.response["ResponseMetadata"]["HTTPStatusCode"] for error in met]
    assert [status == 500 for status in statuses] == there
    assert set(statuses) == {500, 503}


def test_a_reset_strikes_before_or_after(sandbox):
    met, there = attempts(sandbox, "resets", ConnectionClosedError)
    assert all("Connection reset by peer" in str(error.kwargs["error"]) for error in met)
    assert set(there) == {True, False}


def test_a_call_that_hangs_is_carried_out_or_not(sandbox):
    _, there = attempts(sandbox, "hangs", ReadTimeoutError, count=6, read_timeout=0.5)
    assert set(there) == {True, False}


def test_a_throttled_call_is_not_carried_out(sandbox):
    _, there = attempts(sandbox, "throttle", ClientError)
    assert set(there) == {False}


def test_calls_wait_side_by_side(sandbox):
    """All of them have begun while none has been answered."""
    sandbox.faults(latency=30)

    def call(_):
        with pytest.raises(ReadTimeoutError):
            client(sandbox, "sts", read_timeout=3).get_caller_identity()

    with ThreadPoolExecutor(20) as pool:
        calls = list(map(pool.submit, [call] * 20, range(20)))
        eventually(lambda: sandbox.ask("faults")["calls"] == 20 and not any(call.done() for call in calls))
        for one in calls:
            one.result()


def test_a_bucket_runs_empty_and_others_do_not(sandbox, tmp_path):
    table = tmp_path / "limits.json"
    lines = [
        {"operations": "sts:GetCallerIdentity", "burst": 3, "rate": 0.0001},
        {"operations": "ecs:List*", "burst": 1, "rate": 0.0001},
    ]
    table.write_text(json.dumps({"buckets": lines}))
    sandbox.faults(rate_limit=str(table))
    sts, ecs = client(sandbox, "sts"), client(sandbox, "ecs")
    for _ in range(3):
        sts.get_caller_identity()
    with pytest.raises(ClientError, match="Throttling"):
        sts.get_caller_identity()
    ecs.list_clusters()
    ecs.list_task_definitions()  # a bucket for each operation
    with pytest.raises(ClientError, match="ThrottlingException"):
        ecs.list_clusters()
    ecs.describe_clusters()


def test_botocore_gets_through(sandbox):
    sandbox.faults(throttle=0.3, errors=0.1, resets=0.05, seed=1)
    ecs = client(sandbox, "ecs", retries={"mode": "standard", "total_max_attempts": 10})
    for _ in range(10):
        assert "clusterArns" in ecs.list_clusters()
    assert sandbox.ask("faults")["done"].keys() >= {"throttle", "errors"}


def test_the_call_that_is_held_is_carried_out_and_no_later_one(sandbox):
    sandbox.faults(hold=2)
    logs = client(sandbox, "logs", read_timeout=0.5)
    logs.create_log_group(logGroupName="/held/1")
    for number in (2, 3):
        with pytest.raises(ReadTimeoutError):
            logs.create_log_group(logGroupName=f"/held/{number}")
    there = sandbox.client("logs").describe_log_groups(logGroupNamePrefix="/held/")["logGroups"]
    assert [group["logGroupName"] for group in there] == ["/held/1", "/held/2"]


def test_tasks_of_the_sandbox_meet_no_fault(sandbox, stack):
    sandbox.faults(throttle=1)
    arn = stack.run(stack.register(stack.container("echo $AWS_ENDPOINT_URL")))
    stack.reached(arn, "STOPPED")
    assert stack.printed(arn) == [sandbox.daemon]
    assert sandbox.daemon != sandbox.endpoint


def test_bytes_go_through_unchanged(sandbox):
    sandbox.faults()
    s3, body = client(sandbox, "s3"), bytes(range(256)) * 5000
    s3.create_bucket(Bucket="through")
    s3.put_object(Bucket="through", Key="a b/ü", Body=body, Metadata={"k": "v"})
    there = s3.get_object(Bucket="through", Key="a b/ü")
    assert (there["Body"].read(), there["Metadata"]) == (body, {"k": "v"})
    assert s3.head_object(Bucket="through", Key="a b/ü")["ContentLength"] == len(body)


def test_the_same_call_meets_the_same_fault_whatever_runs_beside_it():
    given = {"throttle": 0.3, "errors": 0.1, "resets": 0.05, "hangs": 0.05, "seed": 7}

    def fates(*order):
        faults = Faults(given)
        return sorted((operation, faults.fate(operation)) for operation in order)

    calls = ["ecs:ListTasks"] * 500 + ["ecs:CreateService"] * 500
    assert fates(*calls) == fates(*reversed(calls))
    kinds = [kind for _, (kind, _) in fates(*calls)]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in ("throttle", "errors", "resets", "hangs")}
    assert shares == pytest.approx({name: value for name, value in given.items() if name != "seed"}, abs=0.05)
    assert fates(*calls) != sorted((call, Faults({**given, "seed": 8}).fate(call)) for call in calls)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--throttle", "2"], "is no share of the calls"),
        (["--throttle", "0.6", "--errors", "0.6"], "are more than all calls"),
        (["--latency", "fast"], "is no duration"),
        (["--rate-limit", "/nowhere"], "/nowhere"),
    ],
)
def test_nonsense_is_refused_before_anything_starts(sandbox, options, reason):
    run = sandbox.run("up", *options, check=False)
    assert run.returncode == 2
    assert reason in run.stderr


def test_status_shows_the_faults_and_reset_keeps_them(start_sandbox):
    one = start_sandbox(60.0, "--throttle", "0.5", "--errors", "0.25", "--seed", "3", "--rate-limit")
    assert one.ask("reset", "POST") == {"reset": True}
    with contextlib.suppress(ClientError):
        client(one, "sts").get_caller_identity()
    text = one.run("status").stdout
    assert text.startswith(one.endpoint)
    assert "--throttle 0.5 --errors 0.25 --seed 3 --rate-limit" in text
    assert "of 1 calls" in text
    assert one.status()["faults"]["settings"]["throttle"] == 0.5
    assert one.status()["processes"] == 0


@pytest.mark.parametrize("end", ["down", "kill -9"])
def test_the_proxy_ends_with_the_sandbox(start_sandbox, end):
    one = start_sandbox(60.0, "--latency", "1ms")
    daemon = psutil.Process(one.status()["pid"])
    (proxy,) = [process for process in daemon.children() if "sandbox.faults" in process.cmdline()]
    if end == "down":
        one.down()
    else:
        daemon.send_signal(signal.SIGKILL)
    proxy.wait(20)
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", int(one.endpoint.rpartition(":")[2])))
