# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Metrics, and metric math, as the options of our modules and as the APIs of CloudWatch and its users have them.

An option is AWS's field in snake case. Where AWS has a list without an order, the normal form is a mapping, so that a
difference names the one that differs: ``dimensions`` by name, ``metrics`` and ``metric_data_queries`` by id.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Exact

STATISTICS = ["Average", "Maximum", "Minimum", "SampleCount", "Sum"]
_QUERIES = ("metrics", "metric_data_queries")
_IRREGULAR = {"ok_actions": "OKActions", "promql_criteria": "PromQLCriteria"}
_IRREGULAR_BACK = {key: name for name, key in _IRREGULAR.items()}

METRIC_SPEC: dict[str, Any] = {
    "metric_name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "dimensions": {"type": "dict"},
}


def query_spec(more: Mapping[str, Any], more_of_stat: Mapping[str, Any]) -> dict[str, Any]:
    """The suboptions of one query; CloudWatch's own have some ``more`` than those of Application Auto Scaling."""
    stat = {
        "metric": {"type": "dict", "required": True, "options": METRIC_SPEC},
        **more_of_stat,
        "stat": {"type": "str", "required": True},
        "unit": {"type": "str"},
    }
    return {
        "id": {"type": "str", "required": True},
        "expression": {"type": "str"},
        "label": {"type": "str"},
        "metric_stat": {"type": "dict", "options": stat},
        **more,
        "return_data": {"type": "bool", "default": True},
    }


def exact(options: Any) -> Any:
    """Options in the normal form, to be enforced whole: what they leave out shall not be there."""
    if isinstance(options, list):
        return [exact(item) for item in options]
    if not isinstance(options, Mapping):
        return options
    given = Exact({name: exact(value) for name, value in options.items() if not _nothing(name, value)})
    for name in _QUERIES:
        if name in given:
            given[name] = Exact({query["id"]: _without_id(query) for query in given[name]})
    return given


def normal(answer: Any) -> Any:
    """What an API answers, in the normal form."""
    if isinstance(answer, list):
        return [normal(item) for item in answer]
    if not isinstance(answer, Mapping):
        return answer
    fields = {_snake(key): normal(value) for key, value in answer.items()}
    if fields.get("dimensions"):
        fields["dimensions"] = {item["name"]: item["value"] for item in fields["dimensions"]}
    fields = {name: value for name, value in fields.items() if not _nothing(name, value)}
    for name in _QUERIES:
        if name in fields:
            fields[name] = {query["id"]: {"return_data": True, **_without_id(query)} for query in fields[name]}
    return fields


def request(fields: Any) -> Any:
    """The normal form as an API takes it."""
    if isinstance(fields, list):
        return [request(item) for item in fields]
    if not isinstance(fields, Mapping):
        return fields
    arguments = {}
    for name, value in fields.items():
        if value is None:
            continue
        if name == "dimensions":
            arguments["Dimensions"] = [{"Name": key, "Value": str(text)} for key, text in value.items()]
        elif name in _QUERIES:
            arguments[_pascal(name)] = [{"Id": key, **request(query)} for key, query in value.items()]
        else:
            arguments[_pascal(name)] = request(value)
    return arguments


def wrong_queries(queries: Iterable[Mapping]) -> Iterator[str]:
    """Why AWS would not take these queries (options), a sentence each."""
    queries = list(queries)
    ids = [query["id"] for query in queries]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"two queries have the id {name}; give each an id of its own"
    for query in queries:
        if not re.fullmatch(r"[a-z][A-Za-z0-9_]*", query["id"]):
            yield f"the id {query['id']} is none: a lower-case letter, then letters, digits and underscores"
        if bool(query["expression"]) == bool(query["metric_stat"]):
            yield f"the query {query['id']} needs an expression or a metric_stat, and not both"
    if sum(query["return_data"] for query in queries) != 1:
        yield "exactly one query has return_data true: the one whose values count"


def _nothing(name: str, value: Any) -> bool:
    """Whether a field says nothing; without dimensions is the same as with none."""
    return value is None or (name == "dimensions" and not value)


def _without_id(query: Mapping) -> dict[str, Any]:
    return type(query)({name: value for name, value in query.items() if name != "id"})


def _snake(name: str) -> str:
    return _IRREGULAR_BACK.get(name) or re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _pascal(name: str) -> str:
    return _IRREGULAR.get(name) or "".join(part.capitalize() for part in name.split("_"))
