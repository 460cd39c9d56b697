"""Looks after the alarms that people put: states from metrics and rules, and the step scaling policies they name.

Every AWS minute, as CloudWatch does it for Auto Scaling actions: they are repeated while the alarm stays in the state.
Anomaly bands, PromQL and Metrics Insights are not evaluated; such alarms stay as they are. Other actions (SNS, Lambda
...) are not carried out yet.
"""

import json
import time
from typing import Any

from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends

from ..core import Sandbox
from . import evaluator, metrics, rules
from .scaler import Scaler
from .state import State

COMPARISONS = {
    "GreaterThanThreshold": lambda value, limit: value > limit,
    "GreaterThanOrEqualToThreshold": lambda value, limit: value >= limit,
    "LessThanThreshold": lambda value, limit: value < limit,
    "LessThanOrEqualToThreshold": lambda value, limit: value <= limit,
}


class Watcher:
    def __init__(self, sandbox: Sandbox, states: dict[str, State], scaler: Scaler):
        self.sandbox = sandbox
        self.states = states
        self.scaler = scaler

    def tick(self) -> None:
        for region in list(self.sandbox.regions):
            backend = cloudwatch_backends[self.sandbox.account_id][region]
            alarms: list[Any] = [alarm for alarm in list(backend.alarms.values()) if hasattr(alarm, "given")]
            for alarm in alarms:
                if not alarm.rule and alarm.comparison_operator in COMPARISONS:
                    self.look(backend, alarm)
            for alarm in alarms:
                if alarm.rule:
                    self.combine(backend, alarm)

    def look(self, backend: CloudWatchBackend, alarm: Any) -> None:
        """One metric alarm: its state, and what that state asks of scaling policies."""
        given = alarm.given
        queries, period = queries_of(given)
        count = given["EvaluationPeriods"] + evaluator.SLACK
        wanted = {query["metric"] for query in queries if "metric" in query}
        seconds = self.sandbox.minutes(period / 60)
        values = metrics.read(backend.metric_data, wanted, seconds, time.time(), count)
        try:
            points = metrics.series_of(queries, values, count)
        except metrics.ExpressionError:
            points = [None] * count  # as on AWS: no data, and the alarm says so
        limit, breaches = given["Threshold"], COMPARISONS[given["ComparisonOperator"]]
        state = evaluator.user_alarm_state(
            points,
            given["EvaluationPeriods"],
            given.get("DatapointsToAlarm", given["EvaluationPeriods"]),
            lambda value: breaches(value, limit),
            given.get("TreatMissingData", "missing"),
            alarm.state_value,
        )
        present = [value for value in points if value is not None]
        self.enter(alarm, state, {"recentDatapoints": present, "threshold": limit, "period": period})
        if present and alarm.actions_enabled:
            self.scale(backend.region_name, alarm, present[-1] - limit)

    def combine(self, backend: CloudWatchBackend, alarm: Any) -> None:
        """One composite alarm."""
        states = {name: one.state_value for name, one in backend.alarms.items()}
        holds = rules.evaluate(alarm.rule, lambda name: states.get(name, evaluator.INSUFFICIENT_DATA))
        self.enter(alarm, evaluator.ALARM if holds else evaluator.OK, {"alarmRule": alarm.rule})

    def enter(self, alarm: Any, state: str, data: dict) -> None:
        if state != alarm.state_value:
            reason = f"{alarm.name} was {alarm.state_value} and is {state}."
            alarm.update_state(reason, json.dumps({"version": "1.0", **data}), state)

    def scale(self, region: str, alarm: Any, distance: float) -> None:
        key = {evaluator.ALARM: "AlarmActions", evaluator.OK: "OKActions"}.get(
            alarm.state_value, "InsufficientDataActions"
        )
        state = self.states.get(region)
        if state is None:
            return
        for policy in list(state.policies.values()):
            if policy.type == "StepScaling" and policy.arn in (alarm.given.get(key) or []):
                above = alarm.comparison_operator.startswith("Greater")
                self.scaler.step(state, policy, alarm.name, distance, above)


def queries_of(given: dict) -> tuple[list[dict], int]:
    """The metric of an alarm as queries (metrics.queries_of), and its period in seconds."""
    if given.get("Metrics"):
        periods = [query["MetricStat"]["Period"] for query in given["Metrics"] if query.get("MetricStat")]
        periods += [query["Period"] for query in given["Metrics"] if query.get("Period")]
        configuration = {"CustomizedMetricSpecification": {"Metrics": given["Metrics"]}}
        return metrics.queries_of(configuration, ""), max(periods, default=60)
    metric = metrics.metric_from(given, given.get("Statistic") or given["ExtendedStatistic"], given.get("Unit"))
    return [{"id": "m1", "metric": metric, "returned": True}], given["Period"]
