"""All state of ECS, by region, and the ways to find something in it."""

import threading
from collections import defaultdict

from . import errors
from .model import Cluster, Service, Task, TaskDefinition


class Store:
    """Everything is read and changed under `lock`."""

    def __init__(self, account_id: str):
        self.account_id = account_id
        self.lock = threading.RLock()
        self.changed = threading.Event()
        """Set to make the scheduler look at once instead of at its next tick."""
        self.clear()

    def clear(self) -> None:
        self.clusters: dict[str, dict[str, Cluster]] = defaultdict(dict)
        """Region -> name -> cluster."""
        self.definitions: dict[str, dict[str, list[TaskDefinition]]] = defaultdict(lambda: defaultdict(list))
        """Region -> family -> revisions, oldest first; a deleted one stays, so that its number is not used again."""
        self.live: dict[str, Task] = {}
        """Task id -> task that is not STOPPED."""
        self.linked: float | None = None
        """When ECS's service-linked role was made, by the monotonic clock."""
        self.account_settings: dict[str, dict[str, str]] = defaultdict(dict)

    def arn(self, region: str, kind: str, name: str) -> str:
        return f"arn:aws:ecs:{region}:{self.account_id}:{kind}/{name}"

    def services(self) -> list[Service]:
        return [
            s for region in self.clusters.values() for cluster in region.values() for s in cluster.services.values()
        ]

    def cluster(self, region: str, name: str | None, active: bool = True) -> Cluster:
        """By name or ARN, `default` when None. Raises ClusterNotFoundException."""
        found = self.clusters[region].get((name or "default").rpartition("/")[2])
        if not found or (active and found.status != "ACTIVE"):
            raise errors.error("ClusterNotFoundException", "Cluster not found.")
        return found

    def service(self, cluster: Cluster, name: str) -> Service:
        """By name or ARN. Raises ServiceNotFoundException."""
        found = cluster.services.get(name.rpartition("/")[2])
        if not found or (name.startswith("arn:") and name != found.arn):
            raise errors.error("ServiceNotFoundException", "Service not found.")
        return found

    def revision(self, region: str, name: str) -> TaskDefinition | None:
        """By ARN, family:revision, or family (its latest ACTIVE revision)."""
        family, _, number = name.rpartition("/")[2].partition(":") if name.startswith("arn:") else name.partition(":")
        revisions = self.definitions[region].get(family, [])
        if number:
            return next((r for r in revisions if str(r.revision) == number and r.status != "DELETED"), None)
        return next((r for r in reversed(revisions) if r.status == "ACTIVE"), None)

    def usable_revision(self, region: str, name: str | None) -> TaskDefinition:
        found = self.revision(region, name or "")
        if not found:
            raise errors.client("TaskDefinition not found.")
        if found.status != "ACTIVE":
            raise errors.client("TaskDefinition is inactive")
        return found

    def tagged(self, region: str, arn: str):
        """The cluster, service, task or task definition with this ARN."""
        kind, _, path = (
            arn.rpartition(":")[2].partition("/") if ":task-definition/" not in arn else ("task-definition", "", arn)
        )
        parts = path.split("/")
        if kind == "task-definition":
            found = self.revision(region, path)
        else:
            cluster = self.cluster(region, parts[0])
            things = {"service": cluster.services, "task": cluster.tasks}.get(kind, {})
            found = cluster if kind == "cluster" else things.get(parts[-1])
        if not arn.startswith("arn:") or found is None:
            raise errors.error("ResourceNotFoundException", "The specified resource could not be found.")
        return found
