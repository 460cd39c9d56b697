"""What Application Auto Scaling remembers, per region."""

import datetime
import time
import uuid
from collections import deque
from dataclasses import dataclass, field

from .evaluator import Cooldown

NAMESPACE = "ecs"
DIMENSION = "ecs:service:DesiredCount"
ACTIVITIES_KEPT = 1000
"""AWS keeps six weeks of activities."""


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass
class Target:
    """A scalable target: one ECS service."""

    resource_id: str
    minimum: int
    maximum: int
    role_arn: str
    arn: str
    suspended: dict[str, bool] = field(
        default_factory=lambda: dict.fromkeys(
            ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended"), False
        )
    )
    tags: dict[str, str] = field(default_factory=dict)
    created: datetime.datetime = field(default_factory=now)
    cooldown: Cooldown = field(default_factory=Cooldown)
    seen: float = field(default_factory=time.monotonic)

    @property
    def cluster(self) -> str:
        return self.resource_id.split("/")[1]

    @property
    def service(self) -> str:
        return self.resource_id.split("/")[2]


@dataclass
class Policy:
    """A scaling policy. configuration is the request's, as given; alarms are names in CloudWatch."""

    resource_id: str
    name: str
    arn: str
    type: str
    configuration: dict
    alarms: dict[str, str] = field(default_factory=dict)
    """High, Low -> alarm name."""
    created: datetime.datetime = field(default_factory=now)


class State:
    """Targets, policies, scheduled actions and activities of one region."""

    def __init__(self, region: str, account_id: str):
        self.region = region
        self.account_id = account_id
        self.targets: dict[str, Target] = {}
        self.policies: dict[tuple[str, str], Policy] = {}
        self.scheduled_actions: dict[tuple[str, str], dict] = {}
        self.scheduled_since: dict[tuple[str, str], datetime.datetime] = {}
        """The sandbox's time when each scheduled action was put."""
        self.activities: deque[dict] = deque(maxlen=ACTIVITIES_KEPT)
        """Newest first, shaped as DescribeScalingActivities returns them."""
        self._awaited: dict[str, tuple[dict, int]] = {}

    def policies_of(self, resource_id: str) -> list[Policy]:
        return [policy for policy in list(self.policies.values()) if policy.resource_id == resource_id]

    def target_by_arn(self, arn: str) -> Target | None:
        return next((target for target in list(self.targets.values()) if target.arn == arn), None)

    def new_target_arn(self) -> str:
        identifier = uuid.uuid4().hex + uuid.uuid4().hex[:4]  # 36 characters, as on AWS
        return f"arn:aws:application-autoscaling:{self.region}:{self.account_id}:scalable-target/{identifier}"

    def arn(self, kind: str, resource_id: str, name_kind: str, name: str) -> str:
        """ARN of a scaling policy or scheduled action, as in the API reference's examples."""
        return (
            f"arn:aws:autoscaling:{self.region}:{self.account_id}:{kind}:{uuid.uuid4()}"
            f":resource/{NAMESPACE}/{resource_id}:{name_kind}/{name}"
        )

    def record(self, resource_id: str, description: str, cause: str, status: str, **more) -> dict:
        """Add a scaling activity and return it."""
        activity = {
            "ActivityId": str(uuid.uuid4()),
            "ServiceNamespace": NAMESPACE,
            "ResourceId": resource_id,
            "ScalableDimension": DIMENSION,
            "Description": description,
            "Cause": cause,
            "StartTime": now(),
            "StatusCode": status,
            **more,
        }
        self.activities.appendleft(activity)
        return activity

    def await_capacity(self, activity: dict, desired: int) -> None:
        """Keep an activity InProgress until the service runs `desired` tasks."""
        self._awaited[activity["ActivityId"]] = (activity, desired)

    def awaiting(self, resource_id: str | None = None) -> list[tuple[dict, int]]:
        """(activity, desired count) of activities in progress, of one resource or of all."""
        return [pair for pair in list(self._awaited.values()) if resource_id in (None, pair[0]["ResourceId"])]

    def end(self, activity: dict, status: str, message: str) -> None:
        activity.update(StatusCode=status, StatusMessage=message, EndTime=now())
        self._awaited.pop(activity["ActivityId"], None)

    def record_not_scaled(self, resource_id: str, cause: str, reason: dict) -> None:
        """A not scaled activity, once for as long as the reason lasts: an idle service would fill the list."""
        latest = next((a for a in self.activities if a["ResourceId"] == resource_id), None)
        if latest and latest["Cause"] == cause and latest.get("NotScaledReasons") == [reason]:
            return
        self.record(
            resource_id, "Attempting to scale due to alarm triggered", cause, "Failed", NotScaledReasons=[reason]
        )
