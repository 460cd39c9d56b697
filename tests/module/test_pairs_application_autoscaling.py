"""Pairs of targets, policies and scheduled actions before and after: what a check says is what a run does."""

import pytest
import scaling_services
from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

MODULE = "application_autoscaling"
OWNER = {"Project": "nexus-learn", "Environment": "test"}
TAGS = st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", "b", ""])).map(
    lambda more: OWNER | more
)
CPU, MEMORY = "ECSServiceAverageCPUUtilization", "ECSServiceAverageMemoryUtilization"
LABEL = "app/web/50dc6c495c0c9188/targetgroup/web/943f017f100becf"
SMALL = st.integers(0, 3)
LIMITS = st.tuples(SMALL, SMALL).map(lambda pair: {"min_capacity": min(pair), "max_capacity": max(pair)})
DIMENSIONS = st.dictionaries(st.sampled_from(["Queue", "Service"]), st.sampled_from(["a", "b"]))
UNIT = st.sampled_from(["Count", "None"])


def mapping(required=None, **optional):
    return st.fixed_dictionaries(required or {}, optional=optional)


METRIC = mapping(
    {"metric_name": st.sampled_from(["m", "n"]), "namespace": st.sampled_from(["A", "B"])}, dimensions=DIMENSIONS
)
STAT = mapping({"metric": METRIC, "stat": st.sampled_from(["Sum", "p99"])}, unit=UNIT)
QUERIES = st.tuples(
    st.lists(STAT, min_size=1, max_size=2), st.sampled_from(["m0 / 2", "m0 + 1"]), st.none() | st.just("words")
).map(
    lambda parts: [
        *({"id": f"m{number}", "metric_stat": stat, "return_data": False} for number, stat in enumerate(parts[0])),
        {"id": "result", "expression": parts[1], **({"label": parts[2]} if parts[2] else {})},
    ]
)
FOLLOWED = st.one_of(
    st.sampled_from([CPU, MEMORY]).map(lambda kind: {"predefined_metric_type": kind}),
    st.sampled_from("01").map(
        lambda end: {"predefined_metric_type": "ALBRequestCountPerTarget", "resource_label": LABEL + end}
    ),
    mapping(
        {
            "metric_name": st.just("m"),
            "namespace": st.just("A"),
            "statistic": st.sampled_from(["Average", "Sum"]),
        },
        dimensions=DIMENSIONS,
        unit=UNIT,
    ).map(lambda metric: {"customized_metric_specification": metric}),
    QUERIES.map(lambda queries: {"customized_metric_specification": {"metrics": queries}}),
)
TRACKING = st.tuples(
    FOLLOWED,
    mapping(
        {"target_value": st.sampled_from([1, 70.5])},
        scale_in_cooldown=SMALL,
        scale_out_cooldown=SMALL,
        disable_scale_in=st.booleans(),
    ),
).map(lambda parts: {**parts[0], **parts[1]})
CHANGES = st.lists(st.integers(0, 2), min_size=1, max_size=3)
STEP = st.tuples(
    CHANGES,
    st.one_of(
        mapping({"adjustment_type": st.sampled_from(["ChangeInCapacity", "ExactCapacity"])}),
        mapping({"adjustment_type": st.just("PercentChangeInCapacity")}, min_adjustment_magnitude=SMALL),
    ),
    mapping(cooldown=SMALL, metric_aggregation_type=st.sampled_from(["Average", "Maximum"])),
).map(
    lambda parts: {
        "policy_type": "StepScaling",
        "step_scaling_policy_configuration": {
            "step_adjustments": [
                {
                    "metric_interval_lower_bound": number,
                    **({} if number == len(parts[0]) - 1 else {"metric_interval_upper_bound": number + 1}),
                    "scaling_adjustment": change,
                }
                for number, change in enumerate(parts[0])
            ],
            **parts[1],
            **parts[2],
        },
    }
)
PREDEFINED = mapping(
    {"predefined_metric_type": st.sampled_from(["ECSServiceCPUUtilization", "ECSServiceMemoryUtilization"])}
)
CUSTOM = QUERIES.map(lambda queries: {"metric_data_queries": queries})
ONE_OF_EACH = st.tuples(
    *(
        st.one_of(
            PREDEFINED.map(lambda metric, kind=kind: {f"predefined_{kind}_metric_specification": metric}),
            CUSTOM.map(lambda metric, kind=kind: {f"customized_{kind}_metric_specification": metric}),
        )
        for kind in ("scaling", "load")
    ),
    mapping(customized_capacity_metric_specification=CUSTOM),
).map(lambda parts: {**parts[0], **parts[1], **parts[2]})
PREDICTIVE = st.tuples(
    mapping(predefined_metric_pair_specification=PREDEFINED).filter(bool) | ONE_OF_EACH,
    st.sampled_from([40, 50]),
    mapping(mode=st.sampled_from(["ForecastOnly", "ForecastAndScale"]), scheduling_buffer_time=SMALL),
    st.sampled_from(
        [
            {},
            {"max_capacity_breach_behavior": "IncreaseMaxCapacity", "max_capacity_buffer": 1},
            {"max_capacity_breach_behavior": "IncreaseMaxCapacity", "max_capacity_buffer": 2},
        ]
    ),
).map(
    lambda parts: {
        "policy_type": "PredictiveScaling",
        "predictive_scaling_policy_configuration": {
            "metric_specification": {**parts[0], "target_value": parts[1]},
            **parts[2],
            **parts[3],
        },
    }
)


def metric_of(policy):
    """What AWS takes one target tracking policy of; every other policy is one of a kind."""
    if "policy_type" in policy:
        return policy["name"]
    return str(
        [policy.get(key) for key in ("predefined_metric_type", "resource_label", "customized_metric_specification")]
    )


POLICIES = st.dictionaries(st.sampled_from("abc"), TRACKING | TRACKING | STEP | PREDICTIVE).map(
    lambda policies: list(
        {metric_of({"name": name, **policy}): {"name": name, **policy} for name, policy in policies.items()}.values()
    )
)
SCHEDULED = st.dictionaries(
    st.sampled_from("xy"),
    st.tuples(
        mapping(
            {"schedule": st.sampled_from(["cron(0 20 ? * * 2099)", "at(2099-01-01T00:00:00)", "rate(900 days)"])},
            timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
            start_time=st.sampled_from(["2098-01-01T00:00:00Z", "2098-01-01 01:00:00+01:00", "2098-02-02"]),
            end_time=st.sampled_from(["2099-06-01T00:00:00Z", "2099-07-01T00:00:00"]),
        ),
        LIMITS,
        st.sampled_from([[], ["min_capacity"], ["max_capacity"]]),
    ).map(lambda parts: {**parts[0], **{key: value for key, value in parts[1].items() if key not in parts[2]}}),
).map(lambda actions: [{"name": name, **action} for name, action in actions.items()])
TARGET = st.tuples(
    LIMITS,
    mapping(
        role_arn=st.sampled_from([f"arn:aws:iam::123456789012:role/{letter}" for letter in "ab"]),
        suspended=mapping(
            dynamic_scaling_in_suspended=st.booleans(),
            dynamic_scaling_out_suspended=st.booleans(),
            scheduled_scaling_suspended=st.booleans(),
        ),
        policies=POLICIES,
        scheduled_actions=SCHEDULED,
    ),
).map(lambda parts: {**parts[0], **parts[1]})
ARGUMENTS = mapping(
    {"targets": st.dictionaries(st.integers(0, 1), TARGET, min_size=1), "tags": TAGS},
    state=st.sampled_from(["present", "present", "present", "absent"]),
)


@pytest.fixture(scope="module")
def ids(sandbox):
    """Resource ids of two services."""
    made = scaling_services.services(sandbox)
    service = next(made)
    yield [service("t-pairs-0"), service("t-pairs-1")]
    for _ in made:
        pass


def named(arguments, ids):
    targets = [{**target, "resource_id": ids[number]} for number, target in arguments["targets"].items()]
    return {**arguments, "targets": targets}


@PAIRS
@given(before=ARGUMENTS, after=ARGUMENTS)
def test_pairs(module, calls, ids, before, after):
    module(MODULE, {"targets": [{"resource_id": one} for one in ids], "tags": OWNER, "state": "absent"})
    event(pair(module, calls, MODULE, named(before, ids), named(after, ids)))
