"""CloudWatch metrics: which one a policy follows, their values per period, and metric math."""

import ast
import datetime
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

ECS_METRICS = {
    "ECSServiceAverageCPUUtilization": "CPUUtilization",
    "ECSServiceAverageMemoryUtilization": "MemoryUtilization",
}
ALB_METRIC = "ALBRequestCountPerTarget"

Series = list[float | None]
"""One value per period, oldest first; None where there was no data."""


@dataclass(frozen=True)
class Metric:
    """One statistic of one CloudWatch metric. AWS tells metrics apart by all of their dimensions."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    statistic: str = "Average"
    unit: str | None = None


class ExpressionError(ValueError):
    """A metric math expression that is wrong, or that the sandbox does not evaluate."""


def metric_from(request: dict, statistic: str, unit: str | None = None) -> Metric:
    """A Metric of a request's {Namespace, MetricName, Dimensions: [{Name, Value}]}."""
    dimensions = frozenset((d["Name"], d["Value"]) for d in request.get("Dimensions") or [])
    return Metric(request["Namespace"], request["MetricName"], dimensions, statistic, unit)


def queries_of(configuration: dict, resource_id: str) -> list[dict]:
    """The metric of a target tracking configuration as queries: [{id, metric | expression, returned}]."""
    predefined = configuration.get("PredefinedMetricSpecification")
    custom = configuration.get("CustomizedMetricSpecification") or {}
    if predefined:
        return [{"id": "m1", "metric": _predefined(predefined, resource_id), "returned": True}]
    if custom.get("Metrics"):
        return [_query(query) for query in custom["Metrics"]]
    metric = metric_from(custom, custom.get("Statistic", "Average"), custom.get("Unit"))
    return [{"id": "m1", "metric": metric, "returned": True}]


def _predefined(specification: dict, resource_id: str) -> Metric:
    kind = specification["PredefinedMetricType"]
    if kind == ALB_METRIC:
        balancer, _, group = specification["ResourceLabel"].partition("/targetgroup/")
        dimensions = {("LoadBalancer", balancer), ("TargetGroup", f"targetgroup/{group}")}
        return Metric("AWS/ApplicationELB", "RequestCountPerTarget", frozenset(dimensions), "Sum")
    _, cluster, service = resource_id.split("/")
    return Metric("AWS/ECS", ECS_METRICS[kind], frozenset({("ClusterName", cluster), ("ServiceName", service)}))


def _query(query: dict) -> dict:
    returned = query.get("ReturnData", True)
    if query.get("MetricStat"):
        stat = query["MetricStat"]
        return {
            "id": query["Id"],
            "metric": metric_from(stat["Metric"], stat["Stat"], stat.get("Unit")),
            "returned": returned,
        }
    return {"id": query["Id"], "expression": query.get("Expression", ""), "returned": returned}


def epoch(timestamp: datetime.datetime) -> float:
    """Seconds since 1970; moto mixes times with and without a zone, the latter being UTC."""
    return (timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=datetime.UTC)).timestamp()


def identity(datum) -> tuple[str, str, frozenset[tuple[str, str]]]:
    """What makes one of moto's data points belong to a metric."""
    return datum.namespace, datum.name, frozenset((d.name, d.value) for d in datum.dimensions)


def read(data: Iterable, metrics: set[Metric], period: float, now: float, count: int) -> dict[Metric, Series]:
    """The last `count` complete periods (seconds each) before `now` (epoch), in one pass over moto's data points."""
    last = math.floor(now / period) - 1
    first = last - count + 1
    names = {metric.name for metric in metrics}
    found: dict[tuple, dict[int, list]] = {}
    for datum in data:
        if datum.name in names:
            slot = math.floor(epoch(datum.timestamp) / period)
            if first <= slot <= last:
                found.setdefault(identity(datum), {}).setdefault(slot - first, []).append(datum)
    series = {}
    for metric in metrics:
        slots = found.get((metric.namespace, metric.name, metric.dimensions), {})
        series[metric] = [statistic(_of_unit(slots.get(i, []), metric.unit), metric.statistic) for i in range(count)]
    return series


def _of_unit(data: list, unit: str | None) -> list:
    return [datum for datum in data if unit in (None, datum.unit)]


def statistic(data: list, name: str) -> float | None:
    """Average, Sum, Minimum, Maximum, SampleCount or a percentile (p99, p99.9) of data points; None of none."""
    if not data:
        return None
    samples = [
        (d.sum, d.sample_count, d.min, d.max) if hasattr(d, "sample_count") else (d.value, 1, d.value, d.value)
        for d in data
    ]
    total, count = sum(s[0] for s in samples), sum(s[1] for s in samples)
    if name == "Average":
        return total / count if count else None
    if name.startswith("p") and name[1:].replace(".", "", 1).isdigit():
        values = sorted(d.value for d in data if hasattr(d, "value"))
        return values[max(0, math.ceil(len(values) * float(name[1:]) / 100) - 1)] if values else None
    known = {
        "Sum": total,
        "SampleCount": count,
        "Minimum": min(s[2] for s in samples),
        "Maximum": max(s[3] for s in samples),
    }
    return known.get(name)


def series_of(queries: list[dict], values: dict[Metric, Series], count: int) -> Series:
    """The returned series of some queries; all missing when an expression cannot be evaluated."""
    resolved: dict[str, Series] = {}
    pending = list(queries)
    while pending:
        for query in pending:
            if "metric" in query:
                resolved[query["id"]] = values[query["metric"]]
            elif names_in(query["expression"]) <= resolved.keys():
                resolved[query["id"]] = evaluate(query["expression"], resolved, count)
            else:
                continue
            pending.remove(query)
            break
        else:
            raise ExpressionError(f"{pending[0]['expression']} names a query that is not there")
    return resolved[next(query["id"] for query in queries if query["returned"])]


# Metric math ----------------------------------------------------------------------------------------------------------

ARITHMETIC: dict[type, Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}
FUNCTIONS: dict[str, Callable] = {"MAX": max, "MIN": min, "SUM": sum, "AVG": lambda values: sum(values) / len(values)}


def _calculate(operation: Callable[[float, float], float], a: float | None, b: float | None) -> float | None:
    """No data point where one is missing, or where the result is no number, as when dividing by zero."""
    if a is None or b is None:
        return None
    try:
        result = operation(a, b)
    except ArithmeticError:
        return None
    return result if isinstance(result, float) and math.isfinite(result) else None


def names_in(expression: str) -> set[str]:
    """Ids of the queries that an expression uses."""
    return (
        {node.id for node in ast.walk(_parse(expression)) if isinstance(node, ast.Name)}
        - FUNCTIONS.keys()
        - {"FILL", "ABS", "REPEAT"}
    )


def evaluate(expression: str, series: dict[str, Series], count: int) -> Series:
    """CloudWatch metric math: + - * / ^, MAX MIN SUM AVG over [a, b] or a series, FILL(m, number | REPEAT), ABS.

    Raises ExpressionError for anything else.
    """
    return _Math(series, count).of(_parse(expression))


def _parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.replace("^", "**").strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ExpressionError(f"{expression} is not metric math") from error


class _Math:
    def __init__(self, series: dict[str, Series], count: int):
        self.series = series
        self.count = count

    def of(self, node: ast.expr) -> Series:
        match node:
            case ast.Constant(value=int() | float() as number):
                return [float(number)] * self.count
            case ast.Name(id=name) if name in self.series:
                return self.series[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return [None if value is None else -value for value in self.of(operand)]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return [
                    _calculate(ARITHMETIC[type(op)], *pair) for pair in zip(self.of(left), self.of(right), strict=True)
                ]
            case ast.Call(func=ast.Name(id="FILL"), args=[values, filler]):
                return self.fill(self.of(values), filler)
            case ast.Call(func=ast.Name(id="ABS"), args=[values]):
                return [None if value is None else abs(value) for value in self.of(values)]
            case ast.Call(func=ast.Name(id=name), args=[ast.List(elts=elements)]) if name in FUNCTIONS:
                columns = zip(*(self.of(element) for element in elements), strict=True)
                kept = [[value for value in column if value is not None] for column in columns]
                return [FUNCTIONS[name](values) if values else None for values in kept]
            case ast.Call(func=ast.Name(id=name), args=[values]) if name in FUNCTIONS:
                present = [value for value in self.of(values) if value is not None]
                return [FUNCTIONS[name](present) if present else None] * self.count
        raise ExpressionError(f"the sandbox does not evaluate {ast.unparse(node)}")

    def fill(self, values: Series, filler: ast.expr) -> Series:
        if isinstance(filler, ast.Name) and filler.id == "REPEAT":
            filled: Series = []
            for value in values:
                filled.append(value if value is not None else filled[-1] if filled else None)
            return filled
        return [other if value is None else value for value, other in zip(values, self.of(filler), strict=True)]
