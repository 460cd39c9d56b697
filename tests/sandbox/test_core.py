"""The daemon: requests, unknown operations, certificates, and processes that cannot outlive it."""

import logging
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError

from sandbox.core import Sandbox, SandboxError, Scheduler, redis_server, redis_version
from sandbox.processes import Processes, reap, start_time
from sandbox.tls import Authority

ENV = {"PATH": os.environ["PATH"]}


def eventually(function, seconds=20):
    deadline = time.monotonic() + seconds
    while not (value := function()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
    return value


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# Requests


@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("application-autoscaling", "get_predictive_scaling_forecast",
         {"ServiceNamespace": "ecs", "ResourceId": "service/a/b", "ScalableDimension": "ecs:service:DesiredCount",
          "PolicyName": "p", "StartTime": 0, "EndTime": 1}),
        ("cloudwatch", "put_anomaly_detector", {"Namespace": "n", "MetricName": "m", "Stat": "Sum"}),
        ("ec2", "describe_ipam_policies", {}),
        ("iam", "generate_service_last_accessed_details", {"Arn": "arn:aws:iam::123456789012:role/some-role"}),
        ("resource-groups", "list_group_resources", {"Group": "g"}),
    ],
)  # fmt: skip
def test_unknown_operations_are_named_in_an_aws_error(sandbox, service, operation, parameters):
    """JSON, query, EC2 and REST services alike."""
    with pytest.raises(ClientError, match="The sandbox does not implement") as refused:
        getattr(sandbox.client(service), operation)(**parameters)
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"


def test_concurrent_clients(sandbox):
    logs = sandbox.client("logs")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: logs.create_log_group(logGroupName=f"/concurrent/{n}"), range(64)))
    found = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix="/concurrent/")
    assert sum(len(page["logGroups"]) for page in found) == 64


def test_account_and_region(sandbox):
    assert sandbox.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert sandbox.client("ec2").describe_availability_zones()["AvailabilityZones"][0]["RegionName"] == "us-east-1"


# Images, metrics, time


@pytest.fixture
def core(tmp_path):
    """A Sandbox object without a server."""
    return Sandbox(tmp_path, "http://127.0.0.1:1", time_scale=120)


@pytest.mark.parametrize(
    "name",
    [
        "nexus-learn",
        "nexus-learn-worker",
        "nexus-learn-worker:latest",
        "team/nexus-learn:v1",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/nexus-learn-worker:v1",
        "localhost:5000/nexus-learn-worker@sha256:" + "0" * 64,
    ],
)
def test_our_images_run_in_the_worker_folder(core, name):
    image = core.image(name)
    assert image.cwd.name == "worker"
    assert image.path.startswith(str(Path(sys.executable).parent))


def test_other_images(core):
    assert core.image("public.ecr.aws/docker/library/busybox:1.36").cwd == Path("/")
    assert core.image("redis:7") is not None
    for name in ("nexus-learn-worker:missing", "nginx", "nexus-learn-frontend", "evil-busybox", "not-nexus-learnt"):
        assert core.image(name) is None, name


def test_minutes(core):
    assert core.minutes(3) == 1.5


def test_put_metric_may_write_aws_namespaces(core):
    from moto.cloudwatch.models import cloudwatch_backends

    core.put_metric("AWS/Test", "M", 4.5, {"A": "b"}, "Percent")
    datum = cloudwatch_backends[core.account_id]["us-east-1"].metric_data[-1]
    assert (datum.namespace, datum.name, datum.value, datum.unit) == ("AWS/Test", "M", 4.5, "Percent")


def test_scheduler_survives_a_function_that_raises(caplog):
    scheduler, calls = Scheduler(), []

    def broken():
        calls.append("broken")
        raise RuntimeError("on purpose")

    scheduler.every(0.01, broken)
    scheduler.start()
    scheduler.every(0.01, lambda: calls.append("fine"))  # later than start
    with caplog.at_level(logging.CRITICAL):
        eventually(lambda: calls.count("broken") > 2 and calls.count("fine") > 2)
    scheduler.stop()
    assert not scheduler.is_alive()


def test_redis_server():
    assert redis_version(redis_server()).split(".")[0].isdigit()


def test_redis_server_missing(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SandboxError, match="install one"):
        redis_server()


# Certificates


def test_the_authority_convinces_a_strict_client_and_outlives_the_daemon(tmp_path):
    certificate, key = Authority(tmp_path).certificate(["redis.internal", "10.0.0.7"])
    again, _ = Authority(tmp_path).certificate(["10.0.0.7", "redis.internal"])
    assert again == certificate
    for secret in (tmp_path / "ca.key", key):
        assert secret.stat().st_mode & 0o777 == 0o600

    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("127.0.0.1", "localhost", "redis.internal", "10.0.0.7"):
        ours, theirs = socket.socketpair()
        accept = threading.Thread(target=lambda s=theirs: server_context.wrap_socket(s, server_side=True))
        accept.start()
        with client_context.wrap_socket(ours, server_hostname=name) as connection:
            assert connection.version() == "TLSv1.3"
        accept.join()
    ours, theirs = socket.socketpair()
    refused = threading.Thread(target=handshake_refused, args=(server_context, theirs))
    refused.start()
    with pytest.raises(ssl.SSLCertVerificationError):
        client_context.wrap_socket(ours, server_hostname="elsewhere.example")
    refused.join()


def handshake_refused(context, connection):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(connection, server_side=True).recv(1)


# Processes


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.close()


def test_a_process_has_a_session_an_environment_and_a_hostname_of_its_own(processes, tmp_path):
    out = tmp_path / "out"
    with out.open("w") as stdout:
        popen = processes.start(
            ["sh", "-c", "hostname; echo $HOME; pwd; cat; env"],
            env={**ENV, "HOME": "/nowhere"}, cwd="/tmp", stdout=stdout, hostname="task-1",
        )  # fmt: skip
        assert popen.wait(20) == 0
    processes.ended(popen)
    hostname, home, cwd, *env = out.read_text().splitlines()
    assert (home, cwd) == ("/nowhere", "/tmp")
    assert {line.partition("=")[0] for line in env} <= {"PATH", "HOME", "PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE"}
    if os.getuid() == 0 and sys.platform == "linux":
        assert hostname == "task-1"
    assert socket.gethostname() != "task-1"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_without_root_a_process_starts_all_the_same():
    """With the hostname where user namespaces are allowed, without it elsewhere."""
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin") or pytest.skip("no Python that everybody can run")
    with tempfile.TemporaryDirectory() as folder:
        helper, registry = Path(folder, "processes.py"), Path(folder, "registry")
        helper.write_bytes(Path(sys.modules["sandbox.processes"].__file__).read_bytes())
        registry.mkdir()
        for path in (folder, registry):
            os.chmod(path, 0o777)  # noqa: S103 - for nobody
        run = subprocess.run(
            [python, "-I", "-S", helper, "exec", registry, str(os.getpid()), "task-2", "--", "hostname"],
            user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert run.stdout.strip() in ("task-2", socket.gethostname())


def test_programs_that_cannot_be_executed(processes, tmp_path):
    for program, code in (("no-such-program", 127), (str(tmp_path), 126)):
        with (tmp_path / "out").open("w") as stdout:
            popen = processes.start([program], env=ENV, cwd="/", stdout=stdout)
            assert popen.wait(20) == code
        processes.ended(popen)
        assert program in (tmp_path / "out").read_text()


LEAVES_CHILDREN = "sleep 1000 & echo $!; timeout 1000 sleep 1000 & echo $!; echo ready; wait"


def start_family(processes, tmp_path) -> tuple[subprocess.Popen, list[int]]:
    """A process with children, one of them in a process group of its own (timeout makes one)."""
    out = tmp_path / "family"
    with out.open("w") as stdout:
        popen = processes.start(["sh", "-c", LEAVES_CHILDREN], env=ENV, cwd="/", stdout=stdout)
    eventually(lambda: "ready" in out.read_text())
    children = [int(line) for line in out.read_text().split() if line.isdigit()]
    grandchild = eventually(lambda: psutil.Process(children[1]).children())
    return popen, [*children, *(child.pid for child in grandchild)]


def test_what_a_killed_process_leaves_behind_is_ended(processes, tmp_path):
    popen, children = start_family(processes, tmp_path)
    os.kill(popen.pid, signal.SIGKILL)
    popen.wait()
    assert not any(gone(child) for child in children)
    processes.ended(popen)
    eventually(lambda: all(gone(child) for child in children))
    assert list(processes.registry.iterdir()) == []
    processes.kill_group(popen, signal.SIGTERM)  # after the end: nothing to signal, nothing to fear


def test_stop_all_asks_first(processes, tmp_path):
    with (tmp_path / "polite").open("w") as polite, (tmp_path / "deaf").open("w") as deaf:
        processes.start(["sh", "-c", "trap 'echo bye; exit 0' TERM; echo on; sleep 1000 & wait"],
                        env=ENV, cwd="/", stdout=polite)  # fmt: skip
        processes.start(["sh", "-c", "trap '' TERM; echo on; while :; do sleep 1; done"], env=ENV, cwd="/", stdout=deaf)
    eventually(lambda: all("on" in (tmp_path / name).read_text() for name in ("polite", "deaf")))
    pids = processes.live()
    processes.stop_all(grace=1)
    assert "bye" in (tmp_path / "polite").read_text()
    assert all(gone(pid) for pid in pids)
    assert processes.live() == []


def test_reap_ends_what_was_registered_and_nothing_else(processes, tmp_path):
    popen, children = start_family(processes, tmp_path)
    bystander = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        boot, _ = start_time(bystander.pid).split(" ")
        (processes.registry / str(bystander.pid)).write_text(f"{boot} 1")  # its pid, an earlier process
        assert reap(processes.registry) == 2
        popen.wait(20)
        eventually(lambda: all(gone(child) for child in children))
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


DAEMON = """
import sys, time
from pathlib import Path
from sandbox.processes import Processes
processes = Processes(Path(sys.argv[1]))
processes.watch()
with open(sys.argv[1] + "/out", "w") as out:
    processes.start(["sh", "-c", sys.argv[2]], env={"PATH": sys.argv[3]}, cwd="/", stdout=out)
time.sleep(1000)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_no_process_outlives_the_daemon(tmp_path, end):
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, tmp_path, LEAVES_CHILDREN, os.environ["PATH"]])
    out = tmp_path / "out"
    eventually(lambda: out.exists() and "ready" in out.read_text())
    pids = [int(line) for line in out.read_text().split() if line.isdigit()]
    pids += [int(entry.name) for entry in (tmp_path / "processes").iterdir()]
    assert len(pids) == 3
    daemon.send_signal(end)
    daemon.wait()
    eventually(lambda: all(gone(pid) for pid in pids))
    eventually(lambda: not list((tmp_path / "processes").iterdir()))
