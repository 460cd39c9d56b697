"""Log delivery: the slow log and the engine's log of every node, line by line, to CloudWatch Logs.

https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Log_Delivery.html
"""

import contextlib
import datetime
import json
import logging
import re
import threading
from typing import Any

from .nodes import RedisError

log = logging.getLogger("sandbox.elasticache")

SECONDS = 0.5
"""Between two looks; ElastiCache looks every few seconds."""
ENGINE_LINE = re.compile(r"(?P<pid>\d+):(?P<role>\w) (?P<time>.+?\d\.\d{3}) (?P<level>[.\-*#]) (?P<message>.*)")


class LogDelivery:
    """Knows of each node how far its logs have been delivered. Its thread starts with the first delivery."""

    def __init__(self, service: Any):
        self.service = service
        self._seen: dict[tuple, int] = {}
        self._thread: threading.Thread | None = None
        self._pause = threading.Event()

    def wake(self) -> None:
        """Called again and again while a group has log deliveries."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="elasticache-logs", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._pause.wait(SECONDS):
            with self.service.lock:
                regions = list(self.service.regions.values())
                work = [
                    (region.name, entry, group, member)
                    for region in regions
                    for group in region.groups.values()
                    for entry in group.settings["LogDeliveryConfigurations"]
                    for member in group.members
                    if entry["DestinationType"] == "cloudwatch-logs" and member.node.alive
                ]
            for region, entry, group, member in work:
                try:
                    self._deliver(region, entry, group, member)
                except (OSError, RedisError) as error:  # a node that has just gone
                    log.debug("%s of %s: %s", entry["LogType"], member.id, error)
                except Exception:
                    log.exception("%s of %s was not delivered", entry["LogType"], member.id)

    def _deliver(self, region: str, entry: dict, group: Any, member: Any) -> None:
        key = (member.id, member.node.popen.pid, entry["LogType"])
        seen = self._seen.get(key, -1)
        if entry["LogType"] == "slow-log":
            found = member.node.slow_log(seen)
            if not found:
                return
            self._seen[key] = found[-1][0]
            records = [_slow(member.id, entry) for entry in found]
        else:
            with open(member.node.folder / "redis.log", errors="replace") as file:
                file.seek(max(seen, 0))
                lines = file.readlines()
                self._seen[key] = file.tell()
            records = [record for line in lines if (record := _engine(member.id, line))]
        if records:
            self._put(region, entry, group, member, records)

    def _put(self, region: str, entry: dict, group: Any, member: Any, records: list[tuple[int, dict]]) -> None:
        logs = self.service.sandbox.client("logs", region)
        where = {
            "logGroupName": entry["DestinationDetails"]["CloudWatchLogsDetails"]["LogGroup"],
            "logStreamName": f"elasticache/{group.settings['Engine']}/{member.id}/0001/{entry['LogType']}",
        }
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_stream(**where)
        form = json.dumps if entry["LogFormat"] == "json" else _text
        records.sort(key=lambda pair: pair[0])
        events = [{"timestamp": moment, "message": form(record)} for moment, record in records]
        logs.put_log_events(**where, logEvents=events)


def _slow(cluster: str, entry: list) -> tuple[int, dict]:
    """One entry of SLOWLOG GET. Of a command with arguments ElastiCache tells the name and their number."""
    number, moment, duration, command, *client = entry
    more = [f"({len(command) - 1} more arguments)"] if len(command) > 1 else []
    record = {
        "CacheClusterId": cluster,
        "CacheNodeId": "0001",
        "Id": number,
        "Timestamp": moment,
        "Duration": duration,
        "Command": " ".join([command[0], *more]),
        "ClientAddress": client[0] if client else "",
        "ClientName": client[1] if len(client) > 1 else "",
    }
    return moment * 1000, record


def _engine(cluster: str, line: str) -> tuple[int, dict] | None:
    """One line of Redis's own log: ``pid:role date level message``."""
    match = ENGINE_LINE.match(line)
    if match is None:
        return None
    try:
        moment = datetime.datetime.strptime(match["time"], "%d %b %Y %H:%M:%S.%f").astimezone()
    except ValueError:
        return None
    level = {".": "DEBUG", "-": "VERBOSE", "*": "NOTICE", "#": "WARNING"}[match["level"]]
    record = {
        "CacheClusterId": cluster,
        "CacheNodeId": "0001",
        "LogLevel": level,
        "Role": match["role"],
        "Time": moment.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC"),
        "Message": match["message"],
    }
    return int(moment.timestamp() * 1000), record


def _text(record: dict) -> str:
    return ",".join(str(value) for value in record.values())
