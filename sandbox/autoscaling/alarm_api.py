"""Alarms that people put, and dashboards: PutMetricAlarm and its like instead of moto's.

moto 5.2.5 forgets much of an alarm (and its state on an update), has no composite alarms, keeps the tags of what was
deleted, takes what AWS refuses, and does not tag dashboards. What is put is kept as it was given; the object of moto's
beside it lets the rest of moto's CloudWatch (SetAlarmState, EnableAlarmActions ...) go on working.

Source: CloudWatch API reference.
"""

import json
import re
from typing import Any

from moto.cloudwatch import models, responses
from moto.cloudwatch.exceptions import (
    InvalidParameterCombination,
    InvalidParameterValue,
    ResourceNotFound,
    ResourceNotFoundException,
    ValidationError,
)
from moto.core.responses import ActionResult, EmptyResult

from . import evaluator, rules
from .api import _plain as plain

OF_ONE_METRIC = ("MetricName", "Namespace", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic")
OF_PERIODS = ("Threshold", "ComparisonOperator", "ThresholdMetricId", "EvaluationPeriods", "DatapointsToAlarm")
ANOMALY = ("LessThanLowerOrGreaterThanUpperThreshold", "LessThanLowerThreshold", "GreaterThanUpperThreshold")
EXTENDED = re.compile(r"(p|tm|tc|ts|wm)\d+(\.\d+)?|IQM|(PR|TC|TM|TS|WM)\(.*:.*\)")
ACTIONS = ("OKActions", "AlarmActions", "InsufficientDataActions")
HOME_REGION = "us-east-1"
DASHBOARD_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


class DashboardInvalidInputError(ValidationError):
    code = "InvalidParameterInput"


def install() -> None:
    response = responses.CloudWatchResponse
    for function in (
        put_metric_alarm,
        put_composite_alarm,
        describe_alarms,
        delete_alarms,
        put_dashboard,
        get_dashboard,
        list_dashboards,
        delete_dashboards,
        tag_resource,
        untag_resource,
        list_tags_for_resource,
    ):
        setattr(response, function.__name__, function)


# Alarms ---------------------------------------------------------------------------------------------------------------


def put_metric_alarm(self) -> ActionResult:
    given = plain(self.params)
    _check_metric_alarm(given)
    return _put(self.cloudwatch_backend, given, rule=None)


def put_composite_alarm(self) -> ActionResult:
    given, backend = plain(self.params), self.cloudwatch_backend
    try:
        names = rules.names_in(given["AlarmRule"])
    except rules.RuleError as error:
        raise ValidationError(f"AlarmRule is invalid: {error}") from None
    suppressor = given.get("ActionsSuppressor", "").rpartition(":alarm:")[2]
    missing = sorted({*names, *([suppressor] if suppressor else [])} - set(backend.alarms))
    if missing:
        raise ValidationError(f"Could not save the composite alarm as alarms [{', '.join(missing)}] do not exist.")
    periods = [key in given for key in ("ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod")]
    if periods != [bool(suppressor)] * 2:
        raise ValidationError("ActionsSuppressor needs its wait and extension periods, and they need it.")
    return _put(backend, given, rule=given["AlarmRule"])


def _put(backend: models.CloudWatchBackend, given: dict[str, Any], rule: str | None) -> ActionResult:
    name, old = given["AlarmName"], backend.alarms.get(given["AlarmName"])
    if old and bool(old.rule) != bool(rule):
        raise ValidationError(f"{name} exists already as an alarm of another type.")
    propagation = given.get("ActionConfiguration", {}).get("AlarmTagsPropagation", {})
    if "IncludedTagKeys" in propagation and "ExcludedTagKeys" in propagation:
        raise InvalidParameterCombination("IncludedTagKeys and ExcludedTagKeys must not both be given.")
    make: Any = models.Alarm  # moto's annotations do not know the fields that an alarm need not have
    alarm = make(
        backend.account_id,
        backend.region_name,
        name,
        namespace=given.get("Namespace"),
        metric_name=given.get("MetricName"),
        metric_data_queries=None,
        comparison_operator=given.get("ComparisonOperator"),
        evaluation_periods=given.get("EvaluationPeriods"),
        datapoints_to_alarm=given.get("DatapointsToAlarm"),
        period=given.get("Period"),
        threshold=given.get("Threshold"),
        statistic=given.get("Statistic"),
        extended_statistic=given.get("ExtendedStatistic"),
        description=given.get("AlarmDescription"),
        dimensions=given.get("Dimensions") or [],
        alarm_actions=given.get("AlarmActions") or [],
        ok_actions=given.get("OKActions"),
        insufficient_data_actions=given.get("InsufficientDataActions"),
        unit=given.get("Unit"),
        actions_enabled=given.get("ActionsEnabled", True),
        treat_missing_data=given.get("TreatMissingData"),
        evaluate_low_sample_count_percentile=given.get("EvaluateLowSampleCountPercentile"),
        threshold_metric_id=given.get("ThresholdMetricId"),
        rule=rule,
    )
    alarm.given = {key: value for key, value in given.items() if key != "Tags"}
    if old:  # an update leaves the state, and the tags, as they are
        for field in ("history", "state_reason", "state_reason_data", "state_value", "state_updated_timestamp"):
            setattr(alarm, field, getattr(old, field))
    else:
        alarm.state_value = evaluator.OK if "EvaluationCriteria" in given else evaluator.INSUFFICIENT_DATA
        backend.tagger.delete_all_tags_for_resource(alarm.alarm_arn)
        backend.tagger.tag_resource(alarm.alarm_arn, given.get("Tags") or [])
    backend.alarms[name] = alarm
    return EmptyResult()


def _check_metric_alarm(given: dict) -> None:
    kinds = [key for key in ("MetricName", "Metrics", "EvaluationCriteria") if given.get(key)]
    if len(kinds) != 1:
        raise InvalidParameterCombination("Exactly one of MetricName, Metrics and EvaluationCriteria must be given.")
    [kind] = kinds
    if kind != "MetricName" and any(key in given for key in OF_ONE_METRIC):
        raise InvalidParameterCombination(f"With {kind}, none of {', '.join(OF_ONE_METRIC)} may be given.")
    if ("EvaluationInterval" in given) != (kind == "EvaluationCriteria"):
        raise InvalidParameterCombination("EvaluationInterval belongs to EvaluationCriteria.")
    if kind == "EvaluationCriteria":
        if any(key in given for key in (*OF_PERIODS, "EvaluationWindow")):
            raise InvalidParameterCombination(f"With {kind}, none of {', '.join(OF_PERIODS)} may be given.")
        return
    if "EvaluationPeriods" not in given or "ComparisonOperator" not in given:
        raise ValidationError("EvaluationPeriods and ComparisonOperator are required.")
    if given.get("DatapointsToAlarm", 1) > given["EvaluationPeriods"]:
        raise ValidationError("DatapointsToAlarm must not be greater than EvaluationPeriods.")
    anomaly = given["ComparisonOperator"] in ANOMALY
    if (("ThresholdMetricId" in given), ("Threshold" in given)) != (anomaly, not anomaly):
        raise InvalidParameterCombination("A static alarm has a Threshold, one on an anomaly band a ThresholdMetricId.")
    if given.get("TreatMissingData", "missing") not in ("missing", "ignore", "breaching", "notBreaching"):
        raise ValidationError("TreatMissingData must be one of breaching, notBreaching, ignore, missing.")
    if given.get("EvaluateLowSampleCountPercentile", "evaluate") not in ("evaluate", "ignore"):
        raise ValidationError("EvaluateLowSampleCountPercentile must be evaluate or ignore.")
    if kind == "Metrics":
        _check_queries(given["Metrics"])
    else:
        _check_one_metric(given)


def _check_one_metric(given: dict) -> None:
    if not given.get("Namespace") or "Period" not in given:
        raise ValidationError("Namespace and Period are required with MetricName.")
    if ("Statistic" in given) == ("ExtendedStatistic" in given):
        raise InvalidParameterCombination("Exactly one of Statistic and ExtendedStatistic must be given.")
    if "ExtendedStatistic" in given and not EXTENDED.fullmatch(given["ExtendedStatistic"]):
        raise InvalidParameterValue(f"The value {given['ExtendedStatistic']} for ExtendedStatistic is not supported.")
    if "EvaluateLowSampleCountPercentile" in given and "ExtendedStatistic" not in given:
        raise InvalidParameterCombination("EvaluateLowSampleCountPercentile is for percentiles only.")
    period = given["Period"]
    if period not in (10, 20, 30) and period % 60:
        raise ValidationError("Period must be 10, 20, 30 or a multiple of 60.")
    if period * given["EvaluationPeriods"] > (86400 if period < 3600 else 604800):
        raise ValidationError("Metrics cannot be checked across more than a day (EvaluationPeriods * Period).")


def _check_queries(queries: list[dict]) -> None:
    ids = [query["Id"] for query in queries]
    if len(set(ids)) < len(ids):
        raise ValidationError("The ids of Metrics must be unique.")
    if any(bool(query.get("Expression")) == bool(query.get("MetricStat")) for query in queries):
        raise ValidationError("Each of Metrics must have either Expression or MetricStat.")
    returned = [query for query in queries if query.get("ReturnData", True)]
    bands = [query for query in returned if "ANOMALY_DETECTION_BAND" in query.get("Expression", "")]
    if len(returned) - len(bands) != 1:
        raise ValidationError("Exactly one element of the metrics list should return data.")


def describe_alarms(self) -> ActionResult:
    """Metric alarms, and composite ones when they are asked for."""
    asked, alarms = plain(self.params), list(self.cloudwatch_backend.alarms.values())
    names, prefix = asked.get("AlarmNames"), asked.get("AlarmNamePrefix", "")
    if names and prefix:
        raise InvalidParameterCombination("AlarmNames and AlarmNamePrefix must not both be given.")
    if len(names or []) > 100:
        raise ValidationError("AlarmNames must have at most 100 members.")
    action, state = asked.get("ActionPrefix"), asked.get("StateValue")
    chosen = [
        alarm
        for alarm in sorted(alarms, key=lambda alarm: alarm.name)
        if ("CompositeAlarm" if alarm.rule else "MetricAlarm") in asked.get("AlarmTypes", ["MetricAlarm"])
        and (not names or alarm.name in names)
        and alarm.name.startswith(prefix)
        and (not action or any(one.startswith(action) for one in alarm.alarm_actions))
        and state in (None, alarm.state_value)
    ]
    size = asked.get("MaxRecords", 100 if names else 50)
    start = int(asked.get("NextToken", 0))
    page = chosen[start : start + size]
    answer: dict[str, Any] = {
        "MetricAlarms": [_described(alarm) for alarm in page if not alarm.rule],
        "CompositeAlarms": [_described(alarm) for alarm in page if alarm.rule],
    }
    if start + size < len(chosen):
        answer["NextToken"] = str(start + size)
    return ActionResult(answer)


def _described(alarm: Any) -> Any:
    if not hasattr(alarm, "given"):  # of a target tracking policy
        return alarm
    return {
        **{key: [] for key in ACTIONS},
        **({"Dimensions": []} if "MetricName" in alarm.given else {}),
        **alarm.given,
        "ActionsEnabled": alarm.actions_enabled,
        "AlarmArn": alarm.alarm_arn,
        "AlarmConfigurationUpdatedTimestamp": alarm.configuration_updated_timestamp,
        "StateValue": alarm.state_value,
        "StateReason": alarm.state_reason,
        "StateReasonData": alarm.state_reason_data,
        "StateUpdatedTimestamp": alarm.state_updated_timestamp,
    }


def delete_alarms(self) -> ActionResult:
    """All of them or none: at most one composite alarm, and none that another one's rule still needs."""
    names, backend = plain(self.params)["AlarmNames"], self.cloudwatch_backend
    missing = [name for name in names if name not in backend.alarms]
    if missing:
        raise ResourceNotFound(f"Alarms {missing} do not exist.")
    if len(names) > 100 or sum(bool(backend.alarms[name].rule) for name in names) > 1:
        raise ValidationError("Up to 100 alarms, and not more than one composite alarm, can be deleted at a time.")
    needed = {
        needed: alarm.name
        for alarm in backend.alarms.values()
        if alarm.rule and alarm.name not in names
        for needed in rules.names_in(alarm.rule)
    }
    for name in names:
        if name in needed:
            raise ValidationError(f"Cannot delete {name} as {needed[name]} depends on it.")
    for name in names:
        backend.tagger.delete_all_tags_for_resource(backend.alarms.pop(name).alarm_arn)
    return EmptyResult()


# Dashboards -----------------------------------------------------------------------------------------------------------


def _home(self) -> models.CloudWatchBackend:
    """Where dashboards are kept: they are global."""
    return models.cloudwatch_backends[self.current_account][HOME_REGION]


def put_dashboard(self) -> ActionResult:
    given, backend = plain(self.params), _home(self)
    name, body = given["DashboardName"], given["DashboardBody"]
    if not DASHBOARD_NAME.fullmatch(name):
        raise DashboardInvalidInputError(f"The name {name} has characters other than A-Z, a-z, 0-9, - and _.")
    problems = _problems(body)
    if problems:
        raise DashboardInvalidInputError(f"The dashboard body is invalid, there are {len(problems)} errors: {problems}")
    new = name not in backend.dashboards
    dashboard = backend.put_dashboard(name, body)
    if new:
        backend.tagger.delete_all_tags_for_resource(dashboard.arn)
        backend.tagger.tag_resource(dashboard.arn, given.get("Tags") or [])
    return ActionResult({"DashboardValidationMessages": []})


def _problems(body: str) -> list[dict[str, str]]:
    """What keeps a body from being saved ("Dashboard Body Structure and Syntax")."""
    try:
        content = json.loads(body)
    except ValueError as error:
        return [{"DataPath": "/", "Message": f"Should be JSON: {error}"}]
    if not isinstance(content, dict) or not isinstance(content.get("widgets"), list):
        return [{"DataPath": "/", "Message": "Should have required property 'widgets'"}]
    if len(content["widgets"]) > 500:
        return [{"DataPath": "/widgets", "Message": "Should have at most 500 widgets"}]
    problems = []
    for number, widget in enumerate(content["widgets"]):
        for field in ("type", "properties"):
            if not isinstance(widget, dict) or field not in widget:
                problems.append(
                    {"DataPath": f"/widgets/{number}", "Message": f"Should have required property '{field}'"}
                )
        if isinstance(widget, dict) and not 1 <= widget.get("width", 6) <= 24:
            problems.append({"DataPath": f"/widgets/{number}/width", "Message": "Should be >= 1 and <= 24"})
    return problems


def get_dashboard(self) -> ActionResult:
    name = plain(self.params)["DashboardName"]
    dashboard = _home(self).get_dashboard(name)
    if dashboard is None:
        raise ResourceNotFound(f"Dashboard {name} does not exist")
    return ActionResult(
        {"DashboardArn": dashboard.arn, "DashboardBody": dashboard.body, "DashboardName": dashboard.name}
    )


def list_dashboards(self) -> ActionResult:
    asked = plain(self.params)
    found = [
        {
            "DashboardName": dashboard.name,
            "DashboardArn": dashboard.arn,
            "LastModified": dashboard.last_modified,
            "Size": len(dashboard.body),
        }
        for dashboard in sorted(_home(self).dashboards.values(), key=lambda one: one.name)
        if dashboard.name.startswith(asked.get("DashboardNamePrefix", ""))
    ]
    return ActionResult({"DashboardEntries": found})


def delete_dashboards(self) -> ActionResult:
    """All of them or none."""
    names, backend = plain(self.params)["DashboardNames"], _home(self)
    missing = [name for name in names if name not in backend.dashboards]
    if missing:
        raise ResourceNotFound(f"The specified dashboards do not exist: {missing}")
    for name in names:
        backend.tagger.delete_all_tags_for_resource(backend.dashboards.pop(name).arn)
    return EmptyResult()


# Tags -----------------------------------------------------------------------------------------------------------------


def tag_resource(self) -> ActionResult:
    given = plain(self.params)
    _tagger(self, given["ResourceARN"]).tag_resource(given["ResourceARN"], given["Tags"])
    return EmptyResult()


def untag_resource(self) -> ActionResult:
    given = plain(self.params)
    _tagger(self, given["ResourceARN"]).untag_resource_using_names(given["ResourceARN"], given["TagKeys"])
    return EmptyResult()


def list_tags_for_resource(self) -> ActionResult:
    arn = plain(self.params)["ResourceARN"]
    return ActionResult({"Tags": _tagger(self, arn).list_tags_for_resource(arn)["Tags"]})


def _tagger(self, arn: str) -> Any:
    """What keeps the tags of an alarm, dashboard or Contributor Insights rule that is there."""
    backend = self.cloudwatch_backend
    if arn in {dashboard.arn for dashboard in _home(self).dashboards.values()}:
        return _home(self).tagger
    known = {alarm.alarm_arn for alarm in backend.alarms.values()}
    if arn not in known | {resource.arn for resource in backend.iter_tagged_resources()}:
        raise ResourceNotFoundException(f"{arn} does not exist")
    return backend.tagger
