"""Alarms that people put, composite alarms and dashboards of the sandbox, through boto3."""

import datetime
import itertools
import json
import time

import pytest
from botocore.exceptions import ClientError

from sandbox.autoscaling import evaluator, rules

names = (f"t-{number}" for number in itertools.count())
TAGS = [{"Key": "Project", "Value": "nexus-learn"}]
STATIC = {
    "Namespace": "Alarms",
    "MetricName": "m",
    "Statistic": "Maximum",
    "Period": 60,
    "EvaluationPeriods": 2,
    "Threshold": 5.0,
    "ComparisonOperator": "GreaterThanThreshold",
}
WIDGET = {"type": "text", "x": 0, "y": 0, "width": 6, "height": 3, "properties": {"markdown": "hello"}}


@pytest.fixture(scope="module")
def cloudwatch(sandbox):
    return sandbox.client("cloudwatch")


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as failure:
        call(**arguments)
    assert failure.value.response["Error"]["Code"] == code
    return failure.value.response["Error"]["Message"]


def metric_alarm(cloudwatch, name):
    [alarm] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return alarm


def tags_of(cloudwatch, arn):
    return cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"]


def test_everything_that_is_put_is_returned_and_an_update_overwrites_all_but_state_and_tags(cloudwatch):
    name = next(names)
    given = {
        **STATIC,
        "AlarmDescription": "words",
        "ActionsEnabled": False,
        "AlarmActions": ["arn:aws:sns:us-east-1:123456789012:a"],
        "OKActions": ["arn:aws:sns:us-east-1:123456789012:b"],
        "InsufficientDataActions": ["arn:aws:sns:us-east-1:123456789012:c"],
        "Dimensions": [{"Name": "Queue", "Value": name}],
        "Unit": "Count",
        "DatapointsToAlarm": 1,
        "TreatMissingData": "breaching",
        "EvaluationWindow": {"WallClockWindow": {"Timezone": "Europe/Berlin"}},
        "WarmUpConfiguration": {"WarmUpPeriodDurationInMinutes": 5},
        "ActionConfiguration": {"AlarmTagsPropagation": {"Enabled": True, "IncludedTagKeys": ["Project"]}},
    }
    cloudwatch.put_metric_alarm(AlarmName=name, Tags=TAGS, **given)
    alarm = metric_alarm(cloudwatch, name)
    assert {key: alarm[key] for key in given} == given
    assert alarm["StateValue"] in ("INSUFFICIENT_DATA", "ALARM")
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="test")
    other = [{"Key": "other", "Value": "tag"}]
    cloudwatch.put_metric_alarm(AlarmName=name, Tags=other, **{**STATIC, "TreatMissingData": "ignore"})
    after = metric_alarm(cloudwatch, name)
    assert (after["StateValue"], after["ActionsEnabled"], after["AlarmActions"]) == ("OK", True, [])
    assert "AlarmDescription" not in after
    assert tags_of(cloudwatch, after["AlarmArn"]) == TAGS
    cloudwatch.disable_alarm_actions(AlarmNames=[name])
    assert metric_alarm(cloudwatch, name)["ActionsEnabled"] is False
    cloudwatch.delete_alarms(AlarmNames=[name])
    cloudwatch.put_metric_alarm(AlarmName=name, **STATIC)
    assert tags_of(cloudwatch, alarm["AlarmArn"]) == []


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("InvalidParameterCombination", {"MetricName": None}),
        ("InvalidParameterCombination", {"Statistic": None}),
        ("InvalidParameterCombination", {"ExtendedStatistic": "p99"}),
        ("InvalidParameterValue", {"Statistic": None, "ExtendedStatistic": "best"}),
        ("InvalidParameterCombination", {"Threshold": None}),
        ("InvalidParameterCombination", {"ThresholdMetricId": "ad1"}),
        ("ValidationError", {"Period": 61}),
        ("ValidationError", {"EvaluationPeriods": 1441}),
        ("ValidationError", {"DatapointsToAlarm": 3}),
        ("ValidationError", {"TreatMissingData": "perhaps"}),
        ("InvalidParameterCombination", {"Metrics": [{"Id": "a", "Expression": "1"}]}),
        ("InvalidParameterCombination", {"EvaluationInterval": 60}),
    ],
)
def test_bad_metric_alarms_are_refused(cloudwatch, code, wrong):
    arguments = {key: value for key, value in {**STATIC, **wrong}.items() if value is not None}
    refused(code, cloudwatch.put_metric_alarm, AlarmName="t-bad", **arguments)
    assert cloudwatch.describe_alarms(AlarmNames=["t-bad"])["MetricAlarms"] == []


def test_composite_alarms_need_what_they_name_and_are_asked_for_by_type(cloudwatch):
    child, parent, top = f"{next(names)} a", next(names), next(names)
    rule = f'ALARM("{child}") AND NOT OK("{child}")'
    message = refused("ValidationError", cloudwatch.put_composite_alarm, AlarmName=parent, AlarmRule=rule)
    assert f"alarms [{child}] do not exist" in message
    cloudwatch.put_metric_alarm(AlarmName=child, **STATIC)
    refused("ValidationError", cloudwatch.put_composite_alarm, AlarmName=parent, AlarmRule="ALARM(")
    refused(
        "ValidationError", cloudwatch.put_composite_alarm, AlarmName=parent, AlarmRule=rule, ActionsSuppressor=child
    )
    given = {
        "AlarmRule": rule,
        "AlarmDescription": "words",
        "ActionsEnabled": False,
        "AlarmActions": ["arn:aws:sns:us-east-1:123456789012:a"],
        "ActionsSuppressor": child,
        "ActionsSuppressorWaitPeriod": 60,
        "ActionsSuppressorExtensionPeriod": 30,
    }
    cloudwatch.put_composite_alarm(AlarmName=parent, Tags=TAGS, **given)
    cloudwatch.put_composite_alarm(AlarmName=top, AlarmRule=f"ALARM({parent})")
    assert cloudwatch.describe_alarms(AlarmNames=[parent])["CompositeAlarms"] == []
    both = cloudwatch.describe_alarms(AlarmNames=[child, parent], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    [composite] = both["CompositeAlarms"]
    assert {key: composite[key] for key in given} == given
    assert len(both["MetricAlarms"]) == 1
    refused("ValidationError", cloudwatch.put_metric_alarm, AlarmName=parent, **STATIC)
    refused("ValidationError", cloudwatch.delete_alarms, AlarmNames=[parent, top])
    assert f"{top} depends on it" in refused("ValidationError", cloudwatch.delete_alarms, AlarmNames=[parent])
    refused("ResourceNotFound", cloudwatch.delete_alarms, AlarmNames=[top, "t-nobody"])
    cloudwatch.delete_alarms(AlarmNames=[top])
    cloudwatch.delete_alarms(AlarmNames=[parent, child])


def test_describe_alarms_has_pages(cloudwatch):
    prefix = next(names)
    for number in range(3):
        cloudwatch.put_metric_alarm(AlarmName=f"{prefix}-{number}", **STATIC)
    pages = list(
        cloudwatch.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=f"{prefix}-", PaginationConfig={"PageSize": 2}
        )
    )
    assert [len(page["MetricAlarms"]) for page in pages] == [2, 1]


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("ALARM(a)", True),
        ('ALARM("a") AND OK(a)', False),
        ("OK(b) OR ALARM(b)", True),
        ("NOT ALARM(a)", False),
        ("NOT (ALARM(b) OR INSUFFICIENT_DATA(c)) OR FALSE", False),
        ("ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:a) AND TRUE", True),
        ("ALARM(b) AND ALARM(b) OR ALARM(a)", True),
        ("AT_LEAST(2, ALARM, (a, b, c))", False),
        ("AT_LEAST(50%, NOT ALARM, (a, b, c))", True),
    ],
)
def test_rules(rule, holds):
    assert rules.evaluate(rule, {"a": "ALARM", "b": "OK", "c": "INSUFFICIENT_DATA"}.__getitem__) is holds


@pytest.mark.parametrize("rule", ["", "ALARM", "ALARM(a", "ALARM(a) ALARM(b)", "ALARM(a) AND", "MAYBE(a)", "(ALARM(a)"])
def test_what_is_no_rule(rule):
    with pytest.raises(rules.RuleError):
        rules.names_in(rule)


@pytest.mark.parametrize(
    ("points", "missing", "state"),
    [
        ([None, None, 1, 9, 9], "missing", "ALARM"),
        ([None, None, 1, 1, 9], "missing", "OK"),
        ([None] * 5, "missing", "INSUFFICIENT_DATA"),
        ([None] * 5, "ignore", "OK"),
        ([None] * 5, "breaching", "ALARM"),
        ([None] * 5, "notBreaching", "OK"),
        ([None, None, None, None, 9], "breaching", "ALARM"),
        ([None, None, None, None, 9], "notBreaching", "OK"),
        ([None, None, None, None, 9], "missing", "OK"),
        ([None, None, None, 9, None], "missing", "ALARM"),
        ([None, None, None, 9, 9], "ignore", "ALARM"),
        ([9, 9, 1, 1, 1], "missing", "OK"),
    ],
)
def test_two_of_three_points_and_missing_data(points, missing, state):
    assert evaluator.user_alarm_state(points, 3, 2, lambda value: value > 5, missing, "OK") == state


def test_alarms_follow_their_metrics_and_composite_alarms_follow_them(sandbox, cloudwatch):
    one, math, both = next(names), next(names), next(names)
    dimensions = [{"Name": "Alarm", "Value": one}]
    cloudwatch.put_metric_alarm(AlarmName=one, Dimensions=dimensions, **STATIC)
    metric = {"Namespace": "Alarms", "MetricName": "m", "Dimensions": dimensions}
    queries = [
        {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": False},
        {"Id": "half", "Expression": "m / 2", "ReturnData": True},
    ]
    rest = {key: STATIC[key] for key in ("EvaluationPeriods", "Threshold", "ComparisonOperator")}
    cloudwatch.put_metric_alarm(AlarmName=math, Metrics=queries, **rest)
    cloudwatch.put_composite_alarm(AlarmName=both, AlarmRule=f"ALARM({one}) AND ALARM({math})")

    def wait_for(value, states):
        deadline = time.monotonic() + 30
        while True:
            now = datetime.datetime.now(datetime.UTC)
            data = [{"MetricName": "m", "Dimensions": dimensions, "Value": value, "Timestamp": now}]
            cloudwatch.put_metric_data(Namespace="Alarms", MetricData=data)
            found = cloudwatch.describe_alarms(
                AlarmNames=[one, math, both], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
            )
            by_name = {a["AlarmName"]: a for kind in ("MetricAlarms", "CompositeAlarms") for a in found[kind]}
            if [by_name[name]["StateValue"] for name in (one, math, both)] == states:
                return by_name
            assert time.monotonic() < deadline, by_name
            time.sleep(30 / sandbox.time_scale)

    # the sum of a minute's points, halved, is at most 4 points of 2
    wait_for(2.0, ["OK", "OK", "OK"])
    alarms = wait_for(100.0, ["ALARM", "ALARM", "ALARM"])
    assert json.loads(alarms[one]["StateReasonData"])["threshold"] == 5.0
    wait_for(0.1, ["OK", "OK", "OK"])


# Dashboards -----------------------------------------------------------------------------------------------------------


def test_dashboards_are_global_and_tagged(sandbox, cloudwatch):
    name = next(names)
    body = json.dumps({"widgets": [WIDGET]})
    cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body, Tags=TAGS)
    abroad = sandbox.client("cloudwatch", "eu-west-1")
    found = abroad.get_dashboard(DashboardName=name)
    assert (found["DashboardBody"], found["DashboardArn"]) == (
        body,
        f"arn:aws:cloudwatch::123456789012:dashboard/{name}",
    )
    arn = found["DashboardArn"]
    cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body, Tags=[{"Key": "ignored", "Value": "x"}])
    assert tags_of(abroad, arn) == TAGS
    cloudwatch.tag_resource(ResourceARN=arn, Tags=[{"Key": "a", "Value": "1"}])
    cloudwatch.untag_resource(ResourceARN=arn, TagKeys=["Project"])
    assert tags_of(cloudwatch, arn) == [{"Key": "a", "Value": "1"}]
    entries = cloudwatch.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
    assert [(entry["DashboardName"], entry["Size"]) for entry in entries] == [(name, len(body))]
    refused("ResourceNotFound", cloudwatch.delete_dashboards, DashboardNames=[name, "t-nobody"])
    cloudwatch.delete_dashboards(DashboardNames=[name])
    refused("ResourceNotFound", cloudwatch.get_dashboard, DashboardName=name)
    refused("ResourceNotFoundException", cloudwatch.list_tags_for_resource, ResourceARN=arn)


@pytest.mark.parametrize(
    "body",
    ["no JSON", "[]", "{}", '{"widgets": [{"type": "text"}]}', json.dumps({"widgets": [{**WIDGET, "width": 25}]})],
)
def test_bad_dashboards_are_refused(cloudwatch, body):
    refused("InvalidParameterInput", cloudwatch.put_dashboard, DashboardName="t-bad", DashboardBody=body)


# Tags of many ---------------------------------------------------------------------------------------------------------


def test_tags_of_many_resources_in_one_call(sandbox, cloudwatch):
    alarms = [next(names) for _ in range(30)]
    tags = [{"Key": f"k{number}", "Value": "v"} for number in range(5)]  # 150 in all: more than one page of moto's
    for name in alarms:
        cloudwatch.put_metric_alarm(AlarmName=name, Tags=tags, **STATIC)
    arns = [f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}" for name in alarms]
    tagging = sandbox.client("resourcegroupstaggingapi")
    found = tagging.get_resources(ResourceARNList=arns)["ResourceTagMappingList"]
    assert {item["ResourceARN"] for item in found} == set(arns)
    assert found[0]["Tags"] == tags
    refused("InvalidParameterException", tagging.get_resources, ResourceARNList=[f"{arns[0]}{n}" for n in range(101)])
