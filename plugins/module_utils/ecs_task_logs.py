# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The last log lines of services' tasks, those that have ended among them, in the order of time."""

from __future__ import annotations

import heapq
import re
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_verbs
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_rollout import short
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Refused

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def describe(aws: Aws, params: Mapping) -> list[dict[str, Any]]:
    """Events, oldest first: ``{timestamp, service, container, task, message}``."""
    since = time.time() - seconds(params["since"])
    services = ecs_verbs.find(aws, params, params["services"])
    arns = {d["taskDefinition"]: name for name, service in services.items() for d in service["deployments"]}
    # Revisions mostly write to the same place, and so may services: which of them it was, the stream does not tell.
    places: dict[tuple[str, str, str], set[str]] = {}
    for arn, definition in ecs_verbs.definitions(aws, arns).items():
        for place in ecs_verbs.streams(aws, definition):
            places.setdefault(place, set()).add(arns[arn])
    found = together(
        *(lambda p=place: _events(aws, params, since, ",".join(sorted(places[p])), *p) for place in sorted(places))
    )
    return list(heapq.merge(*found, key=lambda event: event["timestamp"]))[-params["lines"] :]


def seconds(since: str) -> int:
    """How long ago ``10m`` is."""
    ago = re.fullmatch(r"(\d+)([smhd])", since)
    if ago is None:
        raise Refused(f"since is {since}; allowed: a number with s, m, h or d, for example 90s, 10m, 2h or 1d.")
    return int(ago[1]) * _UNITS[ago[2]]


def _events(
    aws: Aws, params: Mapping, since: float, service: str, container: str, group: str, prefix: str
) -> list[dict[str, Any]]:
    """https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html: oldest first."""
    logs = aws.client("logs")
    arguments = {"logGroupName": group, "logStreamNamePrefix": prefix, "startTime": int(since * 1000)}
    if params["filter"]:
        arguments["filterPattern"] = params["filter"]
    last: deque[dict[str, Any]] = deque(maxlen=params["lines"])
    try:
        for page in logs.get_paginator("filter_log_events").paginate(**arguments):
            last.extend(
                {
                    "timestamp": event["timestamp"],
                    "service": service,
                    "container": container,
                    "task": event["logStreamName"].removeprefix(prefix),
                    "message": event["message"].rstrip(),
                }
                for event in page["events"]
            )
    except logs.exceptions.ResourceNotFoundException:
        return []  # no log group: nothing was ever written
    # the pages are in order, and events of one page that several streams wrote are not always
    return sorted(last, key=lambda event: event["timestamp"])


def output(aws: Aws, params: Mapping, current: list) -> dict[str, Any]:
    return {
        "events": [{**event, "at": _clock(event)} for event in current],
        "lines": [line(event) for event in current],
    }


def _clock(event: Mapping) -> str:
    return f"{datetime.fromtimestamp(event['timestamp'] / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def line(event: Mapping) -> str:
    """With as much of the task's id as tells tasks apart."""
    return f"{_clock(event)} {event['service']}/{short(event['task'])[:8]} {event['message']}"
