# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One ECS cluster: capacity providers and default strategy, settings, execute command, storage keys, namespace, tags.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Cluster.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, patiently, wait_until
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_task_definition import camel, snake
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    Change,
    Exact,
    Refused,
    Say,
    create,
    delete,
    is_foreign,
    leave_foreign,
    predicted,
    refuse_foreign,
    unknown,
    update,
    user_tags,
)

# options of one word or more -> the part of the API's ``configuration`` that they are
CONFIGURATION = {
    "execute_command_configuration": "executeCommandConfiguration",
    "managed_storage_configuration": "managedStorageConfiguration",
}

# Codes of what is about to end: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCluster.html
_STILL = ("ClusterContainsServicesException", "ClusterContainsTasksException", "UpdateInProgressException")


def resource(name: str) -> str:
    return f"cluster {name}"


def strategy(items: Sequence[Mapping]) -> Exact:
    """A capacity provider strategy without its order, which means nothing: ``{provider: {weight, base}}``.

    Takes the API's form and the option's, fills in AWS's default of 0 for both numbers.
    """
    return Exact(
        (
            item.get("capacityProvider") or item.get("capacity_provider"),
            Exact(weight=item.get("weight") or 0, base=item.get("base") or 0),
        )
        for item in items
    )


def strategy_argument(fields: Mapping[str, Mapping]) -> list[dict]:
    """The inverse: what the API takes."""
    return [{"capacityProvider": provider, **numbers} for provider, numbers in fields.items()]


def execute_command(fields: Mapping) -> Exact:
    """An execute-command configuration, API's or option's, with the defaults that AWS leaves unsaid.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommandConfiguration.html
    """
    given = {snake(key): value for key, value in fields.items() if value not in (None, "")}
    result = Exact({"logging": "DEFAULT", **given})
    if given.get("log_configuration"):
        inner = {snake(key): value for key, value in given["log_configuration"].items() if value not in (None, "")}
        result["log_configuration"] = Exact(
            {"cloud_watch_encryption_enabled": False, "s3_encryption_enabled": False, **inner}
        )
    return result


def _api(fields: Mapping) -> dict[str, Any]:
    return {
        camel(key): _api(value) if isinstance(value, Mapping) else value
        for key, value in fields.items()
        if value is not None
    }


def namespace_as_given(aws: Aws, found: str | None, given: str | None) -> str | None:
    """A Cloud Map namespace in the form, name or ARN, in which the parameters give it; AWS may show the other one.

    Asks Cloud Map only when the two forms differ.
    """
    if not found or not given or found == given or found.startswith("arn:") == given.startswith("arn:"):
        return found or None
    filters = [{"Name": "NAME", "Values": [given if found.startswith("arn:") else found], "Condition": "EQ"}]
    for item in aws.pages("servicediscovery", "list_namespaces", "Namespaces", Filters=filters):
        if {item["Name"], item["Arn"]} == {found, given}:
            return given
    return found


def _read(aws: Aws, name: str) -> dict[str, Any] | None:
    """DescribeClusters, which still shows a deleted cluster for a while, as INACTIVE."""
    included = ["TAGS", "SETTINGS", "CONFIGURATIONS", "ATTACHMENTS"]
    found = aws.client("ecs").describe_clusters(clusters=[name], include=included)["clusters"]
    return next((cluster for cluster in found if cluster["status"] != "INACTIVE"), None)


def describe(aws: Aws, params: Mapping) -> dict[str, Any] | None:
    """``{arn, status, active_services, capacity_providers, default_capacity_provider_strategy, ...}`` or None."""
    cluster = _read(aws, params["name"])
    if cluster is None:
        return None
    settings = {item["name"]: item["value"] for item in cluster.get("settings", [])}
    configuration = cluster.get("configuration", {})
    storage = configuration.get("managedStorageConfiguration", {})
    defaults = params["service_connect_defaults"] or {}
    namespace = cluster.get("serviceConnectDefaults", {}).get("namespace")
    return {
        "arn": cluster["clusterArn"],
        "status": _status(cluster),
        "active_services": cluster.get("activeServicesCount", 0),
        "capacity_providers": sorted(cluster.get("capacityProviders", [])),
        "default_capacity_provider_strategy": strategy(cluster.get("defaultCapacityProviderStrategy") or []),
        "container_insights": settings.get("containerInsights", "disabled"),
        "execute_command_configuration": execute_command(configuration.get("executeCommandConfiguration", {})),
        "managed_storage_configuration": {
            name: storage.get(camel(name)) for name in ("kms_key_id", "fargate_ephemeral_storage_kms_key_id")
        },
        "service_connect_defaults": {"namespace": namespace_as_given(aws, namespace, defaults.get("namespace"))},
        "tags": user_tags({tag["key"]: tag["value"] for tag in cluster.get("tags", [])}),
    }


def desired(params: Mapping) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if params["capacity_providers"] is not None:
        fields["capacity_providers"] = sorted(set(params["capacity_providers"]))
    if params["default_capacity_provider_strategy"] is not None:
        fields["default_capacity_provider_strategy"] = strategy(params["default_capacity_provider_strategy"])
    if params["container_insights"] is not None:
        fields["container_insights"] = params["container_insights"]
    if params["execute_command_configuration"] is not None:
        fields["execute_command_configuration"] = execute_command(params["execute_command_configuration"])
    if params["managed_storage_configuration"] is not None:
        fields["managed_storage_configuration"] = {
            name: value for name, value in params["managed_storage_configuration"].items() if value is not None
        }
    if params["service_connect_defaults"] is not None:
        fields["service_connect_defaults"] = {"namespace": params["service_connect_defaults"]["namespace"] or None}
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def plan(aws: Aws, params: Mapping, current: Mapping | None) -> list[Change]:
    label = resource(params["name"])
    if params["state"] == "absent":
        if current is None:
            return []
        if is_foreign(current["tags"], params["tags"]):
            return [leave_foreign(label, current["tags"])]
        return [delete(label, current)]
    if current is not None:
        refuse_foreign(label, current["tags"], params)
    wanted = desired(params)
    providers = wanted.get("capacity_providers", (current or {}).get("capacity_providers", []))
    strangers = set(wanted.get("default_capacity_provider_strategy", ())) - set(providers)
    if strangers:
        raise Refused(
            f"{label}: default_capacity_provider_strategy names {', '.join(sorted(strangers))}, "
            "which capacity_providers does not hold. Add it there."
        )
    command = wanted.get("execute_command_configuration", {})
    if command and (command["logging"] == "OVERRIDE") != ("log_configuration" in command):
        raise Refused(
            f"{label}: execute_command_configuration.log_configuration says where logs go when logging is OVERRIDE. "
            "Give both or neither."
        )
    return [create(label, wanted)] if current is None else update(label, current, wanted)


def apply(aws: Aws, params: Mapping, current: Mapping | None, changes: Sequence[Change], say: Say) -> None:
    ecs = aws.client("ecs")
    name = params["name"]
    wanted, there = desired(params), current or {}
    if changes[0].action == "delete":
        # Not in the plan: a check of the whole destroy foretells that the services are gone by now.
        if there["active_services"]:
            left = [item.rsplit("/", 1)[-1] for item in aws.pages("ecs", "list_services", "serviceArns", cluster=name)]
            raise Refused(
                f"{resource(name)} still has {there['active_services']} services: {', '.join(sorted(left))}. "
                f"Delete them first, with ecs_service and state: absent, or if they are not this stack's with "
                f"`aws ecs delete-service --force --cluster {name} --service <name>`, and run again."
            )
        # A service is gone when its last tasks begin to stop, and only a cluster without any task can be deleted.
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteService.html
        patiently(lambda: ecs.delete_cluster(cluster=name), _STILL, say, params["wait_timeout"])
        return
    if changes[0].action == "create":
        arguments = {"clusterName": name, **_settings(wanted, set(wanted))}
        if "tags" in wanted:
            arguments["tags"] = ansible_dict_to_boto3_tag_list(wanted["tags"], "key", "value")
        if "capacity_providers" in wanted:
            arguments["capacityProviders"] = wanted["capacity_providers"]
        if "default_capacity_provider_strategy" in wanted:
            arguments["defaultCapacityProviderStrategy"] = strategy_argument(
                wanted["default_capacity_provider_strategy"]
            )
        # the first cluster of an account: CreateCluster makes ECS's role as well, and does not wait for it
        patiently(lambda: ecs.create_cluster(**arguments), ("unable to assume the service linked role",), say)
        return
    paths = {change.path.split(".")[0] for change in changes}
    if paths & {"capacity_providers", "default_capacity_provider_strategy"}:
        # AWS takes both or none, and drops what is not named
        both = {**there, **wanted}
        arguments = {
            "capacityProviders": both["capacity_providers"],
            "defaultCapacityProviderStrategy": strategy_argument(both["default_capacity_provider_strategy"]),
        }
        patiently(lambda: ecs.put_cluster_capacity_providers(cluster=name, **arguments), _STILL, say)
    settings = _settings(predicted(there, wanted), paths)
    if settings:
        ecs.update_cluster(cluster=name, **settings)
    if "tags" in paths:
        write_tags(aws, there["arn"], wanted["tags"], changes)


def _settings(fields: Mapping, names: set[str]) -> dict[str, Any]:
    """The arguments of CreateCluster or UpdateCluster that carry the fields ``names``; a group is sent whole."""
    arguments: dict[str, Any] = {}
    if "container_insights" in names:
        arguments["settings"] = [{"name": "containerInsights", "value": fields["container_insights"]}]
    if names & set(CONFIGURATION):
        groups = {key: _api(fields[name]) for name, key in CONFIGURATION.items() if name in fields}
        arguments["configuration"] = {key: group for key, group in groups.items() if group}
    if "service_connect_defaults" in names:
        # an empty name takes the default away (ClusterServiceConnectDefaultsRequest)
        arguments["serviceConnectDefaults"] = {"namespace": fields["service_connect_defaults"]["namespace"] or ""}
    return arguments


def write_tags(aws: Aws, arn: str, tags: Mapping[str, str], changes: Sequence[Change], prefix: str = "tags.") -> None:
    """Set the tags of an ECS resource and remove those that the plan removes (``after`` is None)."""
    gone = [c.path.removeprefix(prefix) for c in changes if c.path.startswith(prefix) and c.after is None]
    if gone:
        aws.client("ecs").untag_resource(resourceArn=arn, tagKeys=gone)
    if tags:
        aws.client("ecs").tag_resource(resourceArn=arn, tags=ansible_dict_to_boto3_tag_list(tags, "key", "value"))


def _status(cluster: Mapping) -> str:
    attaching = cluster.get("attachmentsStatus") == "UPDATE_IN_PROGRESS"
    return "attaching capacity providers" if attaching else cluster["status"]


def settled(params: Mapping, current: Mapping | None) -> bool:
    return params["state"] == "absent" or (current or {}).get("status") == "ACTIVE"


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """ACTIVE, with its capacity providers attached; ECS takes no further change before that."""
    if params["state"] == "absent":
        return

    def probe() -> tuple[bool, str]:
        state = _status(_read(aws, params["name"]) or {"status": "gone"})
        return state == "ACTIVE", state

    label = resource(params["name"])
    wait_until(probe, timeout=params["wait_timeout"], pause=2, what=label, variable="wait_timeout", say=say)


def output(aws: Aws, params: Mapping, current: Mapping | None) -> dict[str, Any]:
    name = params["name"]
    if params["state"] == "absent":
        return {"cluster": {"name": name}}
    there = current or {
        "arn": aws.arn("ecs", f"cluster/{name}"),
        "status": "ACTIVE",
        "active_services": 0,
        "capacity_providers": [],
        "default_capacity_provider_strategy": Exact(),
        # the account's own setting decides
        "container_insights": unknown("account setting", "containerInsights"),
        "execute_command_configuration": execute_command({}),
        "managed_storage_configuration": {"kms_key_id": None, "fargate_ephemeral_storage_kms_key_id": None},
        "service_connect_defaults": {"namespace": None},
        "tags": {},
    }
    return {"cluster": {"name": name, **predicted(there, desired(params))}}


def resources(aws: Aws, params: Mapping, current: Mapping | None) -> list[str]:
    return [resource(params["name"])]


def billed(aws: Aws, params: Mapping, current: Mapping | None, wanted: bool) -> list[dict[str, Any]]:
    fields = predicted(current or {}, desired(params)) if wanted else current or {}
    insights = fields.get("container_insights", "disabled")
    if insights == "disabled":
        return []
    return [{"kind": "container_insights", "resource": resource(params["name"]), "mode": insights}]
