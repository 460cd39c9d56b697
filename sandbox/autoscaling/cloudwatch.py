"""Repairs moto's CloudWatch where it mixes metrics up, so that what put_metric stores is what people read.

moto 5.2.5 compares lists of two or more dimensions wrongly (ListMetrics repeats every service), takes a subset of
the dimensions for the metric (a cluster's numbers would mix with those of all its services), forgets the namespace
in GetMetricData, starts periods at the first data point, and evaluates no metric math and no percentiles.
AWS: a metric is its namespace, name and all its dimensions; periods start at multiples of their length.
"""

import datetime
import math
from types import SimpleNamespace

from moto.cloudwatch import models

from . import metrics

STATISTICS = ("SampleCount", "Sum", "Average", "Minimum", "Maximum")


def install() -> None:
    """Replace the three wrong functions. Call before the first request."""
    backend = models.CloudWatchBackend
    setattr(models, "are_dimensions_same", same_dimensions)  # noqa: B010 - mypy refuses to see methods assigned
    setattr(backend, "get_metric_statistics", get_metric_statistics)  # noqa: B010
    setattr(backend, "get_metric_data", _with_insights(backend.get_metric_data))  # noqa: B010


def same_dimensions(one: list, other: list) -> bool:
    return {(d.name, d.value) for d in one} == {(d.name, d.value) for d in other}


def by_period(backend, metric: metrics.Metric, start, end, period: int) -> dict[int, list]:
    """{start of period (epoch): moto's data points} of one metric in start <= time < end."""
    wanted = (metric.namespace, metric.name, metric.dimensions)
    found: dict[int, list] = {}
    for datum in backend.get_all_metrics():
        if datum.name == metric.name and metrics.identity(datum) == wanted and metric.unit in (None, datum.unit):
            time = metrics.epoch(datum.timestamp)
            if metrics.epoch(start) <= time < metrics.epoch(end):
                found.setdefault(math.floor(time / period) * period, []).append(datum)
    return dict(sorted(found.items()))


def get_metric_statistics(self, namespace, metric_name, start_time, end_time, period, stats, dimensions, unit=None):
    """GetMetricStatistics; returns objects with .timestamp, .unit and the asked statistics (None where not asked)."""
    if metrics.epoch(start_time) >= metrics.epoch(end_time):
        raise models.InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
    request = {"Namespace": namespace, "MetricName": metric_name, "Dimensions": dimensions}
    metric = metrics.metric_from(request, "", unit)
    return [
        SimpleNamespace(
            timestamp=_utc(time),
            unit=data[-1].unit,
            **{_snake(name): metrics.statistic(data, name) if name in stats else None for name in STATISTICS},
        )
        for time, data in by_period(self, metric, start_time, end_time, int(period)).items()
    ]


def _with_insights(original):
    """GetMetricData of MetricStat and metric math; SQL ("SELECT ...") stays moto's."""

    def get_metric_data(self, queries, start_time, end_time, scan_by="TimestampAscending"):
        sql = [query for query in queries if query.get("Expression", "").startswith("SELECT")]
        if sql or metrics.epoch(start_time) >= metrics.epoch(end_time):
            return original(self, queries, start_time, end_time, scan_by)
        return metric_data(self, queries, start_time, end_time, descending=scan_by == "TimestampDescending")

    return get_metric_data


def metric_data(backend, queries: list[dict], start, end, descending: bool) -> list[dict]:
    """The answer to GetMetricData: [{id, label, timestamps, values, status_code}], one per query with ReturnData."""
    stats = {query["Id"]: query["MetricStat"] for query in queries if "MetricStat" in query}
    found = {
        name: by_period(
            backend, metrics.metric_from(stat["Metric"], "", stat.get("Unit")), start, end, int(stat["Period"])
        )
        for name, stat in stats.items()
    }
    times = _times(stats, found)
    resolved = {
        name: [metrics.statistic(found[name].get(time, []), stat["Stat"]) for time in times]
        for name, stat in stats.items()
    }
    failed: dict[str, str] = {}
    for query in (query for query in queries if query["Id"] not in stats):
        try:  # expressions may only use what stands before them here
            resolved[query["Id"]] = metrics.evaluate(query["Expression"], resolved, len(times))
        except metrics.ExpressionError as error:
            resolved[query["Id"]], failed[query["Id"]] = [None] * len(times), str(error)
    order = -1 if descending else 1
    answers = []
    for query in queries:
        if query.get("ReturnData", True):
            pairs = [(t, v) for t, v in zip(times, resolved[query["Id"]], strict=True) if v is not None][::order]
            stat = stats.get(query["Id"])
            answer = {
                "id": query["Id"],
                "label": query.get("Label")
                or (f"{stat['Metric']['MetricName']} {stat['Stat']}" if stat else query["Id"]),
                "timestamps": [_utc(time) for time, _ in pairs],
                "values": [value for _, value in pairs],
                "status_code": "Complete",
            }
            if query["Id"] in failed:
                answer |= {
                    "status_code": "InternalError",
                    "messages": [{"code": "ArithmeticError", "value": failed[query["Id"]]}],
                }
            answers.append(answer)
    return answers


def _times(stats: dict, found: dict) -> list[int]:
    """Starts of all periods between the first and the last data point, so that FILL has gaps to fill."""
    starts = [time for series in found.values() for time in series]
    if not starts:
        return []
    step = min(int(stat["Period"]) for stat in stats.values())
    return list(range(min(starts), max(starts) + 1, step))


def _utc(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _snake(name: str) -> str:
    return {"SampleCount": "sample_count"}.get(name, name.lower())
