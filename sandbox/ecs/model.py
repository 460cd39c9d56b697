"""The things ECS knows, and how the API shows them."""

import datetime
import subprocess
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from .health import HealthCheck

PLATFORM = {"platformVersion": "1.4.0", "platformFamily": "Linux"}
PENDING = ("PROVISIONING", "PENDING", "ACTIVATING")


def utcnow() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def merge_tags(old: list[dict], new: list[dict]) -> list[dict]:
    return [{"key": key, "value": value} for key, value in {t["key"]: t.get("value", "") for t in old + new}.items()]


@dataclass(eq=False)
class Cluster:
    name: str
    arn: str
    region: str
    settings: list[dict]
    configuration: dict | None = None
    service_connect: dict | None = None
    providers: list[str] = field(default_factory=list)
    strategy: list[dict] = field(default_factory=list)
    tags: list[dict] = field(default_factory=list)
    status: str = "ACTIVE"
    attached: float = 0.0
    """When capacity providers were attached last, by the monotonic clock."""
    services: dict[str, "Service"] = field(default_factory=dict)
    tasks: dict[str, "Task"] = field(default_factory=dict)
    answered: dict[str, list["Task"]] = field(default_factory=dict)
    """clientToken of RunTask -> the tasks that it started: AmazonECS/latest/APIReference/ECS_Idempotency.html"""

    def active_services(self) -> list["Service"]:
        return [service for service in self.services.values() if service.status != "INACTIVE"]

    def describe(self, include: list[str]) -> dict:
        statuses = [task.status for task in self.tasks.values()]
        view = {
            "clusterArn": self.arn,
            "clusterName": self.name,
            "status": self.status,
            "registeredContainerInstancesCount": 0,
            "runningTasksCount": statuses.count("RUNNING"),
            "pendingTasksCount": sum(statuses.count(status) for status in PENDING),
            "activeServicesCount": len([s for s in self.services.values() if s.status == "ACTIVE"]),
            "statistics": [],
            "tags": self.tags if "TAGS" in include else [],
            "settings": self.settings if "SETTINGS" in include else [],
            "capacityProviders": self.providers,
            "defaultCapacityProviderStrategy": self.strategy,
        }
        if "CONFIGURATIONS" in include and self.configuration:
            view["configuration"] = self.configuration
        if self.service_connect:
            view["serviceConnectDefaults"] = self.service_connect
        return view


@dataclass(eq=False)
class TaskDefinition:
    arn: str
    revision: int
    body: dict
    registered_by: str
    tags: list[dict] = field(default_factory=list)
    status: str = "ACTIVE"
    registered_at: datetime.datetime = field(default_factory=utcnow)
    deregistered_at: datetime.datetime | None = None
    delete_requested_at: datetime.datetime | None = None

    @property
    def family(self) -> str:
        return self.body["family"]

    @property
    def containers(self) -> list[dict]:
        return self.body["containerDefinitions"]

    def describe(self) -> dict:
        times = {"deregisteredAt": self.deregistered_at, "deleteRequestedAt": self.delete_requested_at}
        return {
            **self.body,
            "taskDefinitionArn": self.arn,
            "revision": self.revision,
            "status": self.status,
            "registeredAt": self.registered_at,
            "registeredBy": self.registered_by,
            **{key: value for key, value in times.items() if value},
        }


@dataclass(eq=False)
class Deployment:
    """One revision of a service on its way in or out. `spec` is all that a roll-back has to bring back."""

    id: str
    definition: TaskDefinition
    spec: dict
    status: str = "PRIMARY"
    rollout: str = "IN_PROGRESS"
    reason: str = ""
    rolled_back: "Deployment | None" = None
    """The failed deployment that this one, a roll-back, undoes."""
    failed_tasks: int = 0
    crashes: int = 0
    hold_until: float = 0.0
    """Monotonic time before which no task is started: a crash loop backs off."""
    requested: int = 0
    created_at: datetime.datetime = field(default_factory=utcnow)
    updated_at: datetime.datetime = field(default_factory=utcnow)
    finished_at: datetime.datetime | None = None
    service_status: str = "IN_PROGRESS"
    """Status of the service deployment (DescribeServiceDeployments)."""
    threshold: int = 3
    alarms: str = "NEW"
    """Whether CloudWatch alarms are heeded: NEW, WATCHED, or IGNORED because one was in ALARM from the beginning."""
    sources: list["Deployment"] = field(default_factory=list)

    def describe(self, tasks: list["Task"]) -> dict:
        mine = [task.status for task in tasks if task.deployment is self]
        view = {
            "id": self.id,
            "status": self.status,
            "taskDefinition": self.definition.arn,
            "desiredCount": self.requested,
            "pendingCount": sum(mine.count(status) for status in PENDING),
            "runningCount": mine.count("RUNNING"),
            "failedTasks": self.failed_tasks,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "rolloutState": self.rollout,
            "rolloutStateReason": self.reason,
        }
        for key in ("serviceConnectConfiguration", "volumeConfigurations"):
            if self.spec.get(key):
                view[key] = self.spec[key]
        return view | _placement(self.spec, PLATFORM)


def _placement(spec: dict, platform: dict) -> dict:
    view = {key: spec[key] for key in ("launchType", "networkConfiguration") if spec.get(key)}
    if spec.get("capacityProviderStrategy"):
        view["capacityProviderStrategy"] = spec["capacityProviderStrategy"]
    return view | (platform if spec.get("launchType") != "EC2" else {})


@dataclass(eq=False)
class Service:
    name: str
    arn: str
    cluster: Cluster
    settings: dict
    """What CreateService and UpdateService were given: everything that the API echoes and no deployment owns."""
    desired_count: int
    created_by: str
    tags: list[dict] = field(default_factory=list)
    status: str = "ACTIVE"
    deployments: list[Deployment] = field(default_factory=list)
    history: list[Deployment] = field(default_factory=list)
    """Deployments that somebody asked for, newest first; a roll-back belongs to the one that it undoes."""
    last_completed: Deployment | None = None
    events: list[dict] = field(default_factory=list)
    created_at: datetime.datetime = field(default_factory=utcnow)
    steady: bool = False
    held_up: bool = False
    """Whether protected tasks keep it from stopping tasks, and its events say so."""
    request: dict = field(default_factory=dict)
    seen: tuple[float, dict | None] = 0.0, None
    """When it was made or updated last, by the monotonic clock, and what DescribeServices showed of it before."""

    @property
    def primary(self) -> Deployment:
        return self.deployments[0]

    def event(self, text: str, subject: bool = True) -> None:
        message = f"(service {self.name}) {text}" if subject else text
        self.events.insert(0, {"id": str(uuid.uuid4()), "createdAt": utcnow(), "message": message})
        del self.events[100:]

    def tasks(self) -> list["Task"]:
        """Tasks that are not STOPPED yet."""
        return [task for task in self.cluster.tasks.values() if task.service is self and task.status != "STOPPED"]

    def describe(self, include: list[str]) -> dict:
        tasks = self.tasks()
        statuses = [task.status for task in tasks]
        gone = self.status == "INACTIVE"
        current = self.history[0] if self.history else None
        running = current and current.service_status in ("IN_PROGRESS", "ROLLBACK_IN_PROGRESS")
        view = {
            **{key: value for key, value in self.settings.items() if value is not None},
            "serviceArn": self.arn,
            "serviceName": self.name,
            "clusterArn": self.cluster.arn,
            "status": self.status,
            "desiredCount": self.desired_count,
            "runningCount": statuses.count("RUNNING"),
            "pendingCount": sum(statuses.count(status) for status in PENDING),
            "taskDefinition": self.primary.definition.arn,
            "deployments": [] if gone else [deployment.describe(tasks) for deployment in self.deployments],
            "events": self.events,
            "createdAt": self.created_at,
            "createdBy": self.created_by,
            "loadBalancers": self.primary.spec.get("loadBalancers") or [],
            "serviceRegistries": self.primary.spec.get("serviceRegistries") or [],
            "placementConstraints": self.settings.get("placementConstraints") or [],
            "placementStrategy": self.settings.get("placementStrategy") or [],
            "tags": self.tags if "TAGS" in include else [],
            "currentServiceRevisions": [
                {
                    "arn": self.child_arn("service-revision", deployment),
                    "requestedTaskCount": deployment.requested,
                    "runningTaskCount": len([t for t in tasks if t.deployment is deployment and t.status == "RUNNING"]),
                    "pendingTaskCount": len([t for t in tasks if t.deployment is deployment and t.status in PENDING]),
                }
                for deployment in self.deployments
            ],
        }
        if running:
            view["currentServiceDeployment"] = self.child_arn("service-deployment", current)
        version = self.primary.spec.get("platformVersion") or "LATEST"
        return view | _placement(self.primary.spec, PLATFORM | {"platformVersion": version})

    def child_arn(self, kind: str, deployment: Deployment) -> str:
        """ARN of the service deployment or service revision that belongs to a deployment."""
        return f"{self.arn.replace(':service/', f':{kind}/')}/{deployment.id.removeprefix('ecs-svc/')}"


@dataclass(eq=False)
class Container:
    definition: dict
    """The container definition with the task's overrides applied."""
    arn: str
    runtime_id: str
    status: str = "PENDING"
    exit_code: int | None = None
    reason: str | None = None
    process: subprocess.Popen | None = None
    started_at: float = 0.0
    restarts: int = 0
    out_of_memory: bool = False
    """One of its processes was killed because they needed more than there was."""
    health: HealthCheck | None = None
    environment: dict[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    reference: str = ""
    """The image, if it runs in a real container."""
    output: int | None = None
    """File descriptor that the process writes to; None: nobody reads it."""
    stream: object = None
    ports: dict[int, int] = field(default_factory=dict)
    """Container port -> port on 127.0.0.1."""
    waiting_since: float = 0.0
    kill_at: float | None = None

    @property
    def name(self) -> str:
        return self.definition["name"]

    @property
    def health_status(self) -> str:
        return self.health.status if self.health else "UNKNOWN"

    def describe(self, task: "Task") -> dict:
        view = {
            "containerArn": self.arn,
            "taskArn": task.arn,
            "name": self.name,
            "image": self.definition["image"],
            "runtimeId": self.runtime_id,
            "lastStatus": self.status,
            "networkBindings": [
                {"bindIP": "127.0.0.1", "containerPort": port, "hostPort": host, "protocol": "tcp"}
                for port, host in self.ports.items()
            ],
            "networkInterfaces": [{"attachmentId": task.attachment, "privateIpv4Address": "127.0.0.1"}],
            "healthStatus": self.health_status,
            "cpu": str(self.definition.get("cpu", 0)),
        }
        for key in ("memory", "memoryReservation"):
            if self.definition.get(key):
                view[key] = str(self.definition[key])
        if self.exit_code is not None:
            view["exitCode"] = self.exit_code
        if self.reason:
            view["reason"] = self.reason
        return view


@dataclass(eq=False)
class Task:
    id: str
    arn: str
    cluster: Cluster
    definition: TaskDefinition
    containers: list[Container]
    group: str
    spec: dict
    """launchType, networkConfiguration, capacityProviderName, enableExecuteCommand."""
    service: Service | None = None
    deployment: Deployment | None = None
    started_by: str | None = None
    overrides: dict = field(default_factory=dict)
    tags: list[dict] = field(default_factory=list)
    status: str = "PROVISIONING"
    desired_status: str = "RUNNING"
    version: int = 1
    stop_code: str | None = None
    stopped_reason: str | None = None
    failed: bool = False
    """It ended by itself, or its health checks ended it: the scheduler has to count it."""
    counted: bool = False
    steady: bool = False
    times: dict[str, datetime.datetime] = field(default_factory=lambda: {"createdAt": utcnow()})
    attachment: str = field(default_factory=lambda: str(uuid.uuid4()))
    job: Future | None = None
    """The blocking work that the task's present state waits for."""
    since: float = 0.0
    """Monotonic time of the last change of status."""
    running_since: float | None = None
    healthy_since: float | None = None
    folder: Path | None = None
    registered: list[tuple[str, int]] = field(default_factory=list)
    """(target group ARN, port on 127.0.0.1) of each target."""
    protected_until: datetime.datetime | None = None
    """When its scale-in protection, if it was given any, expires."""

    @property
    def protected(self) -> bool:
        return self.protected_until is not None and utcnow() < self.protected_until

    @property
    def limits(self) -> tuple[float, int]:
        """vCPUs and MiB of the task."""
        cpu = self.overrides.get("cpu") or self.definition.body.get("cpu") or 256
        memory = self.overrides.get("memory") or self.definition.body.get("memory") or 512
        return int(cpu) / 1024, int(memory)

    @property
    def health_status(self) -> str:
        checked = {c.health_status for c in self.containers if c.health and c.definition["essential"]}
        return next((status for status in ("UNHEALTHY", "UNKNOWN", "HEALTHY") if status in checked), "UNKNOWN")

    @property
    def subnet(self) -> str:
        return (
            ((self.spec.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}).get("subnets") or [""]
        )[0]

    def become(self, status: str, now: float) -> None:
        self.status, self.since = status, now
        self.version += 1

    def describe(self, include: list[str]) -> dict:
        interface = {"PROVISIONING": "PRECREATED", "STOPPED": "DELETED"}.get(self.status, "ATTACHED")
        details = {"subnetId": self.subnet, "networkInterfaceId": f"eni-{self.attachment.replace('-', '')[:17]}",
                   "macAddress": "02:00:7f:00:00:01", "privateIPv4Address": "127.0.0.1"}  # fmt: skip
        view = {
            "taskArn": self.arn,
            "clusterArn": self.cluster.arn,
            "taskDefinitionArn": self.definition.arn,
            "group": self.group,
            "lastStatus": self.status,
            "desiredStatus": self.desired_status,
            "healthStatus": self.health_status,
            "connectivity": "CONNECTED",
            "connectivityAt": self.times["createdAt"],
            "containers": [container.describe(self) for container in self.containers],
            "cpu": self.definition.body.get("cpu"),
            "memory": self.definition.body.get("memory"),
            "launchType": "FARGATE",
            "availabilityZone": f"{self.cluster.region}a",
            "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
            "enableExecuteCommand": bool(self.spec.get("enableExecuteCommand")),
            "overrides": {"containerOverrides": [{"name": c.name} for c in self.containers], **self.overrides},
            "ephemeralStorage": self.definition.body.get("ephemeralStorage") or {"sizeInGiB": 20},
            "tags": self.tags if "TAGS" in include else [],
            "version": self.version,
            **PLATFORM,
            **self.times,
        }
        if self.definition.body["networkMode"] == "awsvpc":
            view["attachments"] = [
                {
                    "id": self.attachment,
                    "type": "ElasticNetworkInterface",
                    "status": interface,
                    "details": [{"name": name, "value": value} for name, value in details.items()],
                }
            ]
        optional = {
            "startedBy": self.started_by,
            "capacityProviderName": self.spec.get("capacityProviderName"),
            "stopCode": self.stop_code,
            "stoppedReason": self.stopped_reason,
        }
        return view | {key: value for key, value in optional.items() if value}
