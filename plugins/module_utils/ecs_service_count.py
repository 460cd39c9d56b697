# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many tasks a service runs, within the limits of its scaler, or with the limits moved as far as that takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout, ecs_verbs
from ansible_collections.nexus_learn.aws.plugins.module_utils.application_autoscaling import target_resource
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_service import resource
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    Change,
    Refused,
    Say,
    refuse_foreign,
    update,
)

_SCALING, _DIMENSION = "application-autoscaling", "ecs:service:DesiredCount"
_LIMITS = {"min_capacity": "MinCapacity", "max_capacity": "MaxCapacity"}


def describe(aws: Aws, params: Mapping) -> dict[str, Any]:
    """``{"service": as described, "limits": the scaler's or None}``"""
    (service,) = ecs_verbs.find(aws, params, [params["service"]]).values()
    targets = aws.pages(
        _SCALING,
        "describe_scalable_targets",
        "ScalableTargets",
        ServiceNamespace="ecs",
        ScalableDimension=_DIMENSION,
        ResourceIds=[_id(params, service)],
    )
    limits = [{field: target[key] for field, key in _LIMITS.items()} for target in targets]
    return {"service": service, "limits": limits[0] if limits else None}


def _id(params: Mapping, service: Mapping) -> str:
    return f"service/{params['cluster']}/{service['serviceName']}"


def _moved(params: Mapping, limits: Mapping) -> dict[str, int]:
    """The limits with ``count`` between them."""
    return {
        "min_capacity": min(limits["min_capacity"], params["count"]),
        "max_capacity": max(limits["max_capacity"], params["count"]),
    }


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    service, limits, count = current["service"], current["limits"], params["count"]
    if count < 0:
        raise Refused(f"count is {count}; allowed: 0 or more.")
    label = resource(service["serviceName"])
    refuse_foreign(label, ecs_verbs.tags(service), params)
    changes = []
    if limits and _moved(params, limits) != limits:
        if not params["move_limits"]:
            raise Refused(
                f"count is {count}; the scaler of {params['service']} keeps it from {limits['min_capacity']} to "
                f"{limits['max_capacity']}, and would take it back there. Give a count between them, or move the "
                "limits as far as that takes with move_limits=true."
            )
        changes += update(_target(params, service), limits, _moved(params, limits))
    return changes + update(label, {"desired_count": service["desiredCount"]}, {"desired_count": count})


def _target(params: Mapping, service: Mapping) -> str:
    return target_resource({"resource_id": _id(params, service)})


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    """The limits first: the scaler takes back what is outside of them."""
    service = current["service"]
    moved = {_LIMITS[change.path]: change.after for change in changes if change.path in _LIMITS}
    if moved:
        aws.client(_SCALING).register_scalable_target(
            ServiceNamespace="ecs", ResourceId=_id(params, service), ScalableDimension=_DIMENSION, **moved
        )
    if any(change.path == "desired_count" for change in changes):
        aws.client("ecs").update_service(
            cluster=params["cluster"], service=service["serviceName"], desiredCount=params["count"]
        )


def settled(params: Mapping, current: Mapping) -> bool:
    return not ecs_rollout.unfinished([current["service"]])


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """A change of the count is no deployment: the present one is followed until as many run as are wanted."""
    begun = time.monotonic()
    services = ecs_verbs.find(aws, params, [params["service"]]).values()
    # shown a moment later, or never if the scaler has moved it already
    while any(one["desiredCount"] != params["count"] for one in services):
        if time.monotonic() - begun > ecs_rollout.UNSEEN_SECONDS:
            break
        time.sleep(ecs_rollout.PAUSE)
        services = ecs_verbs.find(aws, params, [params["service"]]).values()
    rollouts = ecs_rollout.unfinished(services)
    ecs_verbs.report(ecs_rollout.follow(aws, params["cluster"], rollouts, timeout=params["wait_timeout"], say=say))


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    scaler = [_target(params, current["service"])] if current["limits"] else []
    return [*scaler, resource(current["service"]["serviceName"])]


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    limits = current["limits"]
    return {
        "service": current["service"]["serviceName"],
        "desired_count": params["count"],
        "limits": _moved(params, limits) if limits else None,
    }
