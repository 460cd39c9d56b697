"""The command line, and the AWS CLI in the sandbox's shell."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from sandbox import awscli, lock, server
from sandbox.core import SandboxError
from sandbox.processes import start_time

REPOSITORY = Path(__file__).resolve().parents[2]


def cli(home, *arguments, **env):
    """(exit code, stdout, stderr) of python -m sandbox ARGUMENTS."""
    run = subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        env={**os.environ, "SANDBOX_HOME": str(home), **env},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return run.returncode, run.stdout, run.stderr


def eventually(function, seconds=20):
    deadline = time.monotonic() + seconds
    while not (value := function()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
    return value


@pytest.fixture
def home(tmp_path):
    yield tmp_path / "home"
    cli(tmp_path / "home", "down")


def daemon_pid(home) -> int:
    return int((home / "pid").read_text().split()[0])


def test_a_whole_life(home):
    code, out, _ = cli(home, "up", "--port", "0")
    assert code == 0
    endpoint = re.search(r"Ready at (http://127\.0\.0\.1:\d+)", out).group(1)
    pid = daemon_pid(home)

    assert cli(home, "up", "--port", "0")[1] == f"The sandbox is already running at {endpoint} (pid {pid}).\n"
    assert endpoint in cli(home, "status")[1]
    status = json.loads(cli(home, "status", "--json")[1])
    assert (status["endpoint"], status["pid"], status["running"]) == (endpoint, pid, True)
    assert 0 < status["memory_mb"] < 300
    assert "ready at" in cli(home, "logs")[1]

    assert cli(home, "down")[:2] == (0, "The sandbox is stopped.\n")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert cli(home, "down")[:2] == (0, "The sandbox was not running.\n")
    assert cli(home, "status")[0] == 3
    assert json.loads(cli(home, "status", "--json")[1]) == {"running": False}
    for command in ("env", "reset"):
        code, out, err = cli(home, command)
        assert (code, out) == (1, "")
        assert "not running: start it with `python -m sandbox up`" in err
    assert {path.name for path in home.iterdir()} >= {"ca.pem", "log"}
    assert not (home / "endpoint").exists()


def test_nothing_survives_a_daemon_that_was_killed(home):
    cli(home, "up", "--port", "0")
    pid = daemon_pid(home)
    registry = home / "processes"
    helper = psutil.Process(pid).children()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(child.is_running() for child in helper))  # the watchdog itself goes last
    assert cli(home, "status")[0] == 3
    assert cli(home, "up", "--port", "0")[0] == 0
    assert daemon_pid(home) != pid
    assert list(registry.iterdir()) == []


def background(home, *arguments):
    """python -m sandbox ARGUMENTS, which goes on while the test does something else."""
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", *arguments, "--port", "0"], env={**os.environ, "SANDBOX_HOME": str(home)},
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def starting(home, up) -> int:
    """Pid of the daemon that `up` has just started and that does not answer yet."""
    return eventually(lambda: (pid := lock.holder(home)) != up.pid and pid)


def is_free(home) -> bool:
    """Whether nobody starts or runs a sandbox there."""
    held = lock.take(home)
    if held:
        held.close()
    return held is not None


def test_up_at_the_same_time_starts_one_and_reports_it_twice(home):
    both = [background(home, "up") for _ in range(2)]
    outputs = [one.communicate(timeout=60)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    endpoint = (home / "endpoint").read_text()
    assert sorted("already running at" in text for text in outputs) == [False, True]
    assert all(endpoint in text for text in outputs)
    assert json.loads(cli(home, "status", "--json")[1])["pid"] == daemon_pid(home)
    assert "ready at" in (home / "log").read_text()
    assert not (home / "log.1").exists()


@pytest.mark.parametrize("moment", ["before the daemon", "with the daemon"])
def test_down_during_a_start_ends_it(home, moment):
    up = background(home, "up")
    if moment == "with the daemon":
        starting(home, up)
    else:
        eventually(lambda: lock.holder(home))
    assert cli(home, "down")[:2] == (0, "The sandbox is stopped.\n")
    up.communicate(timeout=60)
    assert is_free(home)
    assert cli(home, "status")[0] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_up_that_is_ended_leaves_nothing_behind(home, number):
    up = background(home, "up")
    pid = starting(home, up)
    up.send_signal(number)
    up.communicate(timeout=60)
    assert up.returncode == 128 + number
    assert start_time(pid) is None
    assert is_free(home)


def test_a_killed_up_leaves_a_sandbox_that_down_finds(home):
    up = background(home, "up")
    pid = starting(home, up)
    up.kill()
    up.communicate(timeout=60)
    assert cli(home, "down")[1] == "The sandbox is stopped.\n"
    assert start_time(pid) is None
    assert is_free(home)


def test_serve_is_refused_where_one_runs(sandbox):
    second = background(sandbox.home, "serve")
    assert "Another sandbox uses the folder" in second.communicate(timeout=60)[0]
    assert second.returncode == 1
    assert sandbox.status()["running"]


def test_a_taken_port_is_named_with_the_variable_and_the_holder(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = cli(home, "up", SANDBOX_PORT=str(port))
    assert code == 1
    assert err.count("\n") == 1
    assert f"Port {port}" in err
    assert "SANDBOX_PORT" in err
    assert f"(pid {os.getpid()})" in err
    assert cli(home, "status")[0] == 3


def test_a_missing_redis_server_is_named_before_anything_starts(home, tmp_path):
    patched = tmp_path / "patched.py"
    patched.write_text(
        "import shutil, importlib.util, runpy, sys\n"
        "shutil.which = lambda *a, **k: None\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: real(name, *a) if name.startswith('sandbox') else None\n"
        "sys.argv = ['sandbox', 'up', '--port', '0']\n"
        "runpy.run_module('sandbox', run_name='__main__')\n"
    )
    run = subprocess.run(
        [sys.executable, patched], env={**os.environ, "SANDBOX_HOME": str(home), "PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 1
    assert "No redis-server was found: install one" in run.stderr
    assert not home.exists()


@pytest.mark.parametrize("variable", ["SANDBOX_PORT", "SANDBOX_TIME_SCALE"])
def test_a_variable_that_is_no_number(home, variable):
    code, _, err = cli(home, "up", **{variable: "many"})
    assert code == 1
    assert err == f"sandbox: {variable} is 'many': set it to a number.\n"


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--port", "70000", "--port (SANDBOX_PORT) must be 0 to 65535"),
        ("--port", "-1", "--port (SANDBOX_PORT) must be 0 to 65535"),
        ("--time-scale", "0", "must be greater than 0, and finite"),
        ("--time-scale", "nan", "must be greater than 0, and finite"),
        ("--time-scale", "inf", "must be greater than 0, and finite"),
    ],
)
def test_an_option_out_of_range(home, option, value, sentence):
    code, _, err = cli(home, "up", option, value)
    assert code == 2
    assert sentence in err
    assert not home.exists()


@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_home_that_cannot_be_used(tmp_path, command):
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        code, _, err = cli(home, command, "--port", "0")
        assert code == 1
        assert re.fullmatch(rf"sandbox: The folder {home} cannot be used \(.+\): set SANDBOX_HOME to .*\n", err)


def test_a_port_for_root_only_is_not_called_taken(monkeypatch):
    class Forbidden:
        def setsockopt(self, *_):
            pass

        def bind(self, _):
            raise PermissionError

    monkeypatch.setattr("sandbox.server.socket.socket", Forbidden)
    with pytest.raises(SandboxError, match=r"Port 80 of 127\.0\.0\.1 is for root only: set SANDBOX_PORT"):
        server.bind(80)


def test_env_can_be_evaluated_by_a_shell(sandbox):
    script = 'eval "$("$0" -m sandbox env)"; echo "$AWS_PROFILE|$AWS_SESSION_TOKEN"; command -v python; env'
    run = subprocess.run(
        ["sh", "-c", script, sys.executable],
        env={**os.environ, "SANDBOX_HOME": str(sandbox.home), "AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "x"},
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    unset, python, *lines = run.stdout.splitlines()
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    assert unset == "|"
    assert python == str(Path(sys.executable).parent / "python")
    assert env["AWS_ENDPOINT_URL"] == sandbox.endpoint
    assert env["AWS_REGION"] == env["AWS_DEFAULT_REGION"] == "us-east-1"
    assert env["AWS_PAGER"] == ""
    assert "127.0.0.1" in env["NO_PROXY"].split(",")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        assert Path(env[name]).parent == sandbox.home
        assert Path(env[name]).exists()


def test_reset_empties_the_account_and_keeps_the_daemon(start_sandbox):
    own = start_sandbox()
    logs, elbv2, ec2 = own.client("logs"), own.client("elbv2"), own.client("ec2")
    logs.create_log_group(logGroupName="/x")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    balancer = elbv2.create_load_balancer(Name="b", Subnets=subnets)["LoadBalancers"][0]
    pid = own.status()["pid"]
    assert own.run("reset").stdout == "The sandbox is empty.\n"
    assert logs.describe_log_groups()["logGroups"] == []
    assert elbv2.describe_load_balancers()["LoadBalancers"] == []
    assert own.status()["pid"] == pid
    host, port = balancer["DNSName"].split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 5)
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    elbv2.create_load_balancer(Name="b", Subnets=subnets)


def test_logs_follow(sandbox):
    follow = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "logs", "-f"],
        env={**os.environ, "SANDBOX_HOME": str(sandbox.home)}, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        sandbox.client("sqs").create_queue(QueueName="followed")
        assert any("sqs.CreateQueue 200" in line for line in follow.stdout)
        follow.send_signal(signal.SIGINT)
        assert follow.wait(20) == 130
    finally:
        follow.kill()
        follow.wait()


def test_own_paths_are_not_for_browsers(sandbox):
    """A page in a browser must not be able to reset the sandbox with a simple GET."""
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{sandbox.endpoint}/_sandbox/reset")


# aws logs tail


@pytest.fixture
def group(sandbox):
    """A log group with one stream and two events, one of them an hour old."""
    logs, name = sandbox.client("logs"), f"/ecs/nexus-learn/{time.time_ns()}"
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="ecs/worker/1")
    now = int(time.time() * 1000)
    events = [{"timestamp": now - 3_600_000, "message": "old news"}, {"timestamp": now, "message": "ERROR fresh"}]
    logs.put_log_events(logGroupName=name, logStreamName="ecs/worker/1", logEvents=events)
    return name


def tail(sandbox, *arguments):
    aws = shutil.which("aws", path=sandbox.env["PATH"])
    return subprocess.run(
        [aws, "logs", "tail", *arguments], env=sandbox.env, capture_output=True, text=True, timeout=60, check=False
    )


def test_aws_logs_tail(sandbox, group):
    assert awscli.importable(awscli.PLUGIN), "make up links the clone into the virtual environment"
    detailed = tail(sandbox, group).stdout
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00 ecs/worker/1 ERROR fresh\n", detailed)
    short = tail(sandbox, group, "--since", "2h", "--format", "short").stdout.splitlines()
    assert [line.partition(" ")[2] for line in short] == ["old news", "ERROR fresh"]
    assert tail(sandbox, group, "--since", "1d", "--filter-pattern", "news").stdout.endswith("old news\n")
    missing = tail(sandbox, "/no/such/group")
    assert missing.returncode != 0
    assert "ResourceNotFoundException" in missing.stderr
    assert "--since yesterday is neither" in tail(sandbox, group, "--since", "yesterday").stderr


def test_aws_logs_tail_follow(sandbox, group):
    follow = subprocess.Popen(
        [shutil.which("aws", path=sandbox.env["PATH"]), "logs", "tail", group, "--follow"],
        env=sandbox.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert follow.stdout.readline().endswith("ERROR fresh\n")
        logs = sandbox.client("logs")
        for number in range(3):
            event = {"timestamp": int(time.time() * 1000), "message": f"line {number}"}
            logs.put_log_events(logGroupName=group, logStreamName="ecs/worker/1", logEvents=[event])
            assert follow.stdout.readline().endswith(f"line {number}\n"), "each once, in order"
        follow.send_signal(signal.SIGINT)
        assert follow.wait(20) == 130
    finally:
        follow.kill()
        follow.communicate()


@pytest.mark.parametrize(
    ("since", "seconds"),
    [("30s", 970), ("10m", 400), ("1970-01-01T00:05:00", 300), ("1970-01-01T01:05:00+01:00", 300)],
)
def test_since(since, seconds):
    assert awscli.milliseconds(since, 1000.0) == seconds * 1000


def test_a_plugin_that_cannot_be_imported_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(awscli, "PLUGIN", "no_such_package.plugin")
    config, _ = awscli.write_config(tmp_path, "us-east-1", "http://127.0.0.1:1")
    assert "[plugins]" not in config.read_text()
