# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which version of a secret a task starts with, noted as a label of its container.

ECS reads a secret once, when a task starts, and nothing of a service tells which version that was. With the version in
the task definition, a new one of the secret is a change like any other: check mode foretells it, and it is rolled out.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specifying-sensitive-data.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

try:
    from botocore.exceptions import ClientError
except ImportError:
    ClientError = ()

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Refused

LABEL = "secret-version/"
# <secret arn>:<json key>:<version stage>:<version id>
SECRET = re.compile(r"(arn:[^:]+:secretsmanager:[^:]+:\d+:secret:[^:]+)(?::([^:]*))?(?::([^:]*))?(?::([^:]*))?")


def noted(aws: Aws, services: Iterable[Mapping]) -> list[dict[str, Any]]:
    """``services`` with a label in place of each name in their containers' ``secret_versions``.

    A secret that is not there, and what is no secret of Secrets Manager, has no label.
    """
    services = list(services)
    arns = sorted({arn for item in services for arn, _stage in _followed(item).values()})
    stages = dict(zip(arns, together(*(lambda arn=arn: _stages(aws, arn) for arn in arns)), strict=True))
    return [_labelled(item, stages) for item in services]


def _containers(item: Mapping) -> list[Mapping]:
    return (item["task_definition"] or {}).get("containers") or []


def _followed(item: Mapping) -> dict[tuple[str, str], tuple[str, str]]:
    """``(container, variable)`` -> ``(secret's ARN, version stage)``."""
    followed = {}
    for container in _containers(item):
        for name in container["secret_versions"] or []:
            if name not in (container["secrets"] or {}):
                raise Refused(
                    f"service {item['name']}: secret_versions of container {container['name']} has {name}, which is "
                    f"not among its secrets; allowed: {', '.join(container['secrets'] or {}) or 'none'}."
                )
            match = SECRET.fullmatch(container["secrets"][name])
            if match and not match[4]:  # what is pinned to a version stays as it is
                followed[container["name"], name] = match[1], match[3] or "AWSCURRENT"
    return followed


def _stages(aws: Aws, arn: str) -> dict[str, str]:
    """Version ids by their stages."""
    try:
        versions = aws.client("secretsmanager").describe_secret(SecretId=arn).get("VersionIdsToStages", {})
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        return {}
    return {stage: version for version, stages in versions.items() for stage in stages}


def _labelled(item: Mapping, stages: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    if not _containers(item):
        return dict(item)
    labels: dict[str, dict[str, str]] = {}
    for (container, name), (arn, stage) in _followed(item).items():
        if stage in stages[arn]:
            labels.setdefault(container, {})[LABEL + name] = stages[arn][stage]
    containers = []
    for container in _containers(item):
        own = {**(container["docker_labels"] or {}), **labels.get(container["name"], {})}
        containers.append({**container, "secret_versions": None, "docker_labels": own or container["docker_labels"]})
    return {**item, "task_definition": {**item["task_definition"], "containers": containers}}
