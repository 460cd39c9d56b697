"""The pure parts: what is planned is what differs, for thousands of pairs of targets."""

from types import SimpleNamespace

from ansible_collections.nexus_learn.aws.plugins.module_utils import application_autoscaling as aggregate
from hypothesis import given
from hypothesis import strategies as st

AWS = SimpleNamespace(arn=lambda service, resource: f"arn:{service}:{resource}")
METRICS = ("ECSServiceAverageCPUUtilization", "ECSServiceAverageMemoryUtilization")
NOT_GIVEN = {
    "policy_type": "TargetTrackingScaling",
    **dict.fromkeys(
        (
            "customized_metric_specification",
            "step_scaling_policy_configuration",
            "predictive_scaling_policy_configuration",
        )
    ),
}
OPTIONAL = {
    "scale_in_cooldown": st.integers(0, 3),
    "scale_out_cooldown": st.integers(0, 3),
    "disable_scale_in": st.booleans(),
}


@st.composite
def targets(draw):
    """A target as the option; optional fields may be None."""
    least = draw(st.integers(0, 3))
    names = draw(st.lists(st.sampled_from("abc"), max_size=2, unique=True))
    metrics = draw(st.permutations(METRICS))
    return {
        "resource_id": "service/c/s",
        "scalable_dimension": "ecs:service:DesiredCount",
        "min_capacity": least,
        "max_capacity": least + draw(st.integers(0, 3)),
        "role_arn": None,
        "suspended": None,
        "scheduled_actions": None,
        "policies": [
            {
                "name": name,
                **NOT_GIVEN,
                "target_value": float(draw(st.integers(1, 3))),
                "predefined_metric_type": metric,
                "resource_label": None,
                **{field: draw(st.none() | values) for field, values in OPTIONAL.items()},
            }
            for name, metric in zip(names, metrics, strict=False)
        ],
    }


def params(target):
    return {"targets": [target], "tags": None, "state": "present", "service_namespace": "ecs"}


def deployed(target):
    """What describe returns once `target` is applied to nothing."""
    return {
        "service/c/s": {
            "arn": "arn",
            "tags": {},
            "role_arn": "role",
            "suspended": dict.fromkeys(aggregate._SUSPENDED, False),
            "min_capacity": target["min_capacity"],
            "max_capacity": target["max_capacity"],
            "policies": {
                policy["name"]: {
                    "arn": "arn",
                    **{field: value for field, value in policy.items() if field != "name"},
                    "disable_scale_in": policy["disable_scale_in"] or False,
                }
                for policy in target["policies"]
            },
        }
    }


@given(targets(), targets())
def test_what_is_planned_is_what_differs(before, after):
    current = deployed(before)
    changes = aggregate.plan(AWS, params(after), current)
    there, wanted = current["service/c/s"]["policies"], {policy["name"]: policy for policy in after["policies"]}
    expected = {
        ("scalable target service/c/s", "update", field)
        for field in ("min_capacity", "max_capacity")
        if before[field] != after[field]
    }
    for name in there.keys() | wanted.keys():
        resource = f"scaling policy {name} of service/c/s"
        if name not in wanted:
            expected.add((resource, "delete", ""))
        elif name not in there:
            expected.add((resource, "create", ""))
        else:
            expected |= {
                (resource, "update", field)
                for field, value in wanted[name].items()
                if field != "name" and value is not None and there[name][field] != value
            }
    assert {(change.resource, change.action, change.path) for change in changes} == expected


@given(targets())
def test_nothing_to_do_when_nothing_differs(target):
    assert aggregate.plan(AWS, params(target), deployed(target)) == []


@given(targets(), st.integers(0, 9))
def test_the_note_tells_exactly_when_the_service_will_be_moved(target, running):
    current = {"service/c/s": {"running": running}}
    first = aggregate.plan(AWS, params(target), current)[0]
    inside = target["min_capacity"] <= running <= target["max_capacity"]
    assert bool(first.note) is not inside
    assert (first.impact == "disruptive") is (running > target["max_capacity"])


@given(targets(), targets(), st.integers(0, 9))
def test_a_note_is_told_once_when_limits_change(before, after, running):
    current = deployed(before)
    current["service/c/s"]["running"] = running
    changes = [change for change in aggregate.plan(AWS, params(after), current) if "capacity" in change.path]
    inside = after["min_capacity"] <= running <= after["max_capacity"]
    assert len([change for change in changes if change.note]) == (0 if inside or not changes else 1)
