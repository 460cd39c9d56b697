"""Makes tasks: from a task definition, what RunTask or a service asks for, and overrides."""

import random
import uuid

from .model import Cluster, Container, Deployment, Service, Task, TaskDefinition


def new_task(cluster: Cluster, definition: TaskDefinition, spec: dict, *, group: str, tags: list[dict],
             started_by: str | None = None, overrides: dict | None = None, service: Service | None = None,
             deployment: Deployment | None = None) -> Task:  # fmt: skip
    """A task in status PROVISIONING; it runs once it is in the store's `live`."""
    identity = uuid.uuid4().hex
    arn = f"{cluster.arn.replace(':cluster/', ':task/')}/{identity}"
    return Task(
        id=identity,
        arn=arn,
        cluster=cluster,
        definition=definition,
        containers=containers_of(definition.body, overrides or {}, arn),
        group=group,
        spec=spec,
        service=service,
        deployment=deployment,
        started_by=started_by,
        overrides=overrides or {},
        tags=tags,
    )


def choose_provider(strategy: list[dict], taken: list[str]) -> str | None:
    """The capacity provider for one more task: bases first, then by weight (API: CapacityProviderStrategyItem)."""
    for item in strategy:
        if taken.count(item["capacityProvider"]) < item.get("base", 0):
            return item["capacityProvider"]
    weighted = [item for item in strategy if item.get("weight", 0) > 0]
    beyond = {
        item["capacityProvider"]: taken.count(item["capacityProvider"]) - item.get("base", 0) for item in weighted
    }
    best = min(weighted, key=lambda item: (beyond[item["capacityProvider"]] + 1) / item["weight"], default=None)
    return best["capacityProvider"] if best else None


def containers_of(definition: dict, overrides: dict, task_arn: str) -> list[Container]:
    """Fresh containers for a task, with RunTask's containerOverrides applied."""
    changes = {override.get("name"): override for override in overrides.get("containerOverrides") or []}
    containers = []
    for body in definition["containerDefinitions"]:
        change = changes.get(body["name"], {})
        merged = {
            **body,
            **{k: change[k] for k in ("command", "cpu", "memory", "memoryReservation") if change.get(k) is not None},
        }
        replaced = {variable["name"] for variable in change.get("environment") or []}
        kept = [variable for variable in body["environment"] if variable["name"] not in replaced]
        merged["environment"] = kept + list(change.get("environment") or [])
        arn = f"{task_arn.replace(':task/', ':container/')}/{uuid.uuid4()}"
        runtime_id = f"{task_arn.rpartition('/')[2]}-{random.randrange(10**9, 10**10)}"  # noqa: S311 - a name
        containers.append(Container(merged, arn, runtime_id))
    return containers
