# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ECS services of one cluster with their task definitions; rolling deployments, followed to their end.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

try:
    from botocore.exceptions import ClientError
except ImportError:
    ClientError = ()

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils import (
    ecs_rollout,
    ecs_task_definition,
    ecs_task_run,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import (
    Aws,
    error_code,
    explain,
    patiently,
    together,
    wait_until,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_cluster import (
    namespace_as_given,
    strategy,
    strategy_argument,
    write_tags,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_secret_versions import noted
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    DISRUPTIVE,
    IN_PLACE,
    OWNER_TAGS,
    Change,
    Exact,
    Failed,
    Refused,
    Say,
    by_resource,
    create,
    delete,
    expanded,
    is_foreign,
    leave_foreign,
    predicted,
    refuse_foreign,
    update,
    user_tags,
)

# options that are passed as they are -> their name in the API
PLAIN = {
    "launch_type": "launchType",
    "platform_version": "platformVersion",
    "health_check_grace_period_seconds": "healthCheckGracePeriodSeconds",
    "enable_ecs_managed_tags": "enableECSManagedTags",
    "enable_execute_command": "enableExecuteCommand",
    "propagate_tags": "propagateTags",
    "availability_zone_rebalancing": "availabilityZoneRebalancing",
    "desired_count": "desiredCount",
}
NETWORK = {"subnets", "security_groups", "assign_public_ip"}
# options of the API's deploymentConfiguration -> their name in it
DEPLOYMENT = {
    "minimum_healthy_percent": "minimumHealthyPercent",
    "maximum_percent": "maximumPercent",
    "circuit_breaker": "deploymentCircuitBreaker",
    "deployment_alarms": "alarms",
    "early_success_criteria": "earlySuccessCriteria",
}
# lists that are enforced whole and have no order
LISTS = {"load_balancers": "loadBalancers", "service_registries": "serviceRegistries"}

# What makes ECS replace the tasks; the rest of UpdateService changes the service alone.
STARTS_TASKS = {
    *NETWORK,
    *LISTS,
    "task_definition",
    "platform_version",
    "rollout",
    "service_connect_configuration",
    "volume_configurations",
}
# UpdateService takes these without a deployment: running tasks would keep the old value.
FORCES = {
    "capacity_provider_strategy",
    "enable_ecs_managed_tags",
    "enable_execute_command",
    "launch_type",
    "propagate_tags",
    "rollout",
}

# Answers that only mean "not yet": a role, service-linked role or listener was created seconds ago.
NOT_YET = (
    "unable to assume",
    "service linked role",
    "does not have an associated load balancer",
    "role is not valid",
)


def resource(name: str) -> str:
    return f"service {name}"


# describe


def expand(aws: Aws, params: Mapping) -> dict[str, Any]:
    """``services`` with ``*`` replaced by the names of the cluster's services, and with the versions of secrets."""

    def find(beginning: str) -> set[str]:
        try:
            arns = aws.pages("ecs", "list_services", "serviceArns", cluster=params["cluster"])
        except ClientError as error:
            if error_code(error) != "ClusterNotFoundException":
                raise
            return set()
        names = {arn.rsplit("/", 1)[-1] for arn in arns}
        return {name for name in names if name.startswith(beginning)} - set(params["keep"] or [])

    services = expanded(params["services"], "name", params, find)
    return {**params, "services": noted(aws, services) if params["state"] == "present" else services}


def describe(aws: Aws, params: Mapping) -> dict[str, Any]:
    """The cluster's services of the list, and what their task definitions say.

    ``{"cluster": bool, "services": {name: fields}, "draining": [names], "latest": {family: revision}, "ringing":
    [alarms]}``; ``latest`` is read only for a service whose present revision is not the wanted one, ``ringing`` are
    those of the deployment alarms that are in the state ALARM.
    """
    names = [service["name"] for service in params["services"]]
    try:
        found = ecs_rollout.read_services(aws, params["cluster"], names, tags=True)
        cluster = True
    except ClientError as error:
        if error_code(error) != "ClusterNotFoundException":
            raise
        found, cluster = {}, False
    active = {name: service for name, service in found.items() if service["status"] == "ACTIVE"}
    current: dict[str, Any] = {
        "cluster": cluster,
        "services": {name: _fields(service) for name, service in active.items()},
        "draining": [name for name in found if name not in active],
        "latest": {},
        "ringing": [],
    }
    if params["state"] == "absent":
        return current
    for item in params["services"]:
        _name_namespace(aws, item, current["services"].get(item["name"], {}))
    together(
        lambda: current["ringing"].extend(_ringing(aws, params)),
        *(lambda item=item: _describe_task_definition(aws, params, item, current) for item in params["services"]),
    )
    return current


def _ringing(aws: Aws, params: Mapping) -> list[str]:
    names = sorted({name for item in params["services"] for name in _watched(item)})
    found: list[str] = []
    for start in range(0, len(names), 100):  # DescribeAlarms takes 100 names
        answer = aws.client("cloudwatch").describe_alarms(
            AlarmNames=names[start : start + 100], AlarmTypes=["MetricAlarm", "CompositeAlarm"], StateValue="ALARM"
        )
        found += [alarm["AlarmName"] for kind in ("MetricAlarms", "CompositeAlarms") for alarm in answer.get(kind, [])]
    return found


def _watched(item: Mapping) -> list[str]:
    alarms = item["deployment_alarms"] or {}
    return alarms["alarm_names"] or [] if alarms.get("enable") else []


def _name_namespace(aws: Aws, item: Mapping, there: Mapping) -> None:
    given = (item["service_connect_configuration"] or {}).get("namespace")
    found = there.get("service_connect_configuration", {})
    if given and "namespace" in found:
        found["namespace"] = namespace_as_given(aws, found["namespace"], given)


def _describe_task_definition(aws: Aws, params: Mapping, item: Mapping, current: dict) -> None:
    service = current["services"].get(item["name"])
    if service is not None:
        revision = _revision(aws, service["raw"]["taskDefinition"])
        service["task_definition"] = revision["fields"]
        service["revision"] = revision
    if item["task_definition"] is None:
        return
    family = item["task_definition"]["family"]
    if service is None or service["task_definition"] != _task_definition(item):
        try:
            current["latest"][family] = _revision(aws, family)
        except ClientError as error:
            if error_code(error) != "ClientException":
                raise  # "Unable to describe task definition": the family has no revision yet


def _revision(aws: Aws, name: str) -> dict[str, Any]:
    """One revision: ``{arn, family, revision, fields, tags}``; for a family's name its latest ACTIVE one."""
    answer = aws.client("ecs").describe_task_definition(taskDefinition=name, include=["TAGS"])
    definition = answer["taskDefinition"]
    return {
        "arn": definition["taskDefinitionArn"],
        "family": definition["family"],
        "revision": definition["revision"],
        "fields": ecs_task_definition.normal(definition),
        "tags": user_tags({tag["key"]: tag["value"] for tag in answer.get("tags", [])}),
    }


def _fields(service: Mapping) -> dict[str, Any]:
    """A described service in the options' names, with the defaults that AWS leaves unsaid."""
    network = service.get("networkConfiguration", {}).get("awsvpcConfiguration", {})
    deployment = service.get("deploymentConfiguration", {})
    primary = ecs_rollout.primary(service)
    return {
        "desired_count": service["desiredCount"],
        "launch_type": None if service.get("capacityProviderStrategy") else service.get("launchType"),
        "capacity_provider_strategy": strategy(service.get("capacityProviderStrategy") or []),
        "platform_version": service.get("platformVersion", "LATEST"),
        "subnets": sorted(network.get("subnets", [])),
        "security_groups": sorted(network.get("securityGroups", [])),
        "assign_public_ip": network.get("assignPublicIp") == "ENABLED",
        **{name: _unordered(service.get(key, [])) for name, key in LISTS.items()},
        "health_check_grace_period_seconds": service.get("healthCheckGracePeriodSeconds", 0),
        "minimum_healthy_percent": deployment.get("minimumHealthyPercent", 100),
        "maximum_percent": deployment.get("maximumPercent", 200),
        "circuit_breaker": _with_defaults(BREAKER, deployment.get("deploymentCircuitBreaker", {})),
        "deployment_alarms": _alarms(ecs_task_definition.shape(deployment.get("alarms", {}))),
        "early_success_criteria": _with_defaults({"enable": False}, deployment.get("earlySuccessCriteria", {})),
        "service_connect_configuration": service_connect(primary.get("serviceConnectConfiguration", {})),
        "volume_configurations": volumes(primary.get("volumeConfigurations", [])),
        "enable_ecs_managed_tags": service.get("enableECSManagedTags", False),
        "enable_execute_command": service.get("enableExecuteCommand", False),
        "propagate_tags": service.get("propagateTags", "NONE"),
        # "If the service never had a value set, Amazon ECS treats this as DISABLED" (UpdateService)
        "availability_zone_rebalancing": service.get("availabilityZoneRebalancing", "DISABLED"),
        "tags": _tags(service),
        # not an option: a deployment that failed and had nothing to roll back to starts no tasks any more
        "rollout": "FAILED" if primary.get("rolloutState") == "FAILED" else "ok",
        "raw": service,
    }


def _tags(service: Mapping) -> dict[str, str]:
    return user_tags({tag["key"]: tag["value"] for tag in service.get("tags", [])})


# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentCircuitBreaker.html
BREAKER = {
    "enable": False,
    "rollback": False,
    "reset_on_healthy_task": True,
    "threshold_configuration": {"type": "BOUNDED_PERCENT", "value": 50},
}


def _with_defaults(defaults: Mapping, group: Mapping) -> dict[str, Any]:
    return {**defaults, **ecs_task_definition.shape(group)}


def _alarms(alarms: Mapping) -> dict[str, Any]:
    names = sorted(set(alarms.get("alarm_names", [])))
    return {"enable": False, "rollback": False, **alarms, "alarm_names": names}


def _unordered(items: Sequence[Mapping]) -> list[dict]:
    """Load balancers or service registries, API's or options', in one order and without what was left out."""
    return sorted((dict(ecs_task_definition.shape(item)) for item in items), key=lambda item: str(sorted(item.items())))


def service_connect(configuration: Mapping) -> dict[str, Any]:
    """A Service Connect configuration, API's or option's, with the defaults that AWS leaves unsaid.

    ``namespace`` is there only when it is given: without it the cluster's default holds. All else is enforced whole.
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceConnectConfiguration.html
    """
    found = ecs_task_definition.shape(ecs_task_definition.api(configuration))
    result: dict[str, Any] = {"enabled": found.get("enabled", False)}
    if not result["enabled"]:
        return result
    if found.get("namespace"):
        result["namespace"] = found["namespace"]
    result["services"] = Exact()
    for service in found.get("services", []):
        name = service.pop("port_name")
        service.setdefault("discovery_name", name)
        result["services"][name] = service
    logs = result["log_configuration"] = found.get("log_configuration")
    if logs is not None:
        ecs_task_definition.fill_logs(logs)
    access = result["access_log_configuration"] = found.get("access_log_configuration")
    if access is not None:
        access.setdefault("include_query_parameters", "DISABLED")
    # the API's list holds one setting in each item, and knows only this one
    levels = [item["log_level"] for item in found.get("container_configurations", []) if item.get("log_level")]
    result["log_level"] = next(iter(levels), found.get("log_level", "info"))
    return result


def _service_connect_argument(fields: Mapping) -> dict[str, Any]:
    """The inverse: what the API takes."""
    if not fields["enabled"]:
        return {"enabled": False}
    rest = dict(fields)
    services = [{"port_name": name, **service} for name, service in rest.pop("services", {}).items()]
    level = rest.pop("log_level", "info")
    argument = ecs_task_definition.api(rest)
    if services:
        argument["services"] = ecs_task_definition.api(services)
    if level != "info":
        argument["containerConfigurations"] = [{"logLevel": level}]
    return argument


def volumes(items: Sequence[Mapping]) -> Exact:
    """EBS volumes by name, from the API's form or the option's: ``{name: {managed_ebs_volume: {...}}}``."""
    result = Exact()
    for item in items:
        volume = ecs_task_definition.shape(ecs_task_definition.api(item))
        disk = volume.get("managed_ebs_volume", Exact())
        for given in disk.pop("tag_specifications", []):
            disk["tags"] = Exact((tag["key"], tag.get("value", "")) for tag in given.get("tags", []))
            if given.get("propagate_tags"):
                disk["propagate_tags"] = given["propagate_tags"]
        # what is left out is AWS's to choose: only what is given is compared
        result[volume["name"]] = {"managed_ebs_volume": dict(disk)}
    return result


def _volumes_argument(fields: Mapping) -> list[dict]:
    """The inverse: what the API takes."""
    result = []
    for name, volume in fields.items():
        disk = dict(volume["managed_ebs_volume"])
        tags, propagate = disk.pop("tags", {}), disk.pop("propagate_tags", None)
        argument = ecs_task_definition.api(disk)
        if tags or propagate:
            specification = {"resourceType": "volume", **({"propagateTags": propagate} if propagate else {})}
            if tags:
                specification["tags"] = ansible_dict_to_boto3_tag_list(tags, "key", "value")
            argument["tagSpecifications"] = [specification]
        result.append({"name": name, "managedEBSVolume": argument})
    return result


# plan


def _task_definition(item: Mapping) -> Exact:
    return ecs_task_definition.normal(ecs_task_definition.request(item["task_definition"], None))


def desired(params: Mapping, item: Mapping) -> dict[str, Any]:
    """What the parameters ask of one service; what they leave out is left out here."""
    fields = {name: item[name] for name in (*PLAIN, *NETWORK, *DEPLOYMENT) if item[name] is not None}
    for name in ("subnets", "security_groups"):
        if name in fields:
            fields[name] = sorted(set(fields[name]))
    if item["capacity_provider_strategy"] is not None:
        fields["capacity_provider_strategy"] = strategy(item["capacity_provider_strategy"])
    for name in LISTS:
        if item[name] is not None:
            fields[name] = _unordered(item[name])
    for name in ("circuit_breaker", "early_success_criteria"):
        if name in fields:
            fields[name] = _given(fields[name])
    if "deployment_alarms" in fields:
        fields["deployment_alarms"] = _alarms(fields["deployment_alarms"])
    if item["service_connect_configuration"] is not None:
        fields["service_connect_configuration"] = service_connect(item["service_connect_configuration"])
    if item["volume_configurations"] is not None:
        fields["volume_configurations"] = volumes(item["volume_configurations"])
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    fields["task_definition"] = _task_definition(item)
    fields["rollout"] = "ok"
    return fields


def _given(options: Mapping) -> dict[str, Any]:
    """A group of options without those that were left out."""
    return {name: value for name, value in options.items() if value is not None}


def enforced(params: Mapping, item: Mapping) -> dict[str, Any]:
    """What of this an existing service is held to: the count only when no scaler owns it."""
    fields = desired(params, item)
    if not item["enforce_desired_count"]:
        fields.pop("desired_count", None)
    if "launch_type" in fields:
        fields["capacity_provider_strategy"] = Exact()
    elif fields.get("capacity_provider_strategy"):
        fields["launch_type"] = None
    return fields


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    changes: list[Change] = []
    for item in params["services"]:
        there = current["services"].get(item["name"])
        label = resource(item["name"])
        if params["state"] == "absent":
            if there is not None and is_foreign(there["tags"], params["tags"]):
                changes.append(leave_foreign(label, there["tags"]))
            elif there is not None:
                before = {"desired_count": there["desired_count"], "task_definition": there["raw"]["taskDefinition"]}
                changes.append(delete(label, before, note="its tasks are stopped"))
            continue
        if there is not None:
            refuse_foreign(label, there["tags"], params)
        _refuse_incomplete(label, item, there)
        _refuse_foreign_family(item, current["latest"].get(item["task_definition"]["family"]), params)
        if there is None:
            _refuse_ringing(label, item, current["ringing"])
            changes.append(create(label, {k: v for k, v in desired(params, item).items() if k != "rollout"}))
            changes += _before(label, item)
            continue
        _refuse_impossible(label, item, there)
        wanted = enforced(params, item)
        found = update(label, there, wanted, _impacts({**there, **wanted}))
        if params["tags"] is not None and not _new_revision(found):
            # a revision's tags, unlike the rest of it, can be changed
            tags = there["revision"]["tags"], Exact(params["tags"])
            found += update(label, *({"task_definition": {"tags": value}} for value in tags))
        if any(change.path.split(".")[0] in STARTS_TASKS | FORCES for change in found):
            _refuse_ringing(label, item, current["ringing"])
        changes += found
        if _new_revision(found):
            changes += _before(label, item)
    return changes


def _before(label: str, item: Mapping) -> list[Change]:
    """The task that runs before a new revision is deployed."""
    before = item["run_task_before"]
    note = "in a task of its own, before the new tasks start"
    return [Change(label, "update", "run_task_before", None, before["command"], IN_PLACE, note)] if before else []


def _refuse_ringing(label: str, item: Mapping, ringing: Sequence[str]) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html"""
    names = sorted(set(_watched(item)) & set(ringing))
    if names:
        raise Refused(
            f"{label} was not touched: its deployment alarm {', '.join(names)} is in the state ALARM, and in a "
            "deployment that begins so ECS watches no alarm at all. Find out why it rings; a version that mends it is "
            "deployed without the alarm, by taking it out of deployment_alarms."
        )


def _impacts(fields: Mapping) -> dict[str, tuple[str, str]]:
    """Which changes replace tasks, and whether there are none for a moment meanwhile."""
    impact = replacing(fields["minimum_healthy_percent"], fields["maximum_percent"])
    return dict.fromkeys(STARTS_TASKS | FORCES, impact)


def replacing(minimum_healthy_percent: int, maximum_percent: int) -> tuple[str, str]:
    """Impact and note of a deployment of new tasks."""
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
    # A Fargate task starts in about a minute: https://github.com/aws/containers-roadmap/issues/696
    if minimum_healthy_percent < 100 and maximum_percent <= 100:
        return DISRUPTIVE, "running tasks stop before new ones start: none runs for about a minute"
    return IN_PLACE, "new tasks replace the running ones"


def _refuse_incomplete(label: str, item: Mapping, there: Mapping | None) -> None:
    missing = ["task_definition"] if item["task_definition"] is None else []
    if there is None and item["desired_count"] is None:
        missing.append("desired_count")
    if item["enforce_desired_count"] and item["desired_count"] is None:
        missing.append("desired_count (enforce_desired_count asks for it)")
    if missing:
        raise Refused(f"{label}: set {' and '.join(missing)}.")
    if item["launch_type"] is not None and item["capacity_provider_strategy"]:
        raise Refused(f"{label}: give launch_type or capacity_provider_strategy, AWS takes only one of them.")


def _refuse_foreign_family(item: Mapping, latest: Mapping | None, params: Mapping) -> None:
    # a revision without owner tags may be one that somebody registered by hand in our family: that is drift
    if latest is not None and set(OWNER_TAGS) & set(latest["tags"]):
        refuse_foreign(f"task definition family {item['task_definition']['family']}", latest["tags"], params)


def _refuse_impossible(label: str, item: Mapping, there: Mapping) -> None:
    again = "Delete the service with state: absent and run again, or give the new one another name."
    controller = there["raw"].get("deploymentController", {}).get("type", "ECS")
    if controller != "ECS":
        raise Refused(f"{label} is deployed by {controller}, this module makes ECS rolling deployments. {again}")
    scheduling = there["raw"].get("schedulingStrategy", "REPLICA")
    if scheduling != "REPLICA":
        raise Refused(f"{label} has the scheduling strategy {scheduling}, which AWS never changes. {again}")
    strategy_there = there["raw"].get("deploymentConfiguration", {}).get("strategy", "ROLLING")
    if strategy_there != "ROLLING":
        # BLUE_GREEN, LINEAR and CANARY shift a listener's traffic: workers and beat have none
        raise Refused(
            f"{label} has the deployment strategy {strategy_there}, this module makes ROLLING deployments. {again}"
        )
    before, after = there["launch_type"], item["launch_type"]
    if before and after and before != after:
        raise Refused(f"{label}: AWS cannot change launch_type from {before} to {after} in place. {again}")


def _new_revision(changes: Sequence[Change]) -> bool:
    """Whether the planned changes need another revision than the present one; tags alone do not."""
    return any(
        change.action == "create"
        or (change.path.startswith("task_definition.") and not change.path.startswith("task_definition.tags."))
        for change in changes
    )


# apply


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> dict[str, Any] | None:
    planned = by_resource(changes)
    items = [item for item in params["services"] if resource(item["name"]) in planned]
    if params["state"] == "absent":
        _remove(aws, params, [item["name"] for item in items], say)
        return None
    if not current["cluster"]:
        raise Failed(
            f"The cluster {params['cluster']} does not exist, so nothing was deployed. "
            "Run the role ecs_cluster first (--tags ecs_cluster), or correct cluster."
        )
    failed: dict[str, str] = {}

    def one(item: Mapping) -> ecs_rollout.Rollout | None:
        try:
            return _apply_one(aws, params, item, current, planned[resource(item["name"])], say)
        # the other services go on; all accounts are given together
        except ClientError as error:
            failed[item["name"]] = _refusal(item, error)
        except Failed as error:
            failed[item["name"]] = str(error)
        return None

    rollouts = [rollout for rollout in together(*(lambda item=item: one(item) for item in items)) if rollout]
    # after a refusal nobody else would follow the others
    if params["wait"] or failed:
        failed.update(ecs_rollout.follow(aws, params["cluster"], rollouts, timeout=params["wait_timeout"], say=say))
    ecs_rollout.report(failed, len(items))
    return {"deployments": {} if params["wait"] else ecs_rollout.as_output(rollouts)}


def _refusal(item: Mapping, error: ClientError) -> str:
    """An answer of AWS as a sentence with the option to look at."""
    text = explain(error)
    definition = item["task_definition"]
    hints = {
        "No Fargate configuration exists": (
            f"cpu {definition['cpu']} with memory {definition['memory']} is no pair that Fargate offers: "
            "see https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html."
        ),
        "subnet": "Check subnets.",
        "security group": "Check security_groups.",
        "target group": "Check load_balancers.",
        "still Draining": "An earlier service of this name is still stopping its tasks; run again when it has.",
    }
    hint = next((value for key, value in hints.items() if key.lower() in text.lower()), "")
    return f"service {item['name']}: {error.operation_name} was refused: {text} {hint}".rstrip()


def _apply_one(
    aws: Aws, params: Mapping, item: Mapping, current: Mapping, changes: Sequence[Change], say: Say
) -> ecs_rollout.Rollout | None:
    ecs = aws.client("ecs")
    name, cluster = item["name"], params["cluster"]
    there = current["services"].get(name)
    arguments: dict[str, Any] = {"cluster": cluster}
    if _new_revision(changes):
        arguments["taskDefinition"] = _reuse_or_register(aws, params, item, current)
        if item["run_task_before"]:
            _run_before(aws, params, item, arguments["taskDefinition"], say)
    if there is None:
        if name in current["draining"]:
            _wait_drained(aws, cluster, [name], params["wait_timeout"], say)
        wanted = desired(params, item)
        arguments |= service_arguments(wanted, set(wanted), {})
        if params["tags"]:
            arguments["tags"] = ansible_dict_to_boto3_tag_list(params["tags"], "key", "value")
        answer = patiently(lambda: ecs.create_service(serviceName=name, **arguments), NOT_YET, say)
        return ecs_rollout.started(answer["service"])
    fields = {change.path.split(".")[0] for change in changes}
    if "tags" in fields:
        write_tags(aws, there["raw"]["serviceArn"], params["tags"], changes)
    revision_tags = [change for change in changes if change.path.startswith("task_definition.tags.")]
    if revision_tags:
        write_tags(aws, there["revision"]["arn"], params["tags"], revision_tags, prefix="task_definition.tags.")
    wanted = enforced(params, item)
    arguments |= service_arguments(predicted(there, wanted), fields - {"launch_type"}, there["raw"])
    if fields & FORCES:
        arguments["forceNewDeployment"] = True
    if len(arguments) == 1:
        return None  # tags only
    answer = patiently(lambda: ecs.update_service(service=name, **arguments), NOT_YET, say)
    return ecs_rollout.started(answer["service"], there["raw"].get("events", []))


def service_arguments(fields: Mapping, names: set[str], raw: Mapping) -> dict[str, Any]:
    """The arguments of CreateService or UpdateService that carry the fields ``names``. Pure.

    ``raw`` is the service as described: what a group of settings holds besides our options is sent back unchanged,
    for AWS replaces the group as a whole.
    """
    arguments = {key: fields[name] for name, key in PLAIN.items() if name in names}
    if names & NETWORK:
        arguments["networkConfiguration"] = {
            "awsvpcConfiguration": {
                "subnets": fields["subnets"],
                "securityGroups": fields.get("security_groups", []),
                "assignPublicIp": "ENABLED" if fields.get("assign_public_ip") else "DISABLED",
            }
        }
    if names & set(DEPLOYMENT):
        before = raw.get("deploymentConfiguration", {})
        deployment = {key: before[key] for key in DEPLOYMENT.values() if key in before}
        for name in names & set(DEPLOYMENT):
            deployment[DEPLOYMENT[name]] = ecs_task_definition.api(fields[name])
        arguments["deploymentConfiguration"] = deployment
    for name in names & set(LISTS):
        arguments[LISTS[name]] = ecs_task_definition.api(fields[name])
    if "service_connect_configuration" in names:
        arguments["serviceConnectConfiguration"] = _service_connect_argument(fields["service_connect_configuration"])
    if "volume_configurations" in names:
        arguments["volumeConfigurations"] = _volumes_argument(fields["volume_configurations"])
    if "capacity_provider_strategy" in names:
        # an empty list takes a service back to its launch type (UpdateService)
        arguments["capacityProviderStrategy"] = strategy_argument(fields["capacity_provider_strategy"])
    return arguments


def _reuse_or_register(aws: Aws, params: Mapping, item: Mapping, current: Mapping) -> str:
    """A run that stopped after RegisterTaskDefinition, or a rolled-back one, left a revision that is as wanted."""
    latest = current["latest"].get(item["task_definition"]["family"])
    if latest is not None and latest["fields"] == _task_definition(item):
        if params["tags"] and latest["tags"] != params["tags"]:
            write_tags(aws, latest["arn"], params["tags"], ())
        return latest["arn"]
    arguments = ecs_task_definition.request(item["task_definition"], params["tags"])
    answer = aws.client("ecs").register_task_definition(**arguments)
    return answer["taskDefinition"]["taskDefinitionArn"]


def _run_before(aws: Aws, params: Mapping, item: Mapping, arn: str, say: Say) -> None:
    """Until a task of this revision has ended with 0: one that another run began, or one that is begun here."""
    before = item["run_task_before"]
    wanted = desired(params, item)
    names = {"subnets", "security_groups", "assign_public_ip", "launch_type", "platform_version"} & set(wanted)
    arguments = service_arguments(wanted, names, {})
    if wanted.get("capacity_provider_strategy"):
        arguments |= service_arguments(wanted, {"capacity_provider_strategy"}, {})
    if params["tags"]:
        arguments["tags"] = ansible_dict_to_boto3_tag_list(params["tags"], "key", "value")
    try:
        ecs_task_run.run_before(aws, params["cluster"], item["name"], before, arn, arguments, say)
    except Failed as error:
        raise Failed(
            f"service {item['name']}: nothing was deployed, because the task before it failed (run_task_before: "
            f"{' '.join(before['command'])}). {error}"
        ) from error


def _remove(aws: Aws, params: Mapping, names: Sequence[str], say: Say) -> None:
    """To 0, wait until the last task has ended its work, delete; with ``force`` ECS stops the tasks as it deletes."""
    ecs, cluster = aws.client("ecs"), params["cluster"]
    if not params["force"]:
        together(*(lambda n=n: ecs.update_service(cluster=cluster, service=n, desiredCount=0) for n in names))

        def probe() -> tuple[bool, str]:
            found = ecs_rollout.read_services(aws, cluster, names)
            left = sum(service["runningCount"] + service["pendingCount"] for service in found.values())
            if left:
                return False, f"{left} tasks still running"
            # the counts leave out what has been told to stop, and has its stopTimeout to end its work
            tasks = together(*(lambda n=n: ecs_rollout.read_tasks(aws, cluster, serviceName=n) for n in found))
            left = sum(task["lastStatus"] != "STOPPED" for some in tasks for task in some)
            return left == 0, f"{left} tasks still stopping"

        wait_until(
            probe,
            timeout=params["wait_timeout"],
            pause=ecs_rollout.PAUSE,
            what=f"draining {', '.join(names)}",
            variable="wait_timeout",
            say=say,
        )

    def gone(name: str) -> None:
        # of a deployment that was under way
        still = ("cannot be stopped while deployments are active",)
        patiently(
            lambda: ecs.delete_service(cluster=cluster, service=name, force=params["force"]),
            still,
            say,
            params["wait_timeout"],
        )

    together(*(lambda n=n: gone(n) for n in names))


def _wait_drained(aws: Aws, cluster: str, names: Sequence[str], timeout: float, say: Say) -> None:
    """Until services that are being deleted are gone: a name is free only then."""

    def probe() -> tuple[bool, str]:
        left = ecs_rollout.read_services(aws, cluster, names)
        return not left, f"{', '.join(sorted(left)) or 'nothing'} left"

    wait_until(
        probe, timeout=timeout, pause=ecs_rollout.PAUSE, what="deleting services", variable="wait_timeout", say=say
    )


def settled(params: Mapping, current: Mapping) -> bool:
    if params["state"] == "absent":
        return not current["draining"]
    # also without wait: then it is for another task to wait
    return not _unfinished(current)


def _unfinished(current: Mapping) -> list[ecs_rollout.Rollout]:
    return ecs_rollout.unfinished(service["raw"] for service in current["services"].values())


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Also when nothing was changed: an earlier run may have been stopped in the middle of a deployment."""
    if not params["wait"]:
        return
    names = [item["name"] for item in params["services"]]
    if params["state"] == "absent":
        try:
            there = ecs_rollout.read_services(aws, params["cluster"], names, tags=True)
            gone = [
                name
                for name in names
                if name in there
                and not (there[name]["status"] == "ACTIVE" and is_foreign(_tags(there[name]), params["tags"]))
            ]
            _wait_drained(aws, params["cluster"], gone, params["wait_timeout"], say)
        except ClientError as error:
            if error_code(error) != "ClusterNotFoundException":
                raise
        return
    rollouts = ecs_rollout.unfinished(ecs_rollout.read_services(aws, params["cluster"], names).values())
    failed = ecs_rollout.follow(aws, params["cluster"], rollouts, timeout=params["wait_timeout"], say=say)
    ecs_rollout.report(failed, len(names))


# output


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    if params["state"] == "absent":
        return {"services": {}, "deployments": {}}
    return {
        "services": {item["name"]: _output(aws, params, item, current) for item in params["services"]},
        # an earlier run may have been stopped while it followed them
        "deployments": {} if params["wait"] else ecs_rollout.as_output(_unfinished(current)),
    }


def _output(aws: Aws, params: Mapping, item: Mapping, current: Mapping) -> dict[str, Any]:
    cluster, name = params["cluster"], item["name"]
    there = current["services"].get(name)
    if there is None:
        raw = {
            "serviceArn": aws.arn("ecs", f"service/{cluster}/{name}"),
            "clusterArn": aws.arn("ecs", f"cluster/{cluster}"),
            "desiredCount": item["desired_count"],
            "runningCount": item["desired_count"],
            "status": "ACTIVE",
        }
    else:
        raw = there["raw"]
    revision = _predicted_revision(aws, item, there, current["latest"].get(item["task_definition"]["family"]))
    return {
        "arn": raw["serviceArn"],
        "cluster_arn": raw["clusterArn"],
        "status": raw["status"],
        "desired_count": item["desired_count"] if item["enforce_desired_count"] else raw["desiredCount"],
        "running_count": raw["runningCount"],
        **revision,
    }


def _predicted_revision(aws: Aws, item: Mapping, there: Mapping | None, latest: Mapping | None) -> dict[str, Any]:
    """The revision that runs, or that the next real run will roll out."""
    wanted = _task_definition(item)
    for known in ((there or {}).get("revision"), latest):
        if known is not None and known["fields"] == wanted:
            return {key: known[key] for key in ("family", "revision")} | {"task_definition_arn": known["arn"]}
    family = item["task_definition"]["family"]
    revision = (latest["revision"] if latest else 0) + 1
    return {
        "family": family,
        "revision": revision,
        "task_definition_arn": aws.arn("ecs", f"task-definition/{family}:{revision}"),
    }


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    return [resource(item["name"]) for item in params["services"]]


def billed(aws: Aws, params: Mapping, current: Mapping, wanted: bool) -> list[dict[str, Any]]:
    """One entry for each service's tasks; without a size where the task definition was not read (state absent)."""
    items = []
    for item in params["services"]:
        fields = current["services"].get(item["name"]) or {}
        if wanted:
            fields = predicted(fields, enforced(params, item) if fields else desired(params, item))
        if not fields:
            continue
        definition = fields.get("task_definition", {})
        items.append(
            {
                "kind": "tasks",
                "resource": resource(item["name"]),
                "service": f"{params['cluster']}/{item['name']}",
                "count": fields["desired_count"],
                "cpu": int(definition["cpu"]) if "cpu" in definition else None,
                "memory": int(definition["memory"]) if "memory" in definition else None,
                "architecture": definition.get("cpu_architecture"),
                "ephemeral_storage_gib": definition.get("ephemeral_storage_gib"),
                "capacity_providers": fields.get("capacity_provider_strategy") or {},
                "launch_type": fields.get("launch_type"),
                "public_ip": bool(fields.get("assign_public_ip")),
            }
        )
    return items
