# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CloudWatch alarms: on a metric, on metric math, on an anomaly band, on PromQL; and composite ones.

An alarm is enforced whole, as PutMetricAlarm writes it: what its options leave out, it does not have.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.cloudwatch_metrics import (
    exact,
    normal,
    request,
    wrong_queries,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    Change,
    Exact,
    Refused,
    Say,
    by_resource,
    create,
    delete,
    expanded,
    is_foreign,
    leave_foreign,
    refuse_foreign,
    tag_changes,
    update,
)

STATIC = [
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanOrEqualToThreshold",
    "LessThanThreshold",
]
ANOMALY = ["GreaterThanUpperThreshold", "LessThanLowerOrGreaterThanUpperThreshold", "LessThanLowerThreshold"]
_ACTIONS = ("alarm_actions", "ok_actions", "insufficient_data_actions")
_OF_ONE_METRIC = ("metric_name", "namespace", "dimensions", "period", "unit", "statistic", "extended_statistic")
_OF_PERIODS = ("threshold", "comparison_operator", "threshold_metric_id", "evaluation_periods", "datapoints_to_alarm")
# What DescribeAlarms says of an alarm that nobody sets.
_OF_AWS = (
    "alarm_name",
    "alarm_arn",
    "alarm_configuration_updated_timestamp",
    "state_value",
    "state_reason",
    "state_reason_data",
    "state_updated_timestamp",
    "state_transitioned_timestamp",
    "evaluation_state",
    "actions_suppressed_by",
    "actions_suppressed_reason",
)
_WALL_CLOCK = (60, 300, 3600, 86400, 604800)
_KINDS = {"metric_alarms": "MetricAlarm", "composite_alarms": "CompositeAlarm"}
_WORDS = {"metric_alarms": "metric alarm", "composite_alarms": "composite alarm"}


def resource(name: str) -> str:
    return f"alarm {name}"


# ---- describe ----


def expand(aws: Aws, params: Mapping) -> dict[str, Any]:
    """Both lists with ``*`` replaced by the names of alarms of their kind."""
    client = aws.client("cloudwatch")

    def find(kind: str, beginning: str) -> list[str]:
        prefix = {"AlarmNamePrefix": beginning} if beginning else {}
        pages = client.get_paginator("describe_alarms").paginate(AlarmTypes=[_KINDS[kind]], **prefix)
        return [alarm["AlarmName"] for page in pages for alarm in page[f"{_KINDS[kind]}s"]]

    return {
        **params,
        **{kind: expanded(params[kind], "name", params, lambda start, kind=kind: find(kind, start)) for kind in _KINDS},
    }


def describe(aws: Aws, params: Mapping) -> dict[str, dict]:
    """Alarms by name: ``{kind, arn, tags, fields}``, ``fields`` in the normal form.

    Those that rules name are there too, without tags.
    """
    own = [alarm["name"] for kind in _KINDS for alarm in params[kind]]
    named = {name for alarm in params["composite_alarms"] if alarm["alarm_rule"] for name in _refers_to(alarm)}
    names = own + sorted(named - set(own))
    client = aws.client("cloudwatch")
    answers = together(
        *(
            lambda part=names[start : start + 100]: client.describe_alarms(
                AlarmNames=part, AlarmTypes=list(_KINDS.values()), MaxRecords=100
            )
            for start in range(0, len(names), 100)
        )
    )
    found = {
        alarm["AlarmName"]: {"kind": kind, "arn": alarm["AlarmArn"], "fields": _normal_alarm(alarm)}
        for answer in answers
        for kind, key in _KINDS.items()
        for alarm in answer[f"{key}s"]
    }
    ours = {name: found[name]["arn"] for name in own if name in found}
    tags = aws.tags(
        ours.values(),
        lambda arn: {tag["Key"]: tag["Value"] for tag in client.list_tags_for_resource(ResourceARN=arn)["Tags"]},
    )
    for name, arn in ours.items():
        found[name]["tags"] = tags[arn]
    return found


def _normal_alarm(alarm: Mapping) -> dict[str, Any]:
    return _filled({name: value for name, value in normal(alarm).items() if name not in _OF_AWS})


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    """An alarm's fields with AWS's defaults, and without what says nothing."""
    for name in _ACTIONS:
        fields[name] = sorted(fields.get(name) or [])
    fields.setdefault("actions_enabled", True)
    if "alarm_rule" in fields:
        fields["alarm_rule"] = fields["alarm_rule"].strip()
        if "actions_suppressor" in fields:
            fields["actions_suppressor"] = _name_of(fields["actions_suppressor"])
    elif "evaluation_criteria" not in fields:
        fields.setdefault("treat_missing_data", "missing")
        fields.setdefault("datapoints_to_alarm", fields.get("evaluation_periods"))
        if fields.get("evaluate_low_sample_count_percentile") == "evaluate":
            del fields["evaluate_low_sample_count_percentile"]
    window = fields.get("evaluation_window", {}).get("wall_clock_window")
    if window is None:
        fields.pop("evaluation_window", None)  # a sliding one, as without
    else:
        window.setdefault("timezone", "UTC")
    warm_up = fields.get("warm_up_configuration")
    if warm_up is not None:
        warm_up.setdefault("only_start_evaluating_after_warm_up_period_ends", False)
    propagation = fields.get("action_configuration", {}).get("alarm_tags_propagation")
    if propagation is not None:
        for name in ("included_tag_keys", "excluded_tag_keys"):
            if name in propagation:
                propagation[name] = sorted(propagation[name])
    return fields


def _refers_to(alarm: Mapping) -> set[str]:
    """Names of the alarms that a composite alarm's rule, or its suppressor, may name, and words that are no names."""
    rule = alarm["alarm_rule"]
    words = [*re.findall(r'"([^"]+)"', rule), *re.split(r"[\s(),]+", re.sub(r'"[^"]*"', " ", rule))]
    names = {_name_of(word) for word in words if word}
    return {name for name in names if not re.fullmatch(_GRAMMAR, name)} | (
        {_name_of(alarm["actions_suppressor"])} if alarm["actions_suppressor"] else set()
    )


_GRAMMAR = r"ALARM|OK|INSUFFICIENT_DATA|AND|OR|NOT|TRUE|FALSE|AT_LEAST|\d+%?"


def _name_of(name_or_arn: str) -> str:
    return name_or_arn.rpartition(":alarm:")[2]


# ---- plan ----


def desired(alarm: Mapping) -> Exact:
    """All fields of an alarm, in the normal form."""
    return Exact(_filled(exact({name: value for name, value in alarm.items() if name != "name"})))


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    _refuse_contradictions(params)
    changes: list[Change] = []
    for kind in _KINDS:
        for alarm in params[kind]:
            label, there = resource(alarm["name"]), current.get(alarm["name"])
            if params["state"] == "absent":
                if there is not None and is_foreign(there["tags"], params["tags"]):
                    changes.append(leave_foreign(label, there["tags"]))
                elif there is not None and there["kind"] == kind:
                    note = "its history is lost, and nobody is told any more of what it watches"
                    changes.append(delete(label, _shown(there), note=note))
                continue
            if there is not None:
                refuse_foreign(label, there["tags"], params)
            for reason in _wrong(kind, alarm):
                raise Refused(f"{label}: {reason}.")
            _refuse_unfit(params, current, kind, alarm)
            changes += _changes(params, alarm, there)
    if params["state"] == "absent":
        _in_order(_deployed(current, [alarm for alarm in params["composite_alarms"] if _goes(alarm, changes)]))
    else:
        _in_order(params["composite_alarms"])
    return changes


def _goes(alarm: Mapping, changes: Sequence[Change]) -> bool:
    return any(change.resource == resource(alarm["name"]) and change.action == "delete" for change in changes)


def _deployed(current: Mapping, composite: Iterable[Mapping]) -> list[Mapping]:
    """Composite alarms with the rules that they have."""
    return [{**current[alarm["name"]]["fields"], "name": alarm["name"]} for alarm in composite]


def _changes(params: Mapping, alarm: Mapping, there: Mapping | None) -> list[Change]:
    label, wanted = resource(alarm["name"]), desired(alarm)
    tags = {} if params["tags"] is None else {"tags": Exact(params["tags"])}
    if there is None:
        return [create(label, {**wanted, **tags})]
    return update(label, there["fields"], wanted) + update(label, there, tags)


def _shown(there: Mapping) -> dict[str, Any]:
    return {"arn": there["arn"], **there["fields"], "tags": there["tags"]}


def _refuse_unfit(params: Mapping, current: Mapping, kind: str, alarm: Mapping) -> None:
    """What fits no alarm that there is, or will be."""
    there = current.get(alarm["name"])
    if there is not None and there["kind"] != kind:
        raise Refused(
            f"{resource(alarm['name'])} is a {_WORDS[there['kind']]}, and AWS makes no {_WORDS[kind]} of it. Delete it "
            "first, which loses its history, or give another name to the new one."
        )
    if kind == "composite_alarms":
        own = {one["name"] for one_kind in _KINDS for one in params[one_kind]}
        missing = sorted(_refers_to(alarm) - own - current.keys())
        if missing:
            raise Refused(
                f"{resource(alarm['name'])} refers to what is no alarm: {', '.join(missing)}. AWS takes a rule, and a "
                "suppressor, of alarms only that are there."
            )


def _refuse_contradictions(params: Mapping) -> None:
    names = [alarm["name"] for kind in _KINDS for alarm in params[kind]]
    for name in sorted({name for name in names if names.count(name) > 1}):
        raise Refused(f"{resource(name)} is there twice. Give each alarm a name of its own.")


def _wrong(kind: str, alarm: Mapping) -> Iterator[str]:
    """What AWS would not take, in the order in which a person would mend it."""
    propagation = (alarm["action_configuration"] or {}).get("alarm_tags_propagation") or {}
    if propagation.get("included_tag_keys") and propagation.get("excluded_tag_keys"):
        yield "included_tag_keys and excluded_tag_keys exclude each other"
    for name in _ACTIONS:
        if len(alarm[name] or []) > 5:
            yield f"{name} has {len(alarm[name])} actions; allowed: up to 5"
    if kind == "composite_alarms":
        if not alarm["alarm_rule"]:
            yield "alarm_rule is missing"
        periods = ("actions_suppressor_wait_period", "actions_suppressor_extension_period")
        if [alarm[name] is not None for name in periods] != [bool(alarm["actions_suppressor"])] * 2:
            yield f"actions_suppressor needs {' and '.join(periods)}, and they need it"
        return
    watched = [name for name in ("metric_name", "metrics", "evaluation_criteria") if alarm[name]]
    if len(watched) != 1:
        yield "it needs exactly one of metric_name, metrics and evaluation_criteria"
    if (alarm["evaluation_interval"] is not None) != (watched == ["evaluation_criteria"]):
        yield "evaluation_interval belongs to evaluation_criteria, which needs it"
    if watched != ["metric_name"]:
        yield from _given(alarm, _OF_ONE_METRIC, watched[0])
    if watched == ["evaluation_criteria"]:
        yield from _given(alarm, (*_OF_PERIODS, "treat_missing_data", "evaluation_window"), watched[0])
        return
    yield from _wrong_periods(alarm)
    if watched == ["metrics"]:
        yield from _wrong_metrics(alarm)
    else:
        yield from _wrong_metric(alarm)


def _given(alarm: Mapping, names: Sequence[str], watched: str) -> Iterator[str]:
    for name in names:
        if alarm[name] is not None:
            yield f"{name} does not belong to an alarm on {watched}"


def _wrong_periods(alarm: Mapping) -> Iterator[str]:
    for name in ("comparison_operator", "evaluation_periods"):
        if alarm[name] is None:
            yield f"{name} is missing"
    if (alarm["datapoints_to_alarm"] or 1) > (alarm["evaluation_periods"] or 1):
        yield f"datapoints_to_alarm is more than evaluation_periods, {alarm['evaluation_periods']}"
    anomaly = alarm["comparison_operator"] in ANOMALY
    if [alarm[name] is not None for name in ("threshold_metric_id", "threshold")] != [anomaly, not anomaly]:
        yield "it needs threshold, or, with a comparison_operator of anomaly bands, threshold_metric_id, and not both"


def _wrong_metric(alarm: Mapping) -> Iterator[str]:
    if not alarm["namespace"] or not alarm["period"]:
        yield "metric_name needs namespace and period"
        return
    if bool(alarm["statistic"]) == bool(alarm["extended_statistic"]):
        yield "metric_name needs statistic or extended_statistic, and not both"
    if alarm["evaluate_low_sample_count_percentile"] and not alarm["extended_statistic"]:
        yield "evaluate_low_sample_count_percentile belongs to extended_statistic"
    if alarm["period"] not in (10, 20, 30) and alarm["period"] % 60:
        yield f"period is {alarm['period']}; allowed: 10, 20, 30 or a multiple of 60 seconds"
    if alarm["evaluation_window"] and alarm["period"] not in _WALL_CLOCK:
        allowed = ", ".join(map(str, _WALL_CLOCK))
        yield f"period is {alarm['period']}; allowed with a wall_clock_window: {allowed} seconds"
    longest = 86400 if alarm["period"] < 3600 else 604800
    if alarm["period"] * (alarm["evaluation_periods"] or 1) > longest:
        yield f"period times evaluation_periods is more than {longest} seconds"


def _wrong_metrics(alarm: Mapping) -> Iterator[str]:
    """An anomaly band returns data too, beside the metric that is compared with it."""
    band = alarm["threshold_metric_id"]
    yield from wrong_queries(
        [{**query, "return_data": query["return_data"] and query["id"] != band} for query in alarm["metrics"]]
    )
    if band and band not in {query["id"] for query in alarm["metrics"]}:
        yield f"threshold_metric_id is {band}, and metrics has no such id"
    if alarm["evaluate_low_sample_count_percentile"]:
        yield "evaluate_low_sample_count_percentile belongs to extended_statistic"


# ---- apply ----


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    client, planned = aws.client("cloudwatch"), by_resource(changes)
    metric, composite = ([alarm for alarm in params[kind] if resource(alarm["name"]) in planned] for kind in _KINDS)
    if params["state"] == "absent":
        # AWS takes one composite alarm a call, and none that another one still needs.
        for alarm in reversed(_in_order(_deployed(current, composite))):
            client.delete_alarms(AlarmNames=[alarm["name"]])
        names = [alarm["name"] for alarm in metric]
        for start in range(0, len(names), 100):
            client.delete_alarms(AlarmNames=names[start : start + 100])
        return

    def put(operation: Any, alarm: Mapping) -> None:
        mine, there = planned[resource(alarm["name"])], current.get(alarm["name"])
        if any(not change.path.startswith("tags.") for change in mine):
            tags = {"Tags": ansible_dict_to_boto3_tag_list(params["tags"])} if there is None and params["tags"] else {}
            operation(AlarmName=alarm["name"], **request(desired(alarm)), **tags)
        if there is not None:
            mend_tags(client, there["arn"], mine)

    together(*(lambda alarm=alarm: put(client.put_metric_alarm, alarm) for alarm in metric))
    for alarm in _in_order(composite):
        put(client.put_composite_alarm, alarm)


def _in_order(composite: list[Mapping]) -> list[Mapping]:
    """Composite alarms, each after those that its rule names. AWS would delete none of those that are in a circle.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DeleteAlarms.html
    """
    by_name = {alarm["name"]: alarm for alarm in composite}
    needs = {
        name: (_refers_to({"actions_suppressor": None, **alarm}) & by_name.keys()) - {name}
        for name, alarm in by_name.items()
    }
    try:
        return [by_name[name] for name in TopologicalSorter(needs).static_order()]
    except CycleError as error:
        raise Refused(
            f"The rules of these alarms refer to each other: {', '.join(error.args[1])}. Set the alarm_rule of one of "
            "them to FALSE."
        ) from None


def mend_tags(client: Any, arn: str, changes: Sequence[Change]) -> None:
    """Carry out the changes of tags among ``changes`` of an alarm or a dashboard."""
    new, gone = tag_changes(changes)
    if gone:
        client.untag_resource(ResourceARN=arn, TagKeys=gone)
    if new:
        client.tag_resource(ResourceARN=arn, Tags=ansible_dict_to_boto3_tag_list(new))


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Alarms are there when the call returns."""


# ---- output ----


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    if params["state"] == "absent":
        return {"alarms": {}}

    def one(alarm: Mapping) -> dict[str, Any]:
        there = current.get(alarm["name"])
        if there is None:  # only then: the account's number costs a call
            there = {"arn": aws.arn("cloudwatch", f"alarm:{alarm['name']}"), "tags": {}}
        tags = there["tags"] if params["tags"] is None else dict(params["tags"])
        return {"arn": there["arn"], **desired(alarm), "tags": tags}

    return {"alarms": {alarm["name"]: one(alarm) for kind in _KINDS for alarm in params[kind]}}


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    return [resource(alarm["name"]) for kind in _KINDS for alarm in params[kind]]


def billed(aws: Aws, params: Mapping, current: Mapping, wanted: bool) -> list[dict[str, Any]]:
    """An alarm costs by the metrics that it watches; a composite one is not in the price table."""
    items = []
    for alarm in params["metric_alarms"]:
        there = current.get(alarm["name"])
        fields = desired(alarm) if wanted else there and there["fields"]
        if fields:
            metrics = [query for query in fields.get("metrics", {}).values() if "metric_stat" in query]
            items.append({"kind": "alarm", "resource": resource(alarm["name"]), "count": len(metrics) or 1})
    return items
