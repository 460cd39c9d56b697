# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scalable targets with their target tracking policies. The number of tasks itself is never given: the scaler owns it.

Policies of a target that are not in the list are deleted: two policies that nobody weighed against each other fight.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScalingPolicy.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    DISRUPTIVE,
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
    unknown,
    update,
    user_tags,
)

_SERVICE = "application-autoscaling"
_TRACKING = "TargetTrackingScaling"
_SUSPENDED = {
    "dynamic_scaling_in_suspended": "DynamicScalingInSuspended",
    "dynamic_scaling_out_suspended": "DynamicScalingOutSuspended",
    "scheduled_scaling_suspended": "ScheduledScalingSuspended",
}
# https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html
_TRACKING_FIELDS = {
    "target_value": "TargetValue",
    "scale_in_cooldown": "ScaleInCooldown",
    "scale_out_cooldown": "ScaleOutCooldown",
    "disable_scale_in": "DisableScaleIn",
}
_METRIC_FIELDS = {"predefined_metric_type": "PredefinedMetricType", "resource_label": "ResourceLabel"}


def target_resource(target: Mapping) -> str:
    return f"scalable target {target['resource_id']}"


def policy_resource(target: Mapping, name: str) -> str:
    return f"scaling policy {name} of {target['resource_id']}"


# ---- describe ----


def expand(aws: Aws, params: Mapping) -> dict[str, Any]:
    """``targets`` with ``*`` replaced by the resource ids of registered targets."""

    def find(beginning: str) -> set[str]:
        there = aws.pages(
            _SERVICE, "describe_scalable_targets", "ScalableTargets", ServiceNamespace=params["service_namespace"]
        )
        return {item["ResourceId"] for item in there if item["ResourceId"].startswith(beginning)}

    return {**params, "targets": expanded(params["targets"], "resource_id", params, find)}


def describe(aws: Aws, params: Mapping) -> dict[str, dict]:
    """Targets by resource id, each with the fields of the option ``targets``, ``arn``, ``tags``, ``policies`` by name.

    A target that is to be registered or gets other limits has ``running`` too: the present desired count of its
    service, None where there is no such service. One that does not exist has nothing else, and no ``arn``.
    """
    namespace = params["service_namespace"]
    ids = [target["resource_id"] for target in params["targets"]]
    if not ids:
        return {}
    # One target's policies, or those of the whole namespace: the API takes no list of targets.
    only = {"ResourceId": ids[0]} if len(ids) == 1 else {}
    targets, policies = together(
        lambda: aws.pages(
            _SERVICE, "describe_scalable_targets", "ScalableTargets", ServiceNamespace=namespace, ResourceIds=ids
        ),
        lambda: aws.pages(_SERVICE, "describe_scaling_policies", "ScalingPolicies", ServiceNamespace=namespace, **only),
    )
    wanted = {(target["resource_id"], target["scalable_dimension"]): target for target in params["targets"]}
    found = {_key(item): item for item in targets if _key(item) in wanted}
    *tags, running = together(
        *(lambda item=item: _tags(aws, item["ScalableTargetARN"]) for item in found.values()),
        lambda: _running(aws, params, [key[0] for key in wanted if _limits_change(wanted[key], found.get(key))]),
    )
    current: dict[str, dict] = {resource_id: {"running": count} for resource_id, count in running.items()}
    for (key, item), its_tags in zip(found.items(), tags, strict=True):
        current.setdefault(key[0], {}).update(
            _normal_target(item),
            tags=its_tags,
            policies={policy["PolicyName"]: _normal_policy(policy) for policy in policies if _key(policy) == key},
        )
    return current


def _key(item: Mapping) -> tuple[str, str]:
    return item["ResourceId"], item["ScalableDimension"]


def _tags(aws: Aws, arn: str) -> dict[str, str]:
    return user_tags(aws.client(_SERVICE).list_tags_for_resource(ResourceARN=arn)["Tags"])


def _limits_change(target: Mapping, found: Mapping | None) -> bool:
    limits = (("min_capacity", "MinCapacity"), ("max_capacity", "MaxCapacity"))
    return found is None or any(target[field] not in (None, found[key]) for field, key in limits)


def _running(aws: Aws, params: Mapping, ids: Sequence[str]) -> dict[str, int | None]:
    """The desired counts of these services, 10 a call; None for a service, or a cluster, that is not there."""
    if params["service_namespace"] != "ecs" or params["state"] == "absent":
        return {}
    ecs = aws.client("ecs")

    def ask(cluster: str, names: list[str]) -> list[tuple[str, int]]:
        try:
            services = ecs.describe_services(cluster=cluster, services=names)["services"]
        except ecs.exceptions.ClusterNotFoundException:
            return []
        return [
            (f"service/{cluster}/{service['serviceName']}", service["desiredCount"])
            for service in services
            if service["status"] == "ACTIVE"
        ]

    calls = []
    for cluster, group in groupby(sorted(id_.split("/")[1:] for id_ in ids if id_.count("/") == 2), lambda id_: id_[0]):
        names = [name for _, name in group]
        calls += [
            lambda cluster=cluster, part=names[start : start + 10]: ask(cluster, part)
            for start in range(0, len(names), 10)
        ]
    return {**dict.fromkeys(ids), **dict(pair for answer in together(*calls) for pair in answer)}


def _normal_target(item: Mapping) -> dict[str, Any]:
    suspended = item.get("SuspendedState", {})
    return {
        "arn": item["ScalableTargetARN"],
        "min_capacity": item["MinCapacity"],
        "max_capacity": item["MaxCapacity"],
        "role_arn": item["RoleARN"],
        "suspended": {field: suspended.get(key, False) for field, key in _SUSPENDED.items()},
    }


def _normal_policy(policy: Mapping) -> dict[str, Any]:
    """A policy in terms of the options. What this module does not make (step policies, own metrics) has no metric."""
    tracking = policy.get("TargetTrackingScalingPolicyConfiguration", {})
    metric = tracking.get("PredefinedMetricSpecification", {})
    return {
        "arn": policy["PolicyARN"],
        "policy_type": policy["PolicyType"],
        **{field: tracking.get(key) for field, key in _TRACKING_FIELDS.items()},
        **{field: metric.get(key) for field, key in _METRIC_FIELDS.items()},
        "disable_scale_in": tracking.get("DisableScaleIn", False),
    }


# ---- plan ----


def desired_target(params: Mapping, target: Mapping) -> dict[str, Any]:
    fields = {
        field: target[field] for field in ("min_capacity", "max_capacity", "role_arn") if target[field] is not None
    }
    if target["suspended"] is not None:
        fields["suspended"] = {key: value for key, value in target["suspended"].items() if value is not None}
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def desired_policy(policy: Mapping) -> dict[str, Any]:
    given = {field: policy[field] for field in _TRACKING_FIELDS if policy[field] is not None}
    return {"policy_type": _TRACKING, **given, **{field: policy[field] for field in _METRIC_FIELDS}}


def _policies(target: Mapping) -> dict[str, dict[str, Any]] | None:
    """Wanted policies by name; None when the target's policies are not this module's business."""
    if target["policies"] is None:
        return None
    return {policy["name"]: desired_policy(policy) for policy in target["policies"]}


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    _refuse_contradictions(params)
    changes: list[Change] = []
    for target in params["targets"]:
        there = current.get(target["resource_id"], {})
        exists, resource = "arn" in there, target_resource(target)
        if params["state"] == "absent":
            if exists and is_foreign(there["tags"], params["tags"]):
                changes.append(leave_foreign(resource, there["tags"]))
            elif exists:
                changes.append(delete(resource, there, note="the service keeps its present task count"))
            continue
        if exists:
            refuse_foreign(resource, there["tags"], params)
        changes += _plan_target(params, target, there, exists)
        changes += _plan_policies(target, there.get("policies", {}))
    return changes


def _plan_target(params: Mapping, target: Mapping, there: Mapping, exists: bool) -> list[Change]:
    resource, wanted = target_resource(target), desired_target(params, target)
    limits = {**there, **wanted}
    if limits.get("min_capacity") is None or limits.get("max_capacity") is None:
        raise Refused(f"{resource} is not registered yet. Give its min_capacity and max_capacity.")
    if limits["min_capacity"] > limits["max_capacity"]:
        raise Refused(
            f"{resource}: min_capacity (celery_min_count) is {limits['min_capacity']} and max_capacity "
            f"(celery_max_count) {limits['max_capacity']}. The least cannot be more than the most."
        )
    impact, note = _clamp(there.get("running"), limits["min_capacity"], limits["max_capacity"])
    if not exists:
        return [replace(create(resource, wanted), **({"impact": impact, "note": note} if note else {}))]
    # told once, by the limit that moves the count, or by the other one when it alone changes
    sides = ["min_capacity", "max_capacity"]
    if note and there["running"] > limits["max_capacity"]:
        sides.reverse()
    side = next((side for side in sides if limits[side] != there[side]), "")
    return update(resource, there, wanted, {side: (impact, note)} if note else None)


def _clamp(running: int | None, least: int, most: int) -> tuple[str, str]:
    """Registering a target moves the service between its limits at once."""
    if running is None or least <= running <= most:
        return "", ""
    if running > most:
        return DISRUPTIVE, f"the service runs {running} tasks: AWS stops {running - most} of them at once"
    return "in-place", f"the service runs {running} tasks: AWS starts {least - running} more at once"


def _plan_policies(target: Mapping, there: Mapping) -> list[Change]:
    wanted = _policies(target)
    if wanted is None:
        return []
    changes = [
        replace(delete(policy_resource(target, name), policy), impact="in-place")
        for name, policy in there.items()
        if name not in wanted
    ]
    for name, policy in wanted.items():
        resource = policy_resource(target, name)
        changes += update(resource, there[name], policy) if name in there else [create(resource, policy)]
    return changes


def _refuse_contradictions(params: Mapping) -> None:
    seen = set()
    for target in params["targets"]:
        resource = target_resource(target)
        if target["resource_id"] in seen:
            raise Refused(f"{resource} is twice in targets. Put its policies into one entry.")
        seen.add(target["resource_id"])
        metrics: dict[Any, str] = {}
        for policy in target["policies"] or []:
            metric = (policy["predefined_metric_type"], policy["resource_label"])
            if metric in metrics:
                raise Refused(
                    f"{resource}: the policies {metrics[metric]} and {policy['name']} both follow {metric[0]}; "
                    "AWS takes one policy a metric. Remove one of them."
                )
            metrics[metric] = policy["name"]
            if (metric[0] == "ALBRequestCountPerTarget") != bool(metric[1]):
                raise Refused(
                    f"{resource}: policy {policy['name']}: resource_label belongs to ALBRequestCountPerTarget, and "
                    "to it alone: app/<load balancer>/<id>/targetgroup/<target group>/<id>."
                )
        if len({policy["name"] for policy in target["policies"] or []}) != len(metrics):
            raise Refused(f"{resource}: two policies have the same name. Rename one of them.")


# ---- apply ----


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    planned = by_resource(changes)
    together(
        *(
            lambda target=target: _apply_one(aws, params, target, current.get(target["resource_id"], {}), planned)
            for target in params["targets"]
        )
    )


def _apply_one(aws: Aws, params: Mapping, target: Mapping, there: Mapping, planned: Mapping) -> None:
    scaling = aws.client(_SERVICE)
    where = {
        "ServiceNamespace": params["service_namespace"],
        "ResourceId": target["resource_id"],
        "ScalableDimension": target["scalable_dimension"],
    }
    changes = planned.get(target_resource(target), [])
    if params["state"] == "absent":
        if changes:
            scaling.deregister_scalable_target(**where)  # takes policies, alarms and scheduled actions along
        return
    if changes:
        _apply_target(aws, params, target, there, changes, where)
    wanted, policies = _policies(target) or {}, there.get("policies", {})
    mine = {name: planned[policy_resource(target, name)] for name in wanted if policy_resource(target, name) in planned}
    gone = [name for name in policies if policy_resource(target, name) in planned and name not in wanted]
    # Before the others, for AWS takes one policy a metric; and AWS cannot turn one kind of policy into another.
    changed = [name for name in mine if name in policies and _another(policies[name], wanted[name])]
    for name in gone + changed:
        scaling.delete_scaling_policy(PolicyName=name, **where)
    for name in mine:
        _put_policy(scaling, where, name, predicted(policies.get(name, {}), wanted[name]))


def _another(there: Mapping, wanted: Mapping) -> bool:
    return any(there[field] != wanted.get(field) for field in ("policy_type", *_METRIC_FIELDS))


def _apply_target(
    aws: Aws, params: Mapping, target: Mapping, there: Mapping, changes: Sequence[Change], where: Mapping
) -> None:
    scaling = aws.client(_SERVICE)
    wanted = desired_target(params, target)
    if {change.path.split(".")[0] for change in changes} != {"tags"}:
        arguments: dict[str, Any] = {
            argument: wanted[field]
            for field, argument in (
                ("min_capacity", "MinCapacity"),
                ("max_capacity", "MaxCapacity"),
                ("role_arn", "RoleARN"),
            )
            if field in wanted
        }
        if "suspended" in wanted:
            # all three: the API reference does not say what becomes of one that is left out
            states = predicted(there.get("suspended", dict.fromkeys(_SUSPENDED, False)), wanted["suspended"])
            arguments["SuspendedState"] = {key: states[field] for field, key in _SUSPENDED.items()}
        if changes[0].action == "create" and wanted.get("tags"):
            arguments["Tags"] = dict(wanted["tags"])
        try:
            scaling.register_scalable_target(**where, **arguments)
        except scaling.exceptions.ValidationException as error:
            if "service doesn't exist" not in str(error):
                raise
            _, cluster, service = target["resource_id"].split("/")
            raise Failed(
                f"{target_resource(target)} was not registered: the service {service} does not exist in the cluster "
                f"{cluster}. Deploy it first: run site.yml without --tags autoscaling."
            ) from None
    if changes[0].action != "create":
        _mend_tags(scaling, there["arn"], changes)


def _mend_tags(scaling: Any, arn: str, changes: Sequence[Change]) -> None:
    tags = {change.path.removeprefix("tags."): change.after for change in changes if change.path.startswith("tags.")}
    gone = [key for key, value in tags.items() if value is None]
    if gone:
        scaling.untag_resource(ResourceARN=arn, TagKeys=gone)
    new = {key: value for key, value in tags.items() if value is not None}
    if new:
        scaling.tag_resource(ResourceARN=arn, Tags=new)


def _put_policy(scaling: Any, where: Mapping, name: str, policy: Mapping) -> None:
    """Write the whole policy, what is left out as it is: PutScalingPolicy forgets what it is not given."""
    configuration = {key: policy[field] for field, key in _TRACKING_FIELDS.items() if policy.get(field) is not None}
    configuration["PredefinedMetricSpecification"] = {
        key: policy[field] for field, key in _METRIC_FIELDS.items() if policy.get(field) is not None
    }
    scaling.put_scaling_policy(
        PolicyName=name, PolicyType=_TRACKING, TargetTrackingScalingPolicyConfiguration=configuration, **where
    )


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Targets and policies are there when the calls return."""


# ---- output ----


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    if params["state"] == "absent":
        return {"targets": {}}
    return {
        "targets": {target["resource_id"]: _output_one(aws, params, target, current) for target in params["targets"]}
    }


def _output_one(aws: Aws, params: Mapping, target: Mapping, current: Mapping) -> dict[str, Any]:
    resource_id, namespace = target["resource_id"], params["service_namespace"]
    there = {key: value for key, value in current.get(resource_id, {}).items() if key != "running"}
    policies = there.pop("policies", {})
    wanted = _policies(target)
    new_id = unknown("id of scalable target", resource_id)

    def policy(name: str) -> dict[str, Any]:
        # https://docs.aws.amazon.com/autoscaling/application/APIReference/API_ScalingPolicy.html
        new = f"{unknown('id of scaling policy', name)}:resource/{namespace}/{resource_id}:policyName/{name}"
        fields = {"arn": aws.arn("autoscaling", f"scalingPolicy:{new}"), **policies.get(name, {})}
        return predicted(fields, (wanted or {}).get(name, {}))

    return {
        "arn": aws.arn(_SERVICE, f"scalable-target/{new_id}"),
        **predicted(there, desired_target(params, target)),
        "policies": {name: policy(name) for name in (policies if wanted is None else wanted)},
    }


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    return [
        label
        for target in params["targets"]
        for label in (
            target_resource(target),
            *(policy_resource(target, policy["name"]) for policy in target["policies"] or []),
        )
    ]


def billed(aws: Aws, params: Mapping, current: Mapping, wanted: bool) -> list[dict[str, Any]]:
    items = []
    for target in params["targets"]:
        fields = current.get(target["resource_id"], {})
        policies = fields.get("policies", {})
        if wanted:
            fields = predicted(fields, desired_target(params, target))
            policies = policies if target["policies"] is None else target["policies"]
        if "min_capacity" in fields:
            items.append(
                {
                    "kind": "scalable_target",
                    "resource": target_resource(target),
                    "service": target["resource_id"].removeprefix("service/"),
                    "min": fields["min_capacity"],
                    "max": fields["max_capacity"],
                    "policies": len(policies),
                }
            )
    return items
