"""Task scale-in protection: who gets it, until when, and who does not.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateTaskProtection.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
"""

import datetime

from . import errors
from .model import Cluster, Task, utcnow

DEFAULT_MINUTES, MOST_MINUTES = 120, 2880


def update(sandbox, cluster: Cluster, names: list[str], enabled: bool, minutes: int | None) -> dict:
    """Protect these tasks from now on, or no longer; what UpdateTaskProtection answers."""
    if minutes is not None and not 1 <= minutes <= MOST_MINUTES:
        raise errors.invalid(f"expiresInMinutes must be between 1 and {MOST_MINUTES}.")
    seconds = sandbox.minutes(minutes or DEFAULT_MINUTES)

    def change(task: Task) -> str:
        if enabled and _too_many(task):
            return "DEPLOYMENT_BLOCKED"
        task.protected_until = utcnow() + datetime.timedelta(seconds=seconds) if enabled else None
        return ""

    return _answer(cluster, names, change)


def get(cluster: Cluster, names: list[str]) -> dict:
    """What GetTaskProtection answers of these tasks, or of all tasks of the cluster's services."""
    return _answer(cluster, names or [task.arn for task in cluster.tasks.values() if _valid(task)], lambda _: "")


def _too_many(task: Task) -> bool:
    """Whether the service would have more protected tasks than it is to have tasks.

    That is what DEPLOYMENT_BLOCKED means (Developer Guide, "Task scale-in protection considerations").
    """
    others = [other for other in task.service.tasks() if other is not task and other.protected]
    return len(others) >= task.service.desired_count


def _valid(task: Task) -> bool:
    return task.service is not None and task.desired_status == "RUNNING"


def _answer(cluster: Cluster, names: list[str], act) -> dict:
    """Act on each task; a reason that `act` gives is a failure."""
    found, failures = [], []
    for name in names:
        task = cluster.tasks.get(name.rpartition("/")[2])
        reason = "MISSING" if not task else "TASK_NOT_VALID" if not _valid(task) else act(task)
        if reason:
            arn = task.arn if task else f"{cluster.arn.replace(':cluster/', ':task/')}/{name.rpartition('/')[2]}"
            failures.append({"arn": arn, "reason": reason})
        else:
            view = {"taskArn": task.arn, "protectionEnabled": task.protected}
            found.append(view | ({"expirationDate": task.protected_until} if task.protected else {}))
    return {"protectedTasks": found, "failures": failures}
