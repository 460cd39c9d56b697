# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scalable targets with their policies and scheduled actions. The number of tasks itself is never given: the scaler
owns it.

Policies and scheduled actions of a target that are not in its lists are deleted: two policies that nobody weighed
against each other fight.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScalingPolicy.html
https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScheduledAction.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, patiently, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.cloudwatch_metrics import (
    exact,
    normal,
    request,
    wrong_queries,
)
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
    tag_changes,
    unknown,
    update,
)

_SERVICE = "application-autoscaling"
_TRACKING, _STEP, _PREDICTIVE = "TargetTrackingScaling", "StepScaling", "PredictiveScaling"
POLICY_TYPES = [_TRACKING, _STEP, _PREDICTIVE]
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
_CUSTOMIZED = "customized_metric_specification"
_OF_TRACKING = (*_TRACKING_FIELDS, *_METRIC_FIELDS, _CUSTOMIZED)
_CONFIGURATIONS = {
    _STEP: "step_scaling_policy_configuration",
    _PREDICTIVE: "predictive_scaling_policy_configuration",
}
_QUERY_LISTS = (
    "customized_scaling_metric_specification",
    "customized_load_metric_specification",
    "customized_capacity_metric_specification",
)
# Codes that only mean "not yet": a target, or the role that Application Auto Scaling makes with an account's first one,
# was made a moment ago.
# https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScalingPolicy.html#API_PutScalingPolicy_Errors
_NOT_YET = ("ConcurrentUpdateException", "FailedResourceAccessException", "ObjectNotFoundException")
_ACTION_LIMITS = {"min_capacity": "MinCapacity", "max_capacity": "MaxCapacity"}


def target_resource(target: Mapping) -> str:
    return f"scalable target {target['resource_id']}"


def policy_resource(target: Mapping, name: str) -> str:
    return f"scaling policy {name} of {target['resource_id']}"


def action_resource(target: Mapping, name: str) -> str:
    return f"scheduled action {name} of {target['resource_id']}"


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

    ``scheduled_actions`` by name are there when some target is given any. A target that is to be registered or gets
    other limits has ``running`` too: the present desired count of its service, None where there is no such service. One
    that does not exist has nothing else, and no ``arn``.
    """
    namespace = params["service_namespace"]
    ids = [target["resource_id"] for target in params["targets"]]
    if not ids:
        return {}
    # One target's policies, or those of the whole namespace: the API takes no list of targets.
    only = {"ResourceId": ids[0]} if len(ids) == 1 else {}
    scheduled = any(target["scheduled_actions"] is not None for target in params["targets"])

    def pages(operation: str, key: str, **more: Any) -> list:
        return aws.pages(_SERVICE, operation, key, ServiceNamespace=namespace, **more)

    policies, actions, *parts = together(
        lambda: pages("describe_scaling_policies", "ScalingPolicies", **only),
        lambda: pages("describe_scheduled_actions", "ScheduledActions", **only) if scheduled else [],
        *(
            lambda part=ids[start : start + 50]: pages("describe_scalable_targets", "ScalableTargets", ResourceIds=part)
            for start in range(0, len(ids), 50)
        ),
    )
    wanted = {(target["resource_id"], target["scalable_dimension"]): target for target in params["targets"]}
    found = {_key(item): _normal_target(item) for part in parts for item in part if _key(item) in wanted}
    for target in found.values():
        target.update(policies={}, **({"scheduled_actions": {}} if scheduled else {}))
    for kind, items, to_normal, name in (
        ("policies", policies, _normal_policy, "PolicyName"),
        ("scheduled_actions", actions, _normal_action, "ScheduledActionName"),
    ):
        for item in items:
            if _key(item) in found:
                found[_key(item)][kind][item[name]] = to_normal(item)
    client = aws.client(_SERVICE)
    tags, running = together(
        lambda: aws.tags(
            [target["arn"] for target in found.values()],
            lambda arn: client.list_tags_for_resource(ResourceARN=arn)["Tags"],
        ),
        lambda: _running(
            aws, params, [key[0] for key in wanted if _limits_change(params, wanted[key], found.get(key))]
        ),
    )
    current: dict[str, dict] = {resource_id: {"running": count} for resource_id, count in running.items()}
    for key, target in found.items():
        current.setdefault(key[0], {}).update(target, tags=tags[target["arn"]])
    return current


def _key(item: Mapping) -> tuple[str, str]:
    return item["ResourceId"], item["ScalableDimension"]


def _limits_change(params: Mapping, target: Mapping, there: Mapping | None) -> bool:
    if there is None:
        return True
    wanted = desired_target(params, target, there)
    return any(wanted.get(field, there[field]) != there[field] for field in _ACTION_LIMITS)


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
    """A policy in terms of the options; what belongs to other types of policies is None."""
    tracking = policy.get("TargetTrackingScalingPolicyConfiguration", {})
    metric = tracking.get("PredefinedMetricSpecification", {})
    step = policy.get("StepScalingPolicyConfiguration")
    predictive = policy.get("PredictiveScalingPolicyConfiguration")
    return {
        "arn": policy["PolicyARN"],
        "policy_type": policy["PolicyType"],
        **{field: tracking.get(key) for field, key in _TRACKING_FIELDS.items()},
        **{field: metric.get(key) for field, key in _METRIC_FIELDS.items()},
        "disable_scale_in": tracking.get("DisableScaleIn", False) if tracking else None,
        _CUSTOMIZED: normal(tracking.get("CustomizedMetricSpecification")),
        _CONFIGURATIONS[_STEP]: None if step is None else _normal_step(normal(step)),
        _CONFIGURATIONS[_PREDICTIVE]: None if predictive is None else _normal_predictive(normal(predictive)),
    }


def _normal_step(configuration: Mapping) -> dict[str, Any]:
    steps = [
        {name: step.get(name) for name in ("metric_interval_lower_bound", "metric_interval_upper_bound")}
        | {"scaling_adjustment": step["scaling_adjustment"]}
        for step in configuration["step_adjustments"]
    ]
    return {**configuration, "step_adjustments": sorted(steps, key=_lower)}


def _lower(step: Mapping) -> float:
    lower = step["metric_interval_lower_bound"]
    return float("-inf") if lower is None else lower


def _normal_predictive(configuration: Mapping) -> dict[str, Any]:
    """AWS's list of metric specifications has exactly one."""
    fields = dict(configuration)
    return {"metric_specification": fields.pop("metric_specifications")[0], **fields}


def _normal_action(action: Mapping) -> dict[str, Any]:
    limits = action.get("ScalableTargetAction", {})
    return {
        "arn": action["ScheduledActionARN"],
        "schedule": action["Schedule"],
        "timezone": action.get("Timezone", "UTC"),
        "start_time": _moment(action.get("StartTime")),
        "end_time": _moment(action.get("EndTime")),
        **{field: limits.get(key) for field, key in _ACTION_LIMITS.items()},
    }


def _moment(time: datetime | str | None) -> str | None:
    """A time in UTC, to the second; one without an offset is UTC."""
    if not time:
        return None
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- plan ----


def desired_target(params: Mapping, target: Mapping, there: Mapping) -> dict[str, Any]:
    fields = {field: target[field] for field in (*_ACTION_LIMITS, "role_arn") if target[field] is not None}
    if _set_by_schedule(target, there):
        fields = {field: value for field, value in fields.items() if field not in _ACTION_LIMITS}
    if target["suspended"] is not None:
        fields["suspended"] = {key: value for key, value in target["suspended"].items() if value is not None}
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def _set_by_schedule(target: Mapping, there: Mapping) -> bool:
    """Whether the present limits are those that a scheduled action, deployed and still wanted, leaves behind.

    They are no drift then: a run at night would otherwise undo what the schedule did in the evening.
    """
    wanted, deployed = _actions(target) or {}, there.get("scheduled_actions", {})
    for name in wanted.keys() & deployed.keys():
        limits = {field: wanted[name][field] for field in _ACTION_LIMITS}
        left = {field: target[field] if value is None else value for field, value in limits.items()}
        if limits.items() <= deployed[name].items() and all(there[field] == left[field] for field in _ACTION_LIMITS):
            return True
    return False


def desired_policy(policy: Mapping) -> dict[str, Any]:
    """What the options ask of a policy. Fields of other types of policies are None, for they end with the type."""
    kind = policy["policy_type"]
    if kind == _TRACKING:
        given = {field: policy[field] for field in _TRACKING_FIELDS if policy[field] is not None}
        metric = {**{field: policy[field] for field in _METRIC_FIELDS}, _CUSTOMIZED: exact(policy[_CUSTOMIZED])}
        return {"policy_type": kind, **given, **metric, **dict.fromkeys(_CONFIGURATIONS.values())}
    configuration = {key: value for key, value in policy[_CONFIGURATIONS[kind]].items() if value is not None}
    if kind == _STEP:
        configuration = _normal_step(configuration)
    else:
        configuration["metric_specification"] = exact(configuration["metric_specification"])
    return {
        "policy_type": kind,
        **dict.fromkeys((*_OF_TRACKING, *_CONFIGURATIONS.values())),
        _CONFIGURATIONS[kind]: configuration,
    }


def desired_action(action: Mapping) -> dict[str, Any]:
    """All fields of a scheduled action: what the options leave out it does not have."""
    return {
        "schedule": action["schedule"],
        "timezone": action["timezone"] or "UTC",
        "start_time": _moment(action["start_time"]),
        "end_time": _moment(action["end_time"]),
        **{field: action[field] for field in _ACTION_LIMITS},
    }


def _policies(target: Mapping) -> dict[str, dict[str, Any]] | None:
    """Wanted policies by name; None when the target's policies are not this module's business."""
    if target["policies"] is None:
        return None
    return {policy["name"]: desired_policy(policy) for policy in target["policies"]}


def _actions(target: Mapping) -> dict[str, dict[str, Any]] | None:
    """Wanted scheduled actions by name; None when those of the target are not this module's business."""
    if target["scheduled_actions"] is None:
        return None
    return {action["name"]: desired_action(action) for action in target["scheduled_actions"]}


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
        changes += _plan_named(target, policy_resource, _policies(target), there.get("policies", {}))
        changes += _plan_named(target, action_resource, _actions(target), there.get("scheduled_actions", {}))
    return changes


def _plan_target(params: Mapping, target: Mapping, there: Mapping, exists: bool) -> list[Change]:
    resource, wanted = target_resource(target), desired_target(params, target, there)
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


def _plan_named(target: Mapping, resource_of: Any, wanted: Mapping | None, there: Mapping) -> list[Change]:
    """The changes of a target's policies, or of its scheduled actions, by name."""
    if wanted is None:
        return []
    changes = [
        replace(delete(resource_of(target, name), fields), impact="in-place")
        for name, fields in there.items()
        if name not in wanted
    ]
    for name, fields in wanted.items():
        resource = resource_of(target, name)
        changes += update(resource, there[name], fields) if name in there else [create(resource, fields)]
    return changes


def _refuse_contradictions(params: Mapping) -> None:
    seen = set()
    for target in params["targets"]:
        resource = target_resource(target)
        if target["resource_id"] in seen:
            raise Refused(f"{resource} is twice in targets. Put its policies into one entry.")
        seen.add(target["resource_id"])
        metrics: dict[str, str] = {}
        for policy in target["policies"] or []:
            for reason in _wrong_policy(policy):
                raise Refused(f"{resource}: policy {policy['name']}: {reason}.")
            if policy["policy_type"] == _TRACKING:
                metric = json.dumps([policy[field] for field in (*_METRIC_FIELDS, _CUSTOMIZED)], sort_keys=True)
                if metric in metrics:
                    what = policy["predefined_metric_type"] or "the same metric"
                    raise Refused(
                        f"{resource}: the policies {metrics[metric]} and {policy['name']} both follow {what}; "
                        "AWS takes one policy a metric. Remove one of them."
                    )
                metrics[metric] = policy["name"]
        for action in target["scheduled_actions"] or []:
            for reason in _wrong_action(action):
                raise Refused(f"{resource}: scheduled action {action['name']}: {reason}.")
        for what, items in (("policies", target["policies"]), ("scheduled actions", target["scheduled_actions"])):
            if len({item["name"] for item in items or []}) != len(items or []):
                raise Refused(f"{resource}: two {what} have the same name. Rename one of them.")


def _wrong_policy(policy: Mapping) -> Iterator[str]:
    """What AWS would not take, in the order in which a person would mend it."""
    kind = policy["policy_type"]
    of_kind = _OF_TRACKING if kind == _TRACKING else (_CONFIGURATIONS[kind],)
    for field in (*_OF_TRACKING, *_CONFIGURATIONS.values()):
        if field not in of_kind and policy[field] is not None:
            yield f"{field} does not belong to policy_type {kind}"
    if kind == _TRACKING:
        yield from _wrong_tracking(policy)
    elif policy[_CONFIGURATIONS[kind]] is None:
        yield f"policy_type {kind} needs {_CONFIGURATIONS[kind]}"
    elif kind == _STEP:
        yield from _wrong_steps(policy[_CONFIGURATIONS[kind]])
    else:
        yield from _wrong_predictive(policy[_CONFIGURATIONS[kind]])


def _wrong_tracking(policy: Mapping) -> Iterator[str]:
    predefined, custom = policy["predefined_metric_type"], policy[_CUSTOMIZED]
    if policy["target_value"] is None:
        yield "target_value is missing"
    if bool(predefined) == bool(custom):
        yield f"it needs predefined_metric_type or {_CUSTOMIZED}, and not both"
    if (predefined == "ALBRequestCountPerTarget") != bool(policy["resource_label"]):
        yield (
            "resource_label belongs to ALBRequestCountPerTarget, and to it alone: "
            "app/<load balancer>/<id>/targetgroup/<target group>/<id>"
        )
    if custom and custom["metrics"]:
        if any(custom[field] is not None for field in ("metric_name", "namespace", "dimensions", "statistic", "unit")):
            yield f"{_CUSTOMIZED} has metrics, and so nothing else"
        yield from wrong_queries(custom["metrics"])
    elif custom and not all(custom[field] for field in ("metric_name", "namespace", "statistic")):
        yield f"{_CUSTOMIZED} needs metric_name, namespace and statistic, or metrics"


def _wrong_steps(configuration: Mapping) -> Iterator[str]:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_StepAdjustment.html"""
    steps = _normal_step(configuration)["step_adjustments"]
    bounds = [(step["metric_interval_lower_bound"], step["metric_interval_upper_bound"]) for step in steps]
    if not 1 <= len(steps) <= 20:
        yield f"step_adjustments has {len(steps)} steps; allowed: 1 to 20"
    if any(low is None and high is None for low, high in bounds):
        yield "a step of step_adjustments has neither a lower nor an upper bound"
    if any(low is not None and high is not None and low >= high for low, high in bounds):
        yield "a step of step_adjustments has a lower bound that is not below its upper bound"
    if any(one[1] is None or one[1] != other[0] for one, other in pairwise(bounds)):
        yield "the ranges of step_adjustments overlap or leave a gap"
    if bounds and ((bounds[0][0] or 0) < 0 or (bounds[-1][1] or 0) > 0):
        yield "the first step below the threshold has no lower bound, and the last one above it no upper bound"
    if configuration["adjustment_type"] == "ExactCapacity" and any(step["scaling_adjustment"] < 0 for step in steps):
        yield "an exact capacity is not negative"
    if configuration["min_adjustment_magnitude"] is not None and (
        configuration["adjustment_type"] != "PercentChangeInCapacity"
    ):
        yield "min_adjustment_magnitude belongs to the adjustment_type PercentChangeInCapacity"


def _wrong_predictive(configuration: Mapping) -> Iterator[str]:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PredictiveScalingPolicyConfiguration.html"""
    metric = configuration["metric_specification"]
    given = {name for name, value in metric.items() if value is not None}
    pair = "predefined_metric_pair_specification" in given
    single = [
        {f"predefined_{kind}_metric_specification", f"customized_{kind}_metric_specification"} & given
        for kind in ("scaling", "load")
    ]
    if (pair and any(single)) or (not pair and [len(one) for one in single] != [1, 1]):
        yield "metric_specification needs a metric pair, or one metric of scaling and one of load"
    for name in _QUERY_LISTS:
        if name in given:
            yield from wrong_queries(metric[name]["metric_data_queries"])
    increase = configuration["max_capacity_breach_behavior"] == "IncreaseMaxCapacity"
    if increase != (configuration["max_capacity_buffer"] is not None):
        yield "max_capacity_buffer belongs to the max_capacity_breach_behavior IncreaseMaxCapacity, which needs it"


def _wrong_action(action: Mapping) -> Iterator[str]:
    fields = r"\S+( \S+){5}"
    if not re.fullmatch(
        rf"at\(\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\)|rate\([1-9]\d* (minute|hour|day)s?\)|cron\({fields}\)",
        action["schedule"],
    ):
        yield (
            f"schedule is {action['schedule']}; allowed: at(yyyy-mm-ddThh:mm:ss), rate(5 minutes), or cron with its "
            "six fields, for example cron(0 20 ? * MON-FRI *)"
        )
    limits = [action[field] for field in _ACTION_LIMITS]
    if limits == [None, None]:
        yield "it needs min_capacity or max_capacity"
    if None not in limits and limits[0] > limits[1]:
        yield f"min_capacity is {limits[0]} and max_capacity {limits[1]}. The least cannot be more than the most"
    moments = []
    for field in ("start_time", "end_time"):
        try:
            moments.append(_moment(action[field]))
        except ValueError:
            yield f"{field} is {action[field]}; allowed: a time as 2026-12-24T18:00:00Z"
    if len(moments) == 2 and None not in moments and moments[0] >= moments[1]:
        yield f"end_time {moments[1]} is not after start_time {moments[0]}"


# ---- apply ----


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    planned = by_resource(changes)
    together(
        *(
            lambda target=target: _apply_one(aws, params, target, current.get(target["resource_id"], {}), planned, say)
            for target in params["targets"]
        )
    )


def _apply_one(aws: Aws, params: Mapping, target: Mapping, there: Mapping, planned: Mapping, say: Say) -> None:
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
    _apply_policies(scaling, target, there.get("policies", {}), planned, where, say)
    _apply_actions(scaling, target, there.get("scheduled_actions", {}), planned, where, say)


def _apply_policies(scaling: Any, target: Mapping, there: Mapping, planned: Mapping, where: Mapping, say: Say) -> None:
    wanted = _policies(target) or {}
    mine = [name for name in wanted if policy_resource(target, name) in planned]
    gone = [name for name in there if policy_resource(target, name) in planned and name not in wanted]
    # Before the others, for AWS takes one policy a metric; and AWS cannot turn one kind of policy into another.
    changed = [name for name in mine if name in there and _another(there[name], wanted[name])]
    for name in gone + changed:
        scaling.delete_scaling_policy(PolicyName=name, **where)
    for name in mine:
        policy = predicted(there.get(name, {}), wanted[name])
        patiently(lambda name=name, policy=policy: _put_policy(scaling, where, name, policy), _NOT_YET, say)


def _another(there: Mapping, wanted: Mapping) -> bool:
    """Whether one policy has to give way to another of the same name."""
    return any(there[field] != wanted[field] for field in ("policy_type", *_METRIC_FIELDS, _CUSTOMIZED))


def _apply_actions(scaling: Any, target: Mapping, there: Mapping, planned: Mapping, where: Mapping, say: Say) -> None:
    wanted = _actions(target) or {}
    mine = [name for name in wanted if action_resource(target, name) in planned]
    for name in there:
        gone = name not in wanted and action_resource(target, name) in planned
        if gone or (name in mine and _loses_a_limit(there[name], wanted[name])):
            scaling.delete_scheduled_action(ScheduledActionName=name, **where)
    for name in mine:
        before = there.get(name, {})
        patiently(
            lambda name=name, before=before: _put_action(scaling, where, name, wanted[name], before), _NOT_YET, say
        )


def _loses_a_limit(there: Mapping, wanted: Mapping) -> bool:
    """PutScheduledAction keeps what it is not given (start and end aside): what is to go has to go with the action."""
    return any(wanted[field] is None and there[field] is not None for field in _ACTION_LIMITS)


def _put_action(scaling: Any, where: Mapping, name: str, action: Mapping, there: Mapping) -> None:
    arguments = {
        argument: action[field]
        for field, argument in (("schedule", "Schedule"), ("start_time", "StartTime"), ("end_time", "EndTime"))
        if action[field] is not None
    }
    if action["timezone"] != there.get("timezone", "UTC") or action["timezone"] != "UTC":
        arguments["Timezone"] = action["timezone"]
    limits = {key: action[field] for field, key in _ACTION_LIMITS.items() if action[field] is not None}
    scaling.put_scheduled_action(ScheduledActionName=name, ScalableTargetAction=limits, **arguments, **where)


def _apply_target(
    aws: Aws, params: Mapping, target: Mapping, there: Mapping, changes: Sequence[Change], where: Mapping
) -> None:
    scaling = aws.client(_SERVICE)
    wanted = desired_target(params, target, there)
    if {change.path.split(".")[0] for change in changes} != {"tags"}:
        arguments: dict[str, Any] = {
            argument: wanted[field]
            for field, argument in (*_ACTION_LIMITS.items(), ("role_arn", "RoleARN"))
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
    new, gone = tag_changes(changes)
    if gone:
        scaling.untag_resource(ResourceARN=arn, TagKeys=gone)
    if new:
        scaling.tag_resource(ResourceARN=arn, Tags=new)


def _put_policy(scaling: Any, where: Mapping, name: str, policy: Mapping) -> None:
    """Write the whole policy, what is left out as it is: PutScalingPolicy forgets what it is not given."""
    kind = policy["policy_type"]
    if kind == _TRACKING:
        configuration = {key: policy[field] for field, key in _TRACKING_FIELDS.items() if policy.get(field) is not None}
        if policy[_CUSTOMIZED]:
            configuration["CustomizedMetricSpecification"] = request(policy[_CUSTOMIZED])
        else:
            configuration["PredefinedMetricSpecification"] = {
                key: policy[field] for field, key in _METRIC_FIELDS.items() if policy.get(field) is not None
            }
    else:
        configuration = request(policy[_CONFIGURATIONS[kind]])
        if kind == _PREDICTIVE:
            configuration["MetricSpecifications"] = [configuration.pop("MetricSpecification")]
    scaling.put_scaling_policy(
        PolicyName=name, PolicyType=kind, **{f"{kind}PolicyConfiguration": configuration}, **where
    )


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Targets, policies and scheduled actions are there when the calls return."""


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

    # https://docs.aws.amazon.com/autoscaling/application/APIReference/API_ScalingPolicy.html
    def new_arn(kind: str, what: str, name_kind: str, name: str) -> str:
        new = f"{unknown(f'id of {what}', name)}:resource/{namespace}/{resource_id}:{name_kind}/{name}"
        return aws.arn("autoscaling", f"{kind}:{new}")

    def named(there: Mapping, wanted: Mapping | None, new: Mapping, anew: Any, *arn: str) -> dict[str, Any]:
        """What is there, or will be; one that has to give way to another of the same name gets another ARN."""
        result = {}
        for name in there if wanted is None else wanted:
            fields = {**new, **there.get(name, {})}
            if name not in there or (wanted is not None and anew(there[name], wanted[name])):
                fields["arn"] = new_arn(*arn, name)
            result[name] = fields if wanted is None else predicted(fields, wanted[name])
        return result

    new_policy = dict.fromkeys((*_OF_TRACKING, *_CONFIGURATIONS.values()))
    policy_arn = ("scalingPolicy", "scaling policy", "policyName")
    policies = named(there.pop("policies", {}), _policies(target), new_policy, _another, *policy_arn)
    for policy in policies.values():
        if policy["policy_type"] == _TRACKING:
            policy["disable_scale_in"] = policy["disable_scale_in"] or False
    actions = {}
    if target["scheduled_actions"] is not None:
        action_arn = ("scheduledAction", "scheduled action", "scheduledActionName")
        there_too = there.pop("scheduled_actions", {})
        actions["scheduled_actions"] = named(there_too, _actions(target), {}, _loses_a_limit, *action_arn)
    there.pop("scheduled_actions", None)
    if "arn" not in there:  # only then: the account's number costs a call
        there = {
            "arn": aws.arn(_SERVICE, f"scalable-target/{unknown('id of scalable target', resource_id)}"),
            "role_arn": _linked_role(aws, namespace),
            "suspended": dict.fromkeys(_SUSPENDED, False),
            "tags": {},
        }
    wanted = desired_target(params, target, current.get(resource_id, {}))
    return {**predicted(there, wanted), "policies": policies, **actions}


def _linked_role(aws: Aws, namespace: str) -> str:
    """https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html"""
    if namespace != "ecs":
        return unknown("service-linked role of", namespace)
    role = "ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"
    return aws.arn("iam", f"role/aws-service-role/{role}", region=False)


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    return [
        label
        for target in params["targets"]
        for label in (
            target_resource(target),
            *(policy_resource(target, policy["name"]) for policy in target["policies"] or []),
            *(action_resource(target, action["name"]) for action in target["scheduled_actions"] or []),
        )
    ]


def billed(aws: Aws, params: Mapping, current: Mapping, wanted: bool) -> list[dict[str, Any]]:
    items = []
    for target in params["targets"]:
        fields = current.get(target["resource_id"], {})
        policies = fields.get("policies", {}).values()
        if wanted:
            fields = predicted(fields, desired_target(params, target, fields))
            policies = policies if target["policies"] is None else target["policies"]
        if "min_capacity" in fields:
            items.append(
                {
                    "kind": "scalable_target",
                    "resource": target_resource(target),
                    "service": target["resource_id"].removeprefix("service/"),
                    "min": fields["min_capacity"],
                    "max": fields["max_capacity"],
                    # those of the others have no alarms that AWS makes
                    "policies": sum(policy["policy_type"] == _TRACKING for policy in policies),
                }
            )
    return items
