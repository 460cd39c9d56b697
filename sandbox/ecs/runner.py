"""Runs tasks: turns containers into processes and moves every task along its life cycle.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
"""

import contextlib
import functools
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

from .errors import StartFailure
from .health import HealthCheck
from .logs import LogShipper
from .memory import REASON as OUT_OF_MEMORY
from .metadata import MetadataServer
from .model import Container, Task, utcnow
from .secrets import EnvironmentFiles, Secrets
from .store import Store
from .targets import Targets

log = logging.getLogger("sandbox.ecs")

STOP_TIMEOUT, START_TIMEOUT = 30, 180
KILL_AGAIN = 5
"""Seconds until one that was killed and still lives is killed again."""
LOGS_TIMEOUT = 30
"""Seconds after which a task is STOPPED although not all that it printed is in CloudWatch Logs."""
PORTS = range(20000, 32000)
"""Below the ports that the kernel hands out, so that no connection takes one between choosing and listening."""


class Runner:
    """`advance` is called for each live task at every tick, under the store's lock, and never blocks for long."""

    def __init__(self, sandbox, store: Store, pool: ThreadPoolExecutor, targets: Targets):
        self.sandbox, self.store, self.pool, self.targets = sandbox, store, pool, targets
        self.logs = LogShipper()
        self.logs.start()
        self.metadata = MetadataServer(sandbox)
        self._ports: set[int] = set()

    def advance(self, task: Task, now: float) -> None:
        try:
            getattr(self, f"_{task.status.lower()}")(task, now)
        except StartFailure as failure:
            self._fail_start(task, failure, now)

    def stop(self, task: Task, code: str, reason: str, now: float, failed: bool = False) -> None:
        """Ask the task to stop; the first reason given is the one that stays."""
        if task.desired_status == "STOPPED":
            return
        task.desired_status, task.stop_code, task.stopped_reason, task.failed = "STOPPED", code, reason, failed
        task.times["stoppingAt"] = utcnow()
        if task.status in ("ACTIVATING", "RUNNING") and task.deployment and task.deployment.spec.get("loadBalancers"):
            registering = task.job
            task.job = self.pool.submit(self._deregister, task, registering)
            task.become("DEACTIVATING", now)
        else:
            task.become("STOPPING", now)

    def _deregister(self, task: Task, registering) -> None:
        if registering:
            with contextlib.suppress(Exception):
                registering.result(60)
        self.targets.deregister(task)

    def kill(self, task: Task) -> None:
        """End the task at once and forget it (reset)."""
        for container in task.containers:
            if container.health:
                container.health.cancel()
            if container.process and container.exit_code is None:
                self.sandbox.processes.kill_group(container.process, signal.SIGKILL)
                container.process.wait()
                self._ended(container)
        self._clean(task)

    # ---- life cycle: one function for each status ----

    def _provisioning(self, task: Task, now: float) -> None:
        task.times["pullStartedAt"] = utcnow()
        task.job = self.pool.submit(self._prepare, task)
        task.become("PENDING", now)

    def _pending(self, task: Task, now: float) -> None:
        if task.job:
            if not task.job.done():
                return
            job, task.job = task.job, None
            job.result()
            task.times["pullStoppedAt"] = utcnow()
            for container in task.containers:
                container.waiting_since = now
        self._watch(task, now)
        for container in task.containers:
            if task.desired_status == "RUNNING" and container.process is None and self._may_start(task, container, now):
                self._start(task, container, now)
        if task.desired_status == "RUNNING" and all(container.process for container in task.containers):
            if task.deployment and task.deployment.spec.get("loadBalancers"):
                task.job = self.pool.submit(self.targets.register, task)
                task.become("ACTIVATING", now)
            else:
                self._run(task, now)

    def _activating(self, task: Task, now: float) -> None:
        self._watch(task, now)
        if task.status != "ACTIVATING" or not task.job.done():
            return
        job, task.job = task.job, None
        if job.exception():
            task.service.event(f"failed to register targets with (error {job.exception()})")
            raise StartFailure(f"Task failed to start: registering its targets failed: {job.exception()}")
        by_group = {arn for arn, _ in task.registered}
        for arn in sorted(by_group):
            task.service.event(f"registered 1 targets in (target-group {arn})")
        self._run(task, now)

    def _run(self, task: Task, now: float) -> None:
        task.times["startedAt"] = utcnow()
        task.running_since = now
        task.become("RUNNING", now)

    def _running(self, task: Task, now: float) -> None:
        self._watch(task, now)

    def _deactivating(self, task: Task, now: float) -> None:
        self._watch(task, now)
        dead = any(c.exit_code is not None and c.definition["essential"] for c in task.containers)
        if task.job.done() and (dead or self.targets.drained(task, now)):
            for arn in sorted({arn for arn, _ in task.registered}):
                task.service.event(f"deregistered 1 targets in (target-group {arn})")
            task.registered, task.job = [], None
            task.become("STOPPING", now)

    def _stopping(self, task: Task, now: float) -> None:
        if task.job and not task.job.done():
            return
        self._watch(task, now)
        alive = [container for container in task.containers if container.process and container.exit_code is None]
        needed = {d["containerName"] for c in alive for d in c.definition.get("dependsOn", [])}
        for container in alive:
            if container.kill_at is None and container.name not in needed:
                container.process.send_signal(signal.SIGTERM)  # to the main process alone, as a container runtime does
                container.kill_at = now + container.definition.get("stopTimeout", STOP_TIMEOUT)
            elif container.kill_at is not None and now >= container.kill_at:
                self._kill(task, container)
                container.kill_at = now + KILL_AGAIN
        if not alive:
            task.times["executionStoppedAt"] = utcnow()
            for container in task.containers:
                container.status = "STOPPED"
            self._close_outputs(task)
            task.become("DEPROVISIONING", now)

    def _deprovisioning(self, task: Task, now: float) -> None:
        unread = any(container.stream and not container.stream.done for container in task.containers)
        if unread and now - task.since < LOGS_TIMEOUT:
            return
        self._clean(task)
        task.times["stoppedAt"] = utcnow()
        task.become("STOPPED", now)
        self.store.live.pop(task.id, None)

    def _fail_start(self, task: Task, failure: StartFailure, now: float) -> None:
        reason = str(failure)
        for container in task.containers:
            if container.name == failure.container:
                container.reason = reason
        if reason.startswith("CannotStartContainerError"):
            reason = "Task failed to start"
        self.stop(task, "TaskFailedToStart", reason, now, failed=True)

    # ---- before the first process (in a worker thread) ----

    def _prepare(self, task: Task) -> None:
        region = task.cluster.region
        agent = self._agent(task)
        secrets, files = Secrets(agent, region), EnvironmentFiles(agent, region)
        images = {}
        for container in task.containers:
            name = container.definition["image"]
            images[container.name] = self.sandbox.image(name)
            if images[container.name] is None:
                raise StartFailure(
                    "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
                    f"failed to resolve ref {name}: {name}: not found",
                    container.name,
                )
        task.folder = self.sandbox.home / "tasks" / task.id
        task.folder.mkdir(parents=True, exist_ok=True)
        credentials = self._credentials(task)
        for container in task.containers:
            definition, image = container.definition, images[container.name]
            container.ports = {mapping["containerPort"]: self._free_port() for mapping in definition["portMappings"]}
            container.environment = self._environment(task, container, image, credentials)
            given = {variable["name"] for variable in definition["environment"]}
            for name, value in files.variables(definition.get("environmentFiles") or []).items():
                if name not in given:
                    container.environment[name] = value
            for secret in definition.get("secrets", []):
                container.environment[secret["name"]] = secrets.value(secret["valueFrom"])
            folder = definition.get("workingDirectory")
            container.cwd = folder if folder and os.path.isdir(folder) else image.cwd
            container.reference = image.reference
            if not container.reference:  # podman says so itself
                self._check_command(container)
        for container in task.containers:
            logs = container.definition.get("logConfiguration") or {}
            if logs.get("logDriver") == "awslogs":
                container.stream, container.output = self.logs.open(
                    agent, logs["options"], region, container.name, task.id
                )

    def _agent(self, task: Task):
        """client(service, region) of the ECS agent, which is the task's execution role when IAM is enforced."""
        session = self._session(task, "executionRoleArn")
        return functools.partial(self.sandbox.client_of, session) if session else self.sandbox.client

    def _session(self, task: Task, parameter: str):
        """The task's session of one of its roles; None without a role, or when IAM is not enforced."""
        role = task.definition.body.get(parameter)
        if not role or not self.sandbox.iam:
            return None
        try:
            return self.sandbox.iam.assume_for_task(role, task.id, task.cluster.region)
        except PermissionError as error:
            raise StartFailure(str(error)) from None

    def _credentials(self, task: Task) -> dict[str, str]:
        """What the SDKs in the containers find: the task role, if it has one."""
        if not self.sandbox.iam:
            return {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}
        session = self._session(task, "taskRoleArn")
        if not session:
            return {"AWS_EC2_METADATA_DISABLED": "true"}
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.metadata.add_credentials(task, session)}

    def _environment(self, task: Task, container: Container, image, credentials: dict) -> dict[str, str]:
        ports = {str(port): str(host) for port, host in container.ports.items()}
        given = {variable["name"]: variable.get("value", "") for variable in container.definition["environment"]}
        if given.get("PORT") in ports:  # awsvpc gives each task an address of its own, one loopback cannot
            given["PORT"] = ports[given["PORT"]]
        folder = str(task.folder)
        here = {"PATH": image.path, "HOME": folder, "LANG": "C.UTF-8", "TMPDIR": folder}
        return {
            **({} if image.reference else here),
            "SSL_CERT_FILE": str(self.sandbox.home / "ca.pem"),
            "AWS_ENDPOINT_URL": self.sandbox.endpoint,
            "AWS_REGION": task.cluster.region,
            "AWS_DEFAULT_REGION": task.cluster.region,
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            **self.metadata.add(task, container),
            **image.env,
            **credentials,
            **given,
        }

    def _check_command(self, container: Container) -> None:
        argv = _argv(container)
        if not argv:
            raise StartFailure("CannotStartContainerError: no command specified", container.name)
        if not shutil.which(
            os.path.join(container.cwd, argv[0]) if "/" in argv[0] else argv[0], path=container.environment["PATH"]
        ):
            where = "no such file or directory" if "/" in argv[0] else "executable file not found in $PATH"
            raise StartFailure(
                "CannotStartContainerError: failed to create task for container: OCI runtime create failed: "
                f'unable to start container process: exec: "{argv[0]}": {where}',
                container.name,
            )

    def _free_port(self) -> int:
        for port in random.sample(PORTS, 200):
            with contextlib.suppress(OSError), socket.socket() as probe:
                if port not in self._ports:
                    probe.bind(("127.0.0.1", port))
                    self._ports.add(port)
                    return port
        raise StartFailure(f"ResourceInitializationError: no free port in {PORTS.start}-{PORTS.stop - 1} on 127.0.0.1")

    # ---- processes ----

    def _may_start(self, task: Task, container: Container, now: float) -> bool:
        """Whether all `dependsOn` conditions hold; raises StartFailure once one of them never will."""
        others = {other.name: other for other in task.containers}
        for dependency in container.definition.get("dependsOn", []):
            other, condition = others[dependency["containerName"]], dependency["condition"]
            ended = other.exit_code is not None
            met = {
                "START": other.process is not None,
                "COMPLETE": ended,
                "SUCCESS": other.exit_code == 0,
                "HEALTHY": other.health_status == "HEALTHY",
            }[condition]
            if met:
                continue
            limit = other.definition.get("startTimeout", START_TIMEOUT)
            late = now - container.waiting_since > limit
            if late or (ended and condition in ("SUCCESS", "HEALTHY")):
                why = f"within its startTimeout of {limit} s" if late else f"before it exited with {other.exit_code}"
                raise StartFailure(
                    f"Container {container.name} did not start: {other.name} did not reach {condition} {why}",
                    container.name,
                )
            return False
        return True

    def _start(self, task: Task, container: Container, now: float) -> None:
        output = subprocess.DEVNULL if container.output is None else container.output
        container.process = self._spawn(task, container, self._argv(task, container), output)
        container.status, container.started_at = "RUNNING", now
        # one that may be started again keeps it, until the task stops
        if container.output is not None and not _restart_policy(container):
            os.close(container.output)
            container.output = None
        check = container.definition.get("healthCheck")
        if check and check["command"] != ["NONE"]:
            container.health = HealthCheck(
                check,
                lambda argv: self._spawn(task, container, _inside(task, container, argv), subprocess.DEVNULL),
                self.sandbox.processes,
                now,
            )

    def _spawn(self, task: Task, container: Container, argv: list[str], output: int) -> subprocess.Popen:
        start, environment = self.sandbox.processes.start, container.environment
        if container.reference:  # podman's own besides, and podman gives the hostname
            return start(argv, env={**os.environ, **environment}, cwd=container.cwd, stdout=output)
        return start(argv, env=environment, cwd=container.cwd, stdout=output, hostname=_hostname(task))

    def _argv(self, task: Task, container: Container) -> list[str]:
        if not container.reference:
            return _argv(container)
        name, variables = _name(task, container), sorted(container.environment)
        return self.sandbox.containers.run(name, _hostname(task), container.reference, container.definition, variables)

    def _kill(self, task: Task, container: Container) -> None:
        """To kill `podman run` would leave its container alone."""
        if container.reference:
            self.pool.submit(self.sandbox.containers.kill, _name(task, container))
        else:
            self.sandbox.processes.kill_group(container.process, signal.SIGKILL)

    def _watch(self, task: Task, now: float) -> None:
        """Notice containers that ended, and run health checks."""
        for container in task.containers:
            if container.process is None or container.exit_code is not None:
                continue
            code = container.process.poll()
            if code is None:
                if container.health and task.desired_status == "RUNNING":
                    container.health.tick(now)
                continue
            code = code if code >= 0 else 128 - code
            if self._may_restart(task, container, code, now):
                self._ended(container)
                container.health = None
                container.restarts += 1
                self._start(task, container, now)
                continue
            container.exit_code = code
            if code == 128 + signal.SIGKILL and container.out_of_memory:
                container.reason = OUT_OF_MEMORY
            self._ended(container)
            if container.definition["essential"]:
                self.stop(task, "EssentialContainerExited", "Essential container in task exited", now, failed=True)

    def _may_restart(self, task: Task, container: Container, code: int, now: float) -> bool:
        policy = _restart_policy(container)
        if not policy or task.desired_status != "RUNNING" or code in (policy.get("ignoredExitCodes") or []):
            return False
        return now - container.started_at >= self.sandbox.minutes(policy.get("restartAttemptPeriod", 300) / 60)

    def _ended(self, container: Container) -> None:
        container.status = "STOPPED"
        if container.health:
            container.health.cancel()
        self.sandbox.processes.ended(container.process)

    def _close_outputs(self, task: Task) -> None:
        for container in task.containers:
            if container.output is not None:
                os.close(container.output)
                container.output = None

    def _clean(self, task: Task) -> None:
        self._close_outputs(task)
        self.metadata.remove(task)
        if self.sandbox.iam:
            self.sandbox.iam.forget_task(task.id)
        for container in task.containers:
            self._ports.difference_update(container.ports.values())
        if task.folder:
            shutil.rmtree(task.folder, ignore_errors=True)


def _restart_policy(container: Container) -> dict:
    policy = container.definition.get("restartPolicy") or {}
    return policy if policy.get("enabled") else {}


def _hostname(task: Task) -> str:
    return f"ip-{task.id[:12]}"


def _name(task: Task, container: Container) -> str:
    """What podman calls it."""
    return f"ecs-{task.id}-{container.name}"


def _inside(task: Task, container: Container, argv: list[str]) -> list[str]:
    """The command that runs another one where the container's own runs."""
    return ["podman", "exec", _name(task, container), *argv] if container.reference else argv


def _argv(container: Container) -> list[str]:
    return [*(container.definition.get("entryPoint") or []), *(container.definition.get("command") or [])]
