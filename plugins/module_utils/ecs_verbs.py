# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the verbs of a service's life share: services by short names, what they run, and where that writes its logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

try:
    from botocore.exceptions import ClientError
except ImportError:
    ClientError = ()

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Failed, Refused, user_tags

# Options of every verb; documented in doc_fragments/service.py.
NAMED = {
    "cluster": {"type": "str", "required": True},
    "naming": {"type": "str", "default": "*"},
}


def short_name(params: Mapping, name: str) -> str:
    """What ``*`` of ``naming`` stands for in a service's name; the whole name of one that is called otherwise."""
    before, _, after = params["naming"].partition("*")
    fits = name.startswith(before) and name.endswith(after) and len(name) > len(before + after)
    return name[len(before) : len(name) - len(after)] if fits else name


def find(aws: Aws, params: Mapping, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Services as DescribeServices gives them with their tags, by short name; without names all of the cluster."""
    cluster = params["cluster"]
    wanted = [params["naming"].replace("*", name, 1) for name in names]
    try:
        found = ecs_rollout.read_services(aws, cluster, wanted, tags=True) if wanted else {}
        missing = [name for name, full in zip(names, wanted, strict=True) if full not in found]
        if missing or not names:
            there = [
                ecs_rollout.short(arn) for arn in aws.pages("ecs", "list_services", "serviceArns", cluster=cluster)
            ]
            if missing:
                known = ", ".join(sorted(short_name(params, name) for name in there)) or "none"
                raise Refused(f"There is no service {', '.join(missing)} in {cluster}; there are: {known}.")
            found = ecs_rollout.read_services(aws, cluster, sorted(there), tags=True)
    except ClientError as error:
        if error_code(error) != "ClusterNotFoundException":
            raise
        raise Refused(
            f"There is no cluster {cluster}: deploy it with site.yml first, or correct name_prefix or aws_region."
        ) from error
    return {short_name(params, name): service for name, service in found.items()}


def tags(service: Mapping) -> dict[str, str]:
    return user_tags({tag["key"]: tag["value"] for tag in service.get("tags", [])})


def definitions(aws: Aws, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Task definitions by the ARNs, or families with or without revision, that they are asked for by."""
    names = sorted(set(names))

    def read(name: str) -> dict[str, Any]:
        return aws.client("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]

    return dict(zip(names, together(*(lambda name=name: read(name) for name in names)), strict=True))


def image(definition: Mapping) -> str:
    """That of the first container, which is the application; others are beside it."""
    return definition["containerDefinitions"][0]["image"]


def streams(aws: Aws, definition: Mapping) -> Iterator[tuple[str, str, str]]:
    """``(container, log group, beginning of its streams' names)`` of containers with the awslogs driver.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html (stream names)
    """
    for container in definition["containerDefinitions"]:
        config = container.get("logConfiguration", {})
        options = config.get("options", {})
        if config.get("logDriver") == "awslogs" and options.get("awslogs-region", aws.region) == aws.region:
            prefix = options.get("awslogs-stream-prefix")
            if prefix:  # without one the stream is called by the container's id, which is not the task's
                yield container["name"], options["awslogs-group"], f"{prefix}/{container['name']}/"


def report(accounts: Mapping[str, str]) -> None:
    """Raise for what did not come true; ``accounts`` are those of ``ecs_rollout.follow``."""
    if accounts:
        raise Failed("\n".join(accounts[name] for name in sorted(accounts)))
