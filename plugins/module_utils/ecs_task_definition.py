# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ECS task definitions: from options to a request, and both a request and what AWS describes to one normal form.

A revision is a whole document that AWS never changes afterwards, so a field that is left out has the AWS default.
The normal form spells these defaults out, and turns every list that has no order into a mapping by its key: two
documents mean the same tasks exactly when their normal forms are equal. Pure; no calls to AWS.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Exact

# Mappings whose keys belong to the user and are not names of the API.
USER_KEYS = ("options", "docker_labels", "dockerLabels", "driver_opts", "driverOpts", "labels", "tags")

# What DescribeTaskDefinition adds and nobody can ask for.
READ_ONLY = (
    "taskDefinitionArn",
    "revision",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "deregisteredAt",
    "deleteRequestedAt",
    "registeredBy",
)

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
TASK_DEFAULTS = {
    "status": "ACTIVE",
    "network_mode": "awsvpc",
    "cpu_architecture": "X86_64",
    "operating_system_family": "LINUX",
    "ephemeral_storage_gib": 20,
    "enable_fault_injection": False,
}
CONTAINER_DEFAULTS = {
    "essential": True,
    "cpu": 0,
    "stop_timeout": 30,
    "readonly_root_filesystem": False,
    "version_consistency": "enabled",
    "privileged": False,
    "interactive": False,
    "pseudo_terminal": False,
    "disable_networking": False,
}
HEALTH_CHECK_DEFAULTS = {"interval": 30, "timeout": 5, "retries": 3, "start_period": 0}
EFS_DEFAULTS = {"root_directory": "/", "transit_encryption": "DISABLED"}

# list of a container or task -> (its key in the normal form, the one value that is left, or None for several)
KEYED = {
    "environment": ("name", "value"),
    "secrets": ("name", "value_from"),
    "secret_options": ("name", "value_from"),
    "depends_on": ("container_name", "condition"),
    "system_controls": ("namespace", "value"),
    "mount_points": ("container_path", None),
    "tmpfs": ("container_path", None),
    "volumes_from": ("source_container", None),
    "ulimits": ("name", None),
    "volumes": ("name", None),
    "containers": ("name", None),
}
# lists of the API that are options by name -> (name, value) of their items
NAMED = {
    "environment": ("name", "value"),
    "secrets": ("name", "valueFrom"),
    "secret_options": ("name", "valueFrom"),
    "system_controls": ("namespace", "value"),
}
# words that the API writes otherwise than the rest
ODD_WORDS = {"managed_ebs_volume": "managedEBSVolume", "size_in_gib": "sizeInGiB"}
ODD_OPTIONS = {word: option for option, word in ODD_WORDS.items()}
UNORDERED = ("requires_compatibilities", "add", "drop", "ignored_exit_codes")


def camel(name: str) -> str:
    if name in ODD_WORDS:
        return ODD_WORDS[name]
    head, *tail = name.split("_")
    return head + "".join(word.title() for word in tail)


def snake(name: str) -> str:
    return ODD_OPTIONS.get(name) or re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def text(value: Any) -> str:
    """A value of an environment variable or log option as AWS wants it; YAML's ``true`` and ``5`` are given too."""
    return value if isinstance(value, str) else json.dumps(value)


def api(value: Any, name: str = "") -> Any:
    """Options in the API's names, without what was left out."""
    if isinstance(value, Mapping) and name in USER_KEYS:
        return {key: text(item) for key, item in value.items() if item is not None}
    if isinstance(value, Mapping) and name in NAMED:
        key, single = NAMED[name]
        return [{key: k, single: text(v)} for k, v in value.items() if v is not None]
    if isinstance(value, Mapping):
        return {camel(key): api(item, key) for key, item in value.items() if item is not None}
    if name == "environment_files":
        return [{"value": item, "type": "s3"} for item in value]  # the only type there is
    if isinstance(value, (list, tuple)):
        return [api(item) for item in value]
    return value


def request(definition: Mapping[str, Any], tags: Mapping[str, str] | None) -> dict[str, Any]:
    """The arguments of RegisterTaskDefinition for the option ``task_definition`` and the tags of the task."""
    rest = dict(definition)
    platform = api({key: rest.pop(key, None) for key in ("cpu_architecture", "operating_system_family")})
    storage = rest.pop("ephemeral_storage_gib", None)
    containers = rest.pop("containers", None) or []
    arguments = api(rest)
    arguments["containerDefinitions"] = [{"environment": [], "secrets": [], **api(item)} for item in containers]
    for size in ("cpu", "memory"):
        if size in arguments:
            arguments[size] = str(arguments[size])
    if platform:
        arguments["runtimePlatform"] = platform
    if storage is not None:
        arguments["ephemeralStorage"] = {"sizeInGiB": storage}
    if tags:
        arguments["tags"] = ansible_dict_to_boto3_tag_list(tags, "key", "value")
    return arguments


def normal(document: Mapping[str, Any]) -> Exact:
    """The normal form of RegisterTaskDefinition's arguments or of a described ``taskDefinition``, without its tags."""
    task = shape({key: value for key, value in document.items() if key not in (*READ_ONLY, "tags")})
    task["containers"] = task.pop("container_definitions", Exact())
    task.update(task.pop("runtime_platform", {}))
    storage = task.pop("ephemeral_storage", {}).get("size_in_gib")
    if storage is not None:
        task["ephemeral_storage_gib"] = storage
    for size, unit in (("cpu", "vcpu"), ("memory", "gb")):
        if size in task:
            task[size] = _amount(str(task[size]), unit)
    for name, value in TASK_DEFAULTS.items():
        task.setdefault(name, value)
    for volume in task.setdefault("volumes", Exact()).values():
        fill(volume, {"configured_at_launch": False})
        efs = volume.get("efs_volume_configuration")
        if efs is not None:
            fill(efs, EFS_DEFAULTS)
            fill(efs.setdefault("authorization_config", Exact()), {"iam": "DISABLED"})
        if "s3files_volume_configuration" in volume:
            fill(volume["s3files_volume_configuration"], {"root_directory": "/"})
    for container in task["containers"].values():
        _normal_container(container, task["network_mode"])
    return task


def _normal_container(container: Exact, network_mode: str) -> None:
    fill(container, CONTAINER_DEFAULTS)
    fill(container.setdefault("linux_parameters", Exact()), {"init_process_enabled": False})
    for name in ("environment", "secrets"):
        container.setdefault(name, Exact())
    for port in container.get("port_mappings", {}).values():
        if network_mode in ("awsvpc", "host") and "container_port" in port:
            port["host_port"] = port["container_port"]
    for mount in (*container.get("mount_points", {}).values(), *container.get("volumes_from", {}).values()):
        fill(mount, {"read_only": False})
    if "health_check" in container:
        fill(container["health_check"], HEALTH_CHECK_DEFAULTS)
    if "log_configuration" in container:
        fill_logs(container["log_configuration"])
    if "restart_policy" in container:
        fill(container["restart_policy"], {"restart_attempt_period": 300})


def fill_logs(log_configuration: Exact) -> None:
    for name in ("options", "secret_options"):
        log_configuration.setdefault(name, Exact())


def fill(fields: dict, defaults: Mapping[str, Any]) -> None:
    for name, value in defaults.items():
        fields.setdefault(name, value)


def _amount(size: str, unit: str) -> str:
    """AWS turns ``1 vCPU`` and ``2 GB`` into ``1024`` and ``2048`` when it registers a task definition."""
    number = re.fullmatch(rf"\s*([\d.]+)\s*{unit}\s*", size, re.IGNORECASE)
    return str(int(float(number[1]) * 1024)) if number else size


def shape(value: Any, name: str = "") -> Any:
    """The API's structure in our names: keyed lists as mappings, unordered lists sorted, empty things left out."""
    if isinstance(value, Mapping):
        if name in USER_KEYS:
            return Exact(value)
        shaped = Exact()
        for key, item in value.items():
            field = snake(key)
            inner = shape(item, field)
            if inner is not None and inner != [] and inner != {} and inner != "":
                shaped[field] = inner
        return shaped
    if not isinstance(value, (list, tuple)):
        return value
    if name == "port_mappings":
        return Exact(_port(shape(item)) for item in value)
    if name == "container_definitions":
        name = "containers"
    if name == "environment_files":
        return [item["value"] for item in value]
    if name in KEYED:
        key, single = KEYED[name]
        shaped_items = [_keep_empty_value(shape(item), item) for item in value]
        return Exact((item.pop(key), item.get(single, "") if single else item) for item in shaped_items)
    if name in UNORDERED:
        return sorted(value)
    return [shape(item) for item in value]


def _keep_empty_value(shaped: Exact, item: Mapping) -> Exact:
    # an environment variable may well be set to nothing
    if item.get("value") == "":
        shaped["value"] = ""
    return shaped


def _port(port: Exact) -> tuple[str, Exact]:
    port.setdefault("protocol", "tcp")
    return f"{port.get('container_port', port.get('container_port_range'))}/{port['protocol']}", port
