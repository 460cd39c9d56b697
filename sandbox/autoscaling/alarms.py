"""The CloudWatch alarms of target tracking policies, and the state the evaluator gives them.

Alarms that people put (and step scaling policies, which act on them) are not evaluated here yet: what they need
is metrics.read and evaluator.alarm_state over all of moto's alarms, then their AlarmActions.
"""

import datetime
import json
import uuid
from typing import Any

from moto.cloudwatch.models import (
    CloudWatchBackend,
    Dimension,
    MetricDataQuery,
    MetricStat,
    cloudwatch_backends,
)
from moto.cloudwatch.models import Metric as MotoMetric

from . import evaluator, metrics
from .state import Policy

SIDES = {
    "High": ("GreaterThanThreshold", evaluator.PERIODS_HIGH, 1.0),
    "Low": ("LessThanThreshold", evaluator.PERIODS_LOW, evaluator.LOW_SHARE),
}
"""Comparison, periods to alarm, share of the target value."""


def backend(account_id: str, region: str) -> CloudWatchBackend:
    return cloudwatch_backends[account_id][region]


def threshold(target_value: float, side: str) -> float:
    return round(target_value * SIDES[side][2], 10)


def put(cloudwatch: CloudWatchBackend, policy: Policy) -> None:
    """Create or update AlarmHigh and AlarmLow; names survive an update of the policy."""
    for side, (comparison, periods, _) in SIDES.items():
        name = policy.alarms.get(side) or f"TargetTracking-{policy.resource_id}-Alarm{side}-{uuid.uuid4()}"
        action = f"{policy.arn}:createdBy/{uuid.uuid4()}"
        alarm = cloudwatch.put_metric_alarm(
            name=name,
            comparison_operator=comparison,
            evaluation_periods=periods,
            threshold=threshold(policy.configuration["TargetValue"], side),
            description=f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {action}.",
            alarm_actions=[action],
            treat_missing_data="missing",
            **_metric(policy),
        )
        alarm.state_value = evaluator.INSUFFICIENT_DATA  # moto starts with OK
        policy.alarms[side] = name


def delete(cloudwatch: CloudWatchBackend, policy: Policy) -> None:
    cloudwatch.delete_alarms(list(policy.alarms.values()))
    policy.alarms.clear()


def _metric(policy: Policy) -> dict:
    """The part of PutMetricAlarm that names the metric: one metric, or queries for metric math."""
    queries = metrics.queries_of(policy.configuration, policy.resource_id)
    if len(queries) > 1 or "expression" in queries[0]:
        return {
            "namespace": None,
            "metric_name": None,
            "period": None,
            "statistic": None,
            "dimensions": [],
            "metric_data_queries": [
                _query(query) for query in policy.configuration["CustomizedMetricSpecification"]["Metrics"]
            ],
        }
    metric = queries[0]["metric"]
    return {
        "namespace": metric.namespace,
        "metric_name": metric.name,
        "period": 60,
        "statistic": metric.statistic,
        "unit": metric.unit or ("Percent" if metric.namespace == "AWS/ECS" else None),
        "dimensions": [{"Name": name, "Value": value} for name, value in sorted(metric.dimensions)],
    }


def _query(query: dict) -> MetricDataQuery:
    stat = query.get("MetricStat")
    moto_stat = None
    period: Any = 60  # moto's annotations say str, its requests and answers are numbers
    if stat:
        dimensions = [Dimension(d["Name"], d["Value"]) for d in stat["Metric"].get("Dimensions") or []]
        metric = MotoMetric(stat["Metric"]["MetricName"], stat["Metric"]["Namespace"], dimensions)
        moto_stat = MetricStat(metric, period, stat["Stat"], stat.get("Unit"))
    label: Any = query.get("Label")
    period = None  # an expression has that of its metrics
    return MetricDataQuery(
        query["Id"], label, period, query.get("ReturnData", True), query.get("Expression"), moto_stat
    )


def judge(cloudwatch: CloudWatchBackend, policy: Policy, side: str, points: metrics.Series) -> str:
    """Set the alarm's state from the newest points and return it; OK where the alarm must not act or is gone."""
    alarm = cloudwatch.alarms.get(policy.alarms.get(side, ""))
    if alarm is None:  # somebody deleted it: on AWS the policy then does not scale either
        return evaluator.OK
    periods = SIDES[side][1]
    limit = alarm.threshold
    above = side == "High"
    state = evaluator.alarm_state(
        points[-(periods + evaluator.SLACK) :], periods, lambda value: value > limit if above else value < limit
    )
    if state != alarm.state_value:
        alarm.update_state(*_reason(state, alarm, points, periods, above), state)
    return state if alarm.actions_enabled else evaluator.OK


def _reason(state: str, alarm, points: metrics.Series, periods: int, above: bool) -> tuple[str, str]:
    """State reason in CloudWatch's words, and its JSON data."""
    recent = [value for value in points if value is not None][-periods:]
    data = json.dumps(
        {
            "version": "1.0",
            "queryDate": datetime.datetime.now(datetime.UTC).isoformat(),
            "period": 60,
            "recentDatapoints": recent,
            "threshold": alarm.threshold,
        }
    )
    if state == evaluator.INSUFFICIENT_DATA:
        return f"Insufficient Data: {periods} datapoints were unknown.", data
    values = ", ".join(str(round(value, 4)) for value in recent)
    relation = "greater" if above else "less"
    if state == evaluator.OK:
        calm = [value for value in recent if not (value > alarm.threshold if above else value < alarm.threshold)]
        return (
            f"Threshold Crossed: {len(calm)} datapoints [{values}] were not {relation} than the "
            f"threshold ({alarm.threshold}).",
            data,
        )
    return (
        f"Threshold Crossed: {len(recent)} out of the last {periods} datapoints [{values}] were {relation} than the "
        f"threshold ({alarm.threshold}) (minimum {periods} datapoints for OK -> ALARM transition).",
        data,
    )
