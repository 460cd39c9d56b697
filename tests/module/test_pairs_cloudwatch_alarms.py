"""Pairs of alarms before and after: what a check says is what a run does."""

from itertools import count

from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

OWNER = {"Project": "nexus-learn", "Environment": "test"}
TAGS = st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", "b", ""])).map(
    lambda more: OWNER | more
)
TOPICS = st.lists(st.sampled_from([f"arn:aws:sns:us-east-1:123456789012:{letter}" for letter in "abc"]), unique=True)
UNITS = st.sampled_from(["Count", "Percent"])
DIMENSIONS = st.dictionaries(st.sampled_from(["Queue", "Service"]), st.sampled_from(["a", "b"]))
KEYS = st.lists(st.sampled_from(["Project", "Team"]), min_size=1, unique=True)
STATIC = ["GreaterThanThreshold", "LessThanOrEqualToThreshold"]


def mapping(required=None, **optional):
    return st.fixed_dictionaries(required or {}, optional=optional)


def merged(*strategies):
    return st.tuples(*strategies).map(lambda parts: {key: value for part in parts for key, value in part.items()})


ACTIONS = mapping(
    alarm_description=st.sampled_from(["words", "other words"]),
    actions_enabled=st.booleans(),
    alarm_actions=TOPICS,
    ok_actions=TOPICS,
    insufficient_data_actions=TOPICS,
    action_configuration=st.one_of(
        mapping({"enabled": st.booleans()}, included_tag_keys=KEYS),
        mapping({"enabled": st.booleans()}, excluded_tag_keys=KEYS),
    ).map(lambda propagation: {"alarm_tags_propagation": propagation}),
)
# datapoints_to_alarm is 1 or 2 of 2 or 3
EVALUATION = mapping(
    {"evaluation_periods": st.integers(2, 3)},
    datapoints_to_alarm=st.integers(1, 2),
    treat_missing_data=st.sampled_from(["missing", "ignore", "breaching", "notBreaching"]),
    evaluation_window=mapping(timezone=st.sampled_from(["UTC", "Europe/Berlin"])).map(
        lambda window: {"wall_clock_window": window}
    ),
)
WARM_UP = mapping(
    warm_up_configuration=mapping(
        {"warm_up_period_duration_in_minutes": st.integers(1, 3)},
        only_start_evaluating_after_warm_up_period_ends=st.booleans(),
    )
)
THRESHOLD = mapping({"threshold": st.sampled_from([1, 2.5]), "comparison_operator": st.sampled_from(STATIC)})
STATISTIC = st.one_of(
    mapping({"statistic": st.sampled_from(["Average", "Sum"])}),
    mapping(
        {"extended_statistic": st.sampled_from(["p90", "tm99"])},
        evaluate_low_sample_count_percentile=st.sampled_from(["evaluate", "ignore"]),
    ),
)
ONE_METRIC = merged(
    mapping(
        {
            "metric_name": st.sampled_from("mn"),
            "namespace": st.sampled_from("AB"),
            "period": st.sampled_from([60, 300]),
        },
        dimensions=DIMENSIONS,
        unit=UNITS,
    ),
    STATISTIC,
    THRESHOLD,
    EVALUATION,
)
METRIC = mapping({"metric_name": st.sampled_from("mn"), "namespace": st.sampled_from("AB")}, dimensions=DIMENSIONS)
STAT = mapping(
    {"metric": METRIC, "stat": st.sampled_from(["Sum", "p99"]), "period": st.sampled_from([60, 120])}, unit=UNITS
)
QUERIES = st.tuples(
    st.lists(mapping({"metric_stat": STAT}, account_id=st.sampled_from(["1" * 12, "2" * 12])), min_size=1, max_size=2),
    mapping({"expression": st.sampled_from(["m0 / 2", "m0 + 1"])}, label=st.just("words"), period=st.just(60)),
).map(
    lambda parts: [
        *({"id": f"m{number}", "return_data": False, **query} for number, query in enumerate(parts[0])),
        {"id": "e", **parts[1]},
    ]
)
MATH = merged(QUERIES.map(lambda queries: {"metrics": queries}), THRESHOLD, EVALUATION)
BAND = merged(
    QUERIES.map(
        lambda queries: {
            "metrics": [*queries, {"id": "band", "expression": "ANOMALY_DETECTION_BAND(e, 2)"}],
            "threshold_metric_id": "band",
        }
    ),
    mapping({"comparison_operator": st.sampled_from(["GreaterThanUpperThreshold", "LessThanLowerThreshold"])}),
    EVALUATION,
)
PROMQL = mapping(
    {
        "evaluation_criteria": mapping(
            {"query": st.sampled_from(["up == 0", "up == 1"])},
            pending_period=st.integers(0, 2),
            recovery_period=st.integers(0, 2),
        ).map(lambda criteria: {"promql_criteria": criteria}),
        "evaluation_interval": st.sampled_from([10, 60]),
    }
)
METRIC_ALARMS = st.dictionaries(
    st.sampled_from("ab"), merged(st.one_of(ONE_METRIC, MATH, BAND, PROMQL), ACTIONS, WARM_UP), min_size=1
)
# rules name metric alarms by their letter, of which "a" or "b" may be missing: that is refused
COMPOSITE_ALARMS = st.dictionaries(
    st.sampled_from("yz"),
    merged(
        mapping({"alarm_rule": st.sampled_from(['ALARM("{0}-a")', "OK({0}-a) OR NOT ALARM({0}-b)", "TRUE", "FALSE"])}),
        ACTIONS,
        st.one_of(
            st.just({}),
            mapping(
                {
                    "actions_suppressor": st.sampled_from(["{0}-a", "{0}-b"]),
                    "actions_suppressor_wait_period": st.integers(1, 2),
                    "actions_suppressor_extension_period": st.integers(1, 2),
                }
            ),
        ),
    ),
)
ARGUMENTS = mapping(
    {"metric_alarms": METRIC_ALARMS, "composite_alarms": COMPOSITE_ALARMS, "tags": TAGS},
    state=st.sampled_from(["present", "present", "present", "absent"]),
)
# what `before` has is never refused: all that its rules may name is there
COMPLETE = ARGUMENTS.filter(lambda arguments: set(arguments["metric_alarms"]) == set("ab"))
EXAMPLE = count()


def named(arguments, example):
    prefix = f"pairs-{example}"

    def of(kind):
        return [
            {
                "name": f"{prefix}-{name}",
                **{
                    key: value.format(prefix) if key in ("alarm_rule", "actions_suppressor") else value
                    for key, value in alarm.items()
                },
            }
            for name, alarm in arguments[kind].items()
        ]

    return {**arguments, "metric_alarms": of("metric_alarms"), "composite_alarms": of("composite_alarms")}


@PAIRS
@given(before=COMPLETE, after=ARGUMENTS)
def test_pairs(module, calls, before, after):
    example = next(EXAMPLE)
    event(pair(module, calls, "cloudwatch_alarms", named(before, example), named(after, example)))
