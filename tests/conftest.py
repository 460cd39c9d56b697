"""Fixtures for what needs a sandbox: each pytest process gets its own, on a free port, in a temporary folder."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from xdist.scheduler import LoadFileScheduling

REPOSITORY = Path(__file__).resolve().parent.parent

# A shell starts what runs in its background with SIGINT ignored, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


class FilesAndScenarios(LoadFileScheduling):
    """One xdist worker runs the whole of a file; molecule scenarios share nothing and go where there is room."""

    def _split_scope(self, nodeid):
        return nodeid if "/test_molecule.py::" in nodeid else super()._split_scope(nodeid)


def pytest_addoption(parser):
    parser.addoption("--all-statements", action="store_true", help="try the deployer without each statement")


def pytest_configure(config):
    config.addinivalue_line("markers", "all_statements: runs with --all-statements only")
    # what runs keep there for the next one is nothing for the home folder of who tests
    home = tempfile.TemporaryDirectory(prefix="ansible-home-")
    config.add_cleanup(home.cleanup)
    os.environ["ANSIBLE_HOME"] = home.name


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--all-statements"):
        left = [item for item in items if item.get_closest_marker("all_statements") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in left])
        items[:] = left


def pytest_xdist_make_scheduler(config, log):
    return FilesAndScenarios(config, log)


class RunningSandbox:
    """.home, .endpoint (http://127.0.0.1:PORT), .time_scale, .env (a whole environment for programs that use it).

    With fault options, .endpoint and .env lead through the faults, and .daemon and the clients past them.
    """

    def __init__(self, home: Path, time_scale: float = 1.0, port: int = 0, options: tuple[str, ...] = ()):
        self.home, self.time_scale, self.options = home, time_scale, options
        self.up(port)

    def up(self, port: int = 0) -> None:
        """Start it, again too: what it answers with, endpoint and clients, is then new."""
        self._clients: dict = {}
        self.run("up", "--port", str(port), "--time-scale", str(self.time_scale), *self.options)
        self.endpoint = (self.home / "endpoint").read_text()
        self.daemon = self.status().get("daemon", self.endpoint)
        shell = subprocess.run(
            ["sh", "-c", 'eval "$("$0" -m sandbox env)"; exec env -0', sys.executable],
            env={**os.environ, "SANDBOX_HOME": str(self.home)},
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        )
        self.env = dict(line.split("=", 1) for line in shell.stdout.split("\0") if line)

    def client(self, service: str, region: str = "us-east-1"):
        """A boto3 client at this sandbox that never retries; the same one every time."""
        if (service, region) not in self._clients:
            self._clients[service, region] = boto3.client(
                service,
                region_name=region,
                endpoint_url=self.daemon,
                aws_access_key_id="sandbox",
                aws_secret_access_key="sandbox",
                config=Config(proxies={}, retries={"total_max_attempts": 1}),
            )
        return self._clients[service, region]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """python -m sandbox ARGUMENTS for this home; its output is text."""
        return subprocess.run(
            [sys.executable, "-m", "sandbox", *arguments],
            env={**os.environ, "SANDBOX_HOME": str(self.home)},
            cwd=REPOSITORY,
            check=check,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def ask(self, path: str, method: str = "GET", body: object = None) -> dict:
        """What the sandbox's own `/_sandbox/PATH` answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/_sandbox/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def faults(self, **settings) -> dict:
        """From now on calls meet these faults and no others."""
        return self.ask("faults", "PUT", settings)

    def status(self) -> dict:
        return json.loads(self.run("status", "--json", check=False).stdout)

    def down(self) -> None:
        self.run("down", check=False)


@pytest.fixture(scope="session")
def start_sandbox(tmp_path_factory):
    """start_sandbox(time_scale=1.0, *options of `up`) -> RunningSandbox, stopped with the session at the latest."""
    started: list[RunningSandbox] = []

    def start(time_scale: float = 1.0, *options: str) -> RunningSandbox:
        started.append(RunningSandbox(tmp_path_factory.mktemp("sandbox"), time_scale, options=options))
        return started[-1]

    yield start
    for one in started:
        one.down()


@pytest.fixture(scope="session")
def sandbox_time_scale() -> float:
    """AWS minutes per minute of the `sandbox` fixture (60: a minute is a second); a conftest.py may override it."""
    return 60.0


@pytest.fixture(scope="session")
def sandbox(start_sandbox, sandbox_time_scale) -> RunningSandbox:
    """The session's sandbox. Tests share it: use names of your own."""
    return start_sandbox(sandbox_time_scale)
