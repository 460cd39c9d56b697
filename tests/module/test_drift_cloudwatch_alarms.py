"""Every option of cloudwatch_alarms: changed by hand, seen as exactly that field, mended, nothing else moved."""

import copy

import pytest
from generated import drift_cases, drifts, every_option_drifts

MODULE = "cloudwatch_alarms"
TAGS = {"Project": "nexus-learn", "Environment": "test"}
TOPIC = "arn:aws:sns:us-east-1:123456789012:{}"
ARN = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:{}"


def actions(propagated):
    return {
        "alarm_description": "words",
        "actions_enabled": True,
        "alarm_actions": [TOPIC.format("a")],
        "ok_actions": [TOPIC.format("b")],
        "insufficient_data_actions": [TOPIC.format("c")],
        "action_configuration": {"alarm_tags_propagation": {"enabled": True, propagated: ["Project"]}},
    }


PERIODS = {
    "evaluation_periods": 3,
    "datapoints_to_alarm": 2,
    "threshold": 90,
    "comparison_operator": "GreaterThanThreshold",
    "treat_missing_data": "ignore",
}
ONE = {
    "name": "d-one",
    **actions("included_tag_keys"),
    **PERIODS,
    "namespace": "A",
    "metric_name": "m",
    "dimensions": {"Queue": "q"},
    "statistic": "Average",
    "period": 60,
    "unit": "Count",
    "evaluation_window": {"wall_clock_window": {"timezone": "Europe/Berlin"}},
    "warm_up_configuration": {
        "warm_up_period_duration_in_minutes": 5,
        "only_start_evaluating_after_warm_up_period_ends": True,
    },
}
PERCENTILE = {
    "name": "d-percentile",
    **actions("excluded_tag_keys"),
    **PERIODS,
    "namespace": "A",
    "metric_name": "m",
    "extended_statistic": "p99",
    "period": 60,
    "evaluate_low_sample_count_percentile": "ignore",
}
METRIC = {"namespace": "A", "metric_name": "m", "dimensions": {"Queue": "q"}}
BAND = {
    "name": "d-band",
    "evaluation_periods": 3,
    "comparison_operator": "GreaterThanUpperThreshold",
    "threshold_metric_id": "band",
    "treat_missing_data": "ignore",
    "metrics": [
        {
            "id": "m",
            "metric_stat": {"metric": METRIC, "period": 60, "stat": "Sum", "unit": "Count"},
            "account_id": "123456789012",
            "return_data": False,
        },
        {"id": "e", "expression": "m / 2", "label": "half", "period": 60},
        {"id": "band", "expression": "ANOMALY_DETECTION_BAND(e, 2)"},
    ],
}
PROMQL = {
    "name": "d-promql",
    "evaluation_criteria": {"promql_criteria": {"query": "up == 0", "pending_period": 60, "recovery_period": 60}},
    "evaluation_interval": 60,
}
COMPOSITE = [
    {
        "name": f"d-composite-{propagated}",
        **actions(propagated),
        "alarm_rule": "ALARM(d-one) OR OK(d-percentile)",
        "actions_suppressor": "d-band",
        "actions_suppressor_wait_period": 60,
        "actions_suppressor_extension_period": 60,
    }
    for propagated in ("included_tag_keys", "excluded_tag_keys")
]
ARGUMENTS = {"metric_alarms": [ONE, PERCENTILE, BAND, PROMQL], "composite_alarms": COMPOSITE, "tags": TAGS}
NAMES = [alarm["name"] for kind in ("metric_alarms", "composite_alarms") for alarm in ARGUMENTS[kind]]
BOTH = ["MetricAlarm", "CompositeAlarm"]
OF_AWS = ("AlarmArn", "AlarmConfigurationUpdatedTimestamp", "StateReason", "StateReasonData", "StateUpdatedTimestamp")


@pytest.fixture(scope="module")
def cloudwatch(sandbox):
    return sandbox.client("cloudwatch")


def described(cloudwatch):
    """Every alarm by name, without its state, which follows the data; and its tags."""
    found = cloudwatch.describe_alarms(AlarmNames=NAMES, AlarmTypes=BOTH)
    alarms = {
        alarm["AlarmName"]: {key: value for key, value in alarm.items() if key not in (*OF_AWS, "StateValue")}
        for kind in BOTH
        for alarm in found[f"{kind}s"]
    }
    tags = {name: cloudwatch.list_tags_for_resource(ResourceARN=ARN.format(name))["Tags"] for name in alarms}
    return alarms, {name: sorted(pairs, key=str) for name, pairs in tags.items()}


def put(name, **changes):
    """Put an alarm by hand as it is, but for some fields: a path with underscores -> value, None for without it."""

    def change(cloudwatch):
        alarm = copy.deepcopy(described(cloudwatch)[0][name])
        for path, value in changes.items():
            *way, last = [int(step) if step.isdigit() else step for step in path.split("_")]
            document = alarm
            for step in way:
                document = document[step]
            if value is None:
                del document[last]
            else:
                document[last] = value
        (cloudwatch.put_composite_alarm if "AlarmRule" in alarm else cloudwatch.put_metric_alarm)(**alarm)

    return change


def of(name, *paths):
    return {(f"alarm {name}", path) for path in paths}


def case(name, path, **changes):
    return put(name, **changes), of(name, path)


def common(option, names):
    """The options that both kinds of alarms have."""
    included, excluded = names
    topic = [TOPIC.format("other")]
    propagation = "action_configuration.alarm_tags_propagation"
    return {
        f"{option}.alarm_description": case(included, "alarm_description", AlarmDescription="other"),
        f"{option}.alarm_description removed": case(included, "alarm_description", AlarmDescription=None),
        f"{option}.actions_enabled": (
            lambda c: c.disable_alarm_actions(AlarmNames=[included]),
            of(included, "actions_enabled"),
        ),
        f"{option}.alarm_actions": case(included, "alarm_actions", AlarmActions=topic),
        f"{option}.ok_actions": case(included, "ok_actions", OKActions=[]),
        f"{option}.insufficient_data_actions": case(
            included, "insufficient_data_actions", InsufficientDataActions=topic
        ),
        f"{option}.{propagation}.enabled": case(
            included, f"{propagation}.enabled", ActionConfiguration_AlarmTagsPropagation_Enabled=False
        ),
        f"{option}.{propagation}.included_tag_keys": case(
            included,
            f"{propagation}.included_tag_keys",
            ActionConfiguration_AlarmTagsPropagation_IncludedTagKeys=["Environment"],
        ),
        f"{option}.{propagation}.excluded_tag_keys": case(
            excluded,
            f"{propagation}.excluded_tag_keys",
            ActionConfiguration_AlarmTagsPropagation_ExcludedTagKeys=None,
        ),
    }


M, C, Q = "metric_alarms", "composite_alarms", "metric_alarms.metrics"
# option -> (what somebody does by hand, what a check says of it)
CASES = {
    **common(M, ("d-one", "d-percentile")),
    **common(C, [alarm["name"] for alarm in COMPOSITE]),
    **{
        f"{M}.{path}": case("d-one", path, **{key: value})
        for path, key, value in (
            ("metric_name", "MetricName", "other"),
            ("namespace", "Namespace", "B"),
            ("statistic", "Statistic", "Sum"),
            ("period", "Period", 300),
            ("unit", "Unit", None),
            ("evaluation_periods", "EvaluationPeriods", 4),
            ("datapoints_to_alarm", "DatapointsToAlarm", None),
            ("threshold", "Threshold", 80.0),
            ("comparison_operator", "ComparisonOperator", "LessThanThreshold"),
            ("treat_missing_data", "TreatMissingData", "breaching"),
            ("evaluation_window.wall_clock_window.timezone", "EvaluationWindow_WallClockWindow_Timezone", "UTC"),
        )
    },
    f"{M}.dimensions": case("d-one", "dimensions.Queue", Dimensions=[{"Name": "Queue", "Value": "r"}]),
    **{
        f"{M}.warm_up_configuration.{path}": case(
            "d-one", f"warm_up_configuration.{path}", **{f"WarmUpConfiguration_{key}": value}
        )
        for path, key, value in (
            ("warm_up_period_duration_in_minutes", "WarmUpPeriodDurationInMinutes", 6),
            ("only_start_evaluating_after_warm_up_period_ends", "OnlyStartEvaluatingAfterWarmUpPeriodEnds", False),
        )
    },
    f"{M}.extended_statistic": case("d-percentile", "extended_statistic", ExtendedStatistic="p90"),
    f"{M}.evaluate_low_sample_count_percentile": case(
        "d-percentile", "evaluate_low_sample_count_percentile", EvaluateLowSampleCountPercentile=None
    ),
    f"{M}.threshold_metric_id": (
        put("d-band", ThresholdMetricId="other", Metrics_2_Id="other"),
        of(
            "d-band",
            "threshold_metric_id",
            "metrics.band.expression",
            "metrics.band.return_data",
            "metrics.other",
        ),
    ),
    f"{Q}.id": (
        put("d-band", Metrics_1_Id="other"),
        of(
            "d-band",
            *(f"metrics.e.{field}" for field in ("expression", "label", "period", "return_data")),
            "metrics.other",
        ),
    ),
    f"{Q}.return_data": (
        put("d-band", Metrics_0_ReturnData=True, Metrics_1_ReturnData=False),
        of("d-band", "metrics.m.return_data", "metrics.e.return_data"),
    ),
    **{
        f"{Q}.{field}": case("d-band", f"metrics.{path}", **{f"Metrics_{key}": value})
        for field, path, key, value in (
            ("expression", "e.expression", "1_Expression", "m / 3"),
            ("label", "e.label", "1_Label", None),
            ("period", "e.period", "1_Period", 120),
            ("account_id", "m.account_id", "0_AccountId", "210987654321"),
            ("metric_stat.period", "m.metric_stat.period", "0_MetricStat_Period", 120),
            ("metric_stat.stat", "m.metric_stat.stat", "0_MetricStat_Stat", "p99"),
            ("metric_stat.unit", "m.metric_stat.unit", "0_MetricStat_Unit", None),
            (
                "metric_stat.metric.metric_name",
                "m.metric_stat.metric.metric_name",
                "0_MetricStat_Metric_MetricName",
                "n",
            ),
            ("metric_stat.metric.namespace", "m.metric_stat.metric.namespace", "0_MetricStat_Metric_Namespace", "B"),
            (
                "metric_stat.metric.dimensions",
                "m.metric_stat.metric.dimensions.Queue",
                "0_MetricStat_Metric_Dimensions",
                [{"Name": "Queue", "Value": "r"}],
            ),
        )
    },
    **{
        f"{M}.evaluation_criteria.promql_criteria.{field}": case(
            "d-promql",
            f"evaluation_criteria.promql_criteria.{field}",
            **{f"EvaluationCriteria_PromQLCriteria_{key}": value},
        )
        for field, key, value in (
            ("query", "Query", "up == 1"),
            ("pending_period", "PendingPeriod", 120),
            ("recovery_period", "RecoveryPeriod", None),
        )
    },
    f"{M}.evaluation_interval": case("d-promql", "evaluation_interval", EvaluationInterval=120),
    **{
        f"{C}.{path}": case(COMPOSITE[0]["name"], path, **{key: value})
        for path, key, value in (
            ("alarm_rule", "AlarmRule", "ALARM(d-one)"),
            ("actions_suppressor", "ActionsSuppressor", "d-one"),
            ("actions_suppressor_wait_period", "ActionsSuppressorWaitPeriod", 61),
            ("actions_suppressor_extension_period", "ActionsSuppressorExtensionPeriod", 61),
        )
    },
    f"{M}.name": (lambda c: c.delete_alarms(AlarmNames=["d-promql"]), of("d-promql", "create")),
    f"{C}.name": (
        lambda c: c.delete_alarms(AlarmNames=[COMPOSITE[0]["name"]]),
        of(COMPOSITE[0]["name"], "create"),
    ),
    "tags": (
        lambda c: c.tag_resource(ResourceARN=ARN.format("d-one"), Tags=[{"Key": "more", "Value": "yes"}]),
        of("d-one", "tags.more"),
    ),
}
NO_FIELD = {"state": "says whether there is to be one at all"}


@pytest.mark.parametrize(("change", "expected"), drift_cases(CASES))
def test_drift(module, cloudwatch, change, expected):
    if len(described(cloudwatch)[0]) < len(NAMES):
        module(MODULE, ARGUMENTS)
    drifts(module, MODULE, ARGUMENTS, lambda: described(cloudwatch), lambda: change(cloudwatch), expected)


def test_every_option_has_a_case():
    every_option_drifts(MODULE, CASES, NO_FIELD, ARGUMENTS)
