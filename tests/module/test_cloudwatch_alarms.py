import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils.cloudwatch_alarms import _in_order, _refers_to

MODULE = "cloudwatch_alarms"
TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
TOPIC = "arn:aws:sns:us-east-1:123456789012:{}"
CPU = {
    "namespace": "AWS/ECS",
    "metric_name": "CPUUtilization",
    "statistic": "Average",
    "period": 60,
    "evaluation_periods": 3,
    "threshold": 90,
    "comparison_operator": "GreaterThanThreshold",
}
STAT = {"metric": {"namespace": "A", "metric_name": "m"}, "period": 60, "stat": "Sum"}
REST = {key: CPU[key] for key in ("evaluation_periods", "threshold", "comparison_operator")}
MATH = {
    **REST,
    "metrics": [
        {"id": "m", "metric_stat": STAT, "return_data": False},
        {"id": "e", "expression": "m / 2"},
    ],
}
BAND = {
    "evaluation_periods": 3,
    "comparison_operator": "GreaterThanUpperThreshold",
    "threshold_metric_id": "band",
    "metrics": [{"id": "m", "metric_stat": STAT}, {"id": "band", "expression": "ANOMALY_DETECTION_BAND(m, 2)"}],
}
PROMQL = {"evaluation_criteria": {"promql_criteria": {"query": "up == 0"}}, "evaluation_interval": 60}


@pytest.fixture(scope="module")
def cloudwatch(sandbox):
    return sandbox.client("cloudwatch")


def args(*metric, composite=(), **more):
    return {"metric_alarms": list(metric), "composite_alarms": list(composite), "tags": TAGS, **more}


def alarms(cloudwatch, *names):
    both = ["MetricAlarm", "CompositeAlarm"]
    found = cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=both)
    return {alarm["AlarmName"]: alarm for key in both for alarm in found[f"{key}s"]}


def test_alarms_of_all_kinds(quartet, cloudwatch):
    result = quartet(
        MODULE,
        args(
            {"name": "t-all-cpu", **CPU, "alarm_actions": [TOPIC.format("b"), TOPIC.format("a")]},
            {"name": "t-all-math", **MATH},
            {"name": "t-all-band", **BAND},
            {"name": "t-all-promql", **PROMQL},
            composite=[
                # before what it depends on, also through a suppressor
                {
                    "name": "t-all-top",
                    "alarm_rule": 'ALARM("t-all-middle") AND NOT OK(t-all-cpu)\n',
                    "actions_suppressor": "t-all-math",
                    "actions_suppressor_wait_period": 60,
                    "actions_suppressor_extension_period": 60,
                },
                {"name": "t-all-middle", "alarm_rule": "AT_LEAST(1, ALARM, (t-all-cpu, t-all-math))"},
            ],
        ),
    )
    names = [f"t-all-{word}" for word in ("cpu", "math", "band", "promql", "top", "middle")]
    there = alarms(cloudwatch, *names)
    assert {name: fields["arn"] for name, fields in result["alarms"].items()} == {
        name: there[name]["AlarmArn"] for name in names
    }
    assert result["billed"]["after"] == [
        {"kind": "alarm", "resource": f"alarm {name}", "count": 1} for name in names[:4]
    ]
    assert cloudwatch.list_tags_for_resource(ResourceARN=there["t-all-top"]["AlarmArn"])["Tags"][0] == {
        "Key": "Project",
        "Value": "nexus-learn",
    }
    assert there["t-all-band"]["ThresholdMetricId"] == "band"


def test_a_change_keeps_the_state(quartet, cloudwatch):
    quartet(MODULE, args({"name": "t-state", **CPU, "treat_missing_data": "ignore"}))
    cloudwatch.set_alarm_state(AlarmName="t-state", StateValue="ALARM", StateReason="test")
    changed = {"name": "t-state", **CPU, "treat_missing_data": "ignore", "threshold": 80, "alarm_description": "words"}
    changes = quartet(MODULE, args(changed))["changes"]
    assert {(c["path"], c["before"], c["after"]) for c in changes} == {
        ("threshold", 90, 80),
        ("alarm_description", None, "words"),
    }
    assert alarms(cloudwatch, "t-state")["t-state"]["StateValue"] == "ALARM"


def test_what_is_left_out_is_not_there(quartet, cloudwatch):
    quartet(MODULE, args({"name": "t-whole", **CPU, "unit": "Percent", "dimensions": {"ClusterName": "c"}}))
    changes = quartet(MODULE, args({"name": "t-whole", **CPU, "actions_enabled": False}))["changes"]
    assert {c["path"] for c in changes} == {"unit", "dimensions", "actions_enabled"}
    assert alarms(cloudwatch, "t-whole")["t-whole"]["Dimensions"] == []


def test_without_tags_tags_are_not_touched(quartet, module, cloudwatch):
    quartet(MODULE, args({"name": "t-tags", **CPU}))
    without = {"metric_alarms": [{"name": "t-tags", **CPU, "threshold": 80}]}
    assert [c["path"] for c in quartet(MODULE, without)["changes"]] == ["threshold"]
    assert module(MODULE, without)["alarms"]["t-tags"]["tags"] == TAGS


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"metric_name": None}, "exactly one of metric_name"),
        ({"metrics": MATH["metrics"]}, "exactly one of metric_name"),
        ({"statistic": None}, "statistic or extended_statistic"),
        ({"extended_statistic": "p99"}, "statistic or extended_statistic"),
        ({"namespace": None}, "needs namespace and period"),
        ({"period": 61}, "period is 61"),
        ({"evaluation_periods": 1441}, "more than 86400 seconds"),
        ({"datapoints_to_alarm": 4}, "more than evaluation_periods, 3"),
        ({"threshold": None}, "needs threshold"),
        ({"threshold_metric_id": "band"}, "and not both"),
        ({"comparison_operator": None, "threshold": None}, "comparison_operator is missing"),
        ({"evaluate_low_sample_count_percentile": "ignore"}, "belongs to extended_statistic"),
        ({"evaluation_interval": 60}, "belongs to evaluation_criteria"),
        ({"period": 120, "evaluation_window": {"wall_clock_window": {}}}, "allowed with a wall_clock_window"),
        ({"alarm_actions": [TOPIC.format(n) for n in range(6)]}, "has 6 actions"),
        (
            {
                "action_configuration": {
                    "alarm_tags_propagation": {
                        "enabled": True,
                        "included_tag_keys": ["a"],
                        "excluded_tag_keys": ["b"],
                    }
                }
            },
            "exclude each other",
        ),
        ({**dict.fromkeys(CPU), **MATH, "unit": "Count"}, "unit does not belong to an alarm on metrics"),
        ({**dict.fromkeys(CPU), **MATH, "metrics": MATH["metrics"][:1]}, "return_data true"),
        ({**dict.fromkeys(CPU), **BAND, "threshold_metric_id": "no"}, "return_data true"),
        ({**dict.fromkeys(CPU), **PROMQL, "threshold": 1}, "threshold does not belong"),
        ({**dict.fromkeys(CPU), **PROMQL, "evaluation_interval": None}, "which needs it"),
    ],
)
def test_refusals(module, calls, wrong, words):
    given = {key: value for key, value in {**CPU, **wrong}.items() if value is not None}
    message = module(MODULE, args({"name": "t-refused", **given}), expect_failure=True)["msg"]
    assert message.startswith("alarm t-refused: ")
    assert words in message
    assert calls.writes == []


@pytest.mark.parametrize(
    ("composite", "words"),
    [
        ({}, "alarm_rule is missing"),
        ({"alarm_rule": "ALARM(t-nobody)"}, "refers to what is no alarm: t-nobody"),
        ({"alarm_rule": "TRUE", "actions_suppressor": "t-nobody"}, "actions_suppressor needs"),
        ({"alarm_rule": "TRUE", "actions_suppressor_wait_period": 1}, "actions_suppressor needs"),
        (
            {
                "alarm_rule": "TRUE",
                "actions_suppressor": "t-nobody",
                "actions_suppressor_wait_period": 1,
                "actions_suppressor_extension_period": 1,
            },
            "refers to what is no alarm: t-nobody",
        ),
    ],
)
def test_refusals_of_composite_alarms(module, calls, composite, words):
    result = module(MODULE, args(composite=[{"name": "t-refused", **composite}]), expect_failure=True)
    assert words in result["msg"]
    assert calls.writes == []


def test_an_alarm_of_another_kind_is_not_turned_into_one(quartet, module, calls):
    quartet(MODULE, args({"name": "t-kind", **CPU}))
    calls.clear()
    result = module(MODULE, args(composite=[{"name": "t-kind", "alarm_rule": "TRUE"}]), expect_failure=True)
    assert "is a metric alarm, and AWS makes no composite alarm of it" in result["msg"]
    twice = args({"name": "t-kind", **CPU}, composite=[{"name": "t-kind", "alarm_rule": "TRUE"}])
    assert "there twice" in module(MODULE, twice, expect_failure=True)["msg"]
    assert calls.writes == []


def test_a_rule_may_name_alarms_of_others(quartet, cloudwatch):
    cloudwatch.put_metric_alarm(
        AlarmName="t other's",
        Namespace="A",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
    )
    quartet(MODULE, args(composite=[{"name": "t-names", "alarm_rule": 'ALARM("t other\'s")'}]))


def test_a_run_without_changes_describes_many_in_one_call(module, calls):
    wanted = args(*({"name": f"t-many-{number}", **CPU} for number in range(20)))
    module(MODULE, wanted)
    calls.clear()
    assert module(MODULE, wanted)["changes"] == []
    assert [operation for _, operation in calls] == ["DescribeAlarms", *["ListTagsForResource"] * 20]


def test_rules_that_refer_to_each_other_are_refused_before_anything_is_done(module, cloudwatch, calls):
    """AWS takes a circle, and then deletes none of its alarms."""
    circle = [{"name": "t-circle-a", "alarm_rule": "ALARM(t-circle-b)"}]
    circle.append({"name": "t-circle-b", "alarm_rule": "ALARM(t-circle-a)"})
    wanted = args({"name": "t-circle-0", **CPU}, composite=circle)
    calls.clear()
    for check in (True, False):
        assert "refer to each other" in module(MODULE, wanted, check=check, expect_failure=True)["msg"]
    assert calls.writes == []
    module(MODULE, args({"name": "t-circle-0", **CPU}, composite=[{**alarm, "alarm_rule": "TRUE"} for alarm in circle]))
    for alarm in circle:
        cloudwatch.put_composite_alarm(AlarmName=alarm["name"], AlarmRule=alarm["alarm_rule"])
    calls.clear()
    for check in (True, False):
        message = module(MODULE, {**wanted, "state": "absent"}, check=check, expect_failure=True)["msg"]
        assert "t-circle-a" in message
        assert "to FALSE" in message
    assert calls.writes == []
    cloudwatch.put_composite_alarm(AlarmName="t-circle-a", AlarmRule="FALSE")
    assert len(module(MODULE, {**wanted, "state": "absent"})["changes"]) == 3


def test_absent_deletes_what_depends_on_others_first(quartet, module, left_alone, cloudwatch, calls):
    composite = [
        {"name": "t-gone-child", "alarm_rule": "ALARM(t-gone-0)"},
        {"name": "t-gone-top", "alarm_rule": "ALARM(t-gone-child)"},
    ]
    wanted = args(*({"name": f"t-gone-{number}", **CPU} for number in range(3)), composite=composite)
    module(MODULE, wanted)
    prod = [{"Key": "Project", "Value": "nexus-learn"}, {"Key": "Environment", "Value": "prod"}]
    theirs = {"AlarmName": "t-gone-theirs", "AlarmRule": "TRUE", "Tags": prod}
    cloudwatch.put_composite_alarm(**theirs)
    calls.clear()
    star = args({"name": "t-gone-*"}, composite=[{"name": "t-gone-*"}], state="absent")
    result = module(MODULE, star)
    assert len(result["changes"]) == 5
    assert [operation for _, operation in calls.writes] == ["DeleteAlarms"] * 3
    assert [warning.partition(" is left alone")[0] for warning in result["warnings"]] == ["alarm t-gone-theirs"]
    assert list(alarms(cloudwatch, "t-gone-0", "t-gone-child", "t-gone-top", "t-gone-theirs")) == ["t-gone-theirs"]
    (warning,) = left_alone(MODULE, star)
    assert "Environment=prod" in warning


def test_adopt_takes_over_exactly_what_differs(module, left_alone, cloudwatch, calls):
    """An alarm that somebody else made keeps its state when it is taken over."""
    kept = {"name": "t-adopt", **CPU, "treat_missing_data": "ignore"}  # or its state would follow its data
    module(MODULE, {**args(kept), "tags": {**TAGS, "Environment": "prod", "Theirs": "1"}})
    cloudwatch.set_alarm_state(AlarmName="t-adopt", StateValue="ALARM", StateReason="test")
    wanted = args({**kept, "threshold": 80, "unit": "Percent"})
    calls.clear()
    assert "adopt" in module(MODULE, wanted, expect_failure=True)["msg"]
    assert calls.writes == []
    adopting = {**wanted, "adopt": ["alarm t-adopt"]}
    assert len(left_alone(MODULE, adopting)) == 1
    foretold = module(MODULE, adopting, check=True)["changes"]
    assert {(c["action"], c["path"]) for c in foretold} == {
        ("update", path) for path in ("threshold", "unit", "tags.Environment", "tags.Theirs")
    }
    assert module(MODULE, adopting)["changes"] == foretold
    assert module(MODULE, wanted, check=True)["changes"] == []
    assert alarms(cloudwatch, "t-adopt")["t-adopt"]["StateValue"] == "ALARM"


def test_what_a_rule_refers_to():
    rule = 'ALARM("a b") AND (OK(arn:aws:cloudwatch:us-east-1:1:alarm:c) OR AT_LEAST(50%, NOT ALARM, (d, "e")))'
    assert _refers_to({"alarm_rule": rule, "actions_suppressor": "f"}) == {"a b", "c", "d", "e", "f"}
    tree = [
        {"name": name, "alarm_rule": rule} for name, rule in (("a", "OK(b) OR OK(c)"), ("b", "OK(c)"), ("c", "TRUE"))
    ]
    assert [alarm["name"] for alarm in _in_order(tree)] == ["c", "b", "a"]
