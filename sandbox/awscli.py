"""The AWS CLI inside the sandbox's shell: its configuration, and `aws logs tail`, which version 1 of the CLI lacks.

The CLI (version 1) loads this very file as a plugin, by the name under which the clone is linked into the virtual
environment's collections; version 2 has the command itself and ignores the setting. So nothing heavy is imported here.
"""

import importlib.util
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

PLUGIN = "ansible_collections.nexus_learn.aws.sandbox.awscli"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
POLL_SECONDS = 1.0


def write_config(home: Path, region: str, endpoint: str) -> tuple[Path, Path]:
    """Write the AWS CLI's configuration and (empty) credentials files into `home`; returns both paths."""
    config, credentials = home / "aws-config", home / "aws-credentials"
    # the endpoint too, for those who can name a file but not a port that is not chosen yet (molecule's configuration)
    lines = ["[default]", f"region = {region}", "output = json", f"endpoint_url = {endpoint}"]
    if importable(PLUGIN):  # the CLI refuses to start with a plugin that it cannot import
        lines += ["[plugins]", f"nexus_learn_sandbox = {PLUGIN}"]
    config.write_text("\n".join([*lines, ""]))
    credentials.write_text("")
    return config, credentials


def importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def awscli_initialize(events) -> None:
    """Entry point of an AWS CLI plugin."""
    events.register("building-command-table.logs", add_tail)


def add_tail(command_table, session, **_) -> None:
    from awscli.customizations.commands import BasicCommand

    class Tail(BasicCommand):
        NAME = "tail"
        DESCRIPTION = "Prints the events of a log group, oldest first, and with --follow those to come."
        ARG_TABLE = [  # noqa: RUF012 - the CLI's own convention
            {"name": "group_name", "positional_arg": True, "help_text": "The log group."},
            {
                "name": "since",
                "default": "10m",
                "help_text": "From when: 30s, 10m, 2h, 1d, 1w ago or an ISO 8601 time.",
            },
            {"name": "follow", "action": "store_true", "default": False, "help_text": "Go on until interrupted."},
            {
                "name": "format",
                "default": "detailed",
                "choices": ["detailed", "short"],
                "help_text": "short: no stream.",
            },
            {"name": "filter-pattern", "help_text": "A CloudWatch Logs filter pattern."},
            {"name": "log-stream-names", "nargs": "+", "help_text": "Only these streams."},
        ]

        def _run_main(self, parsed_args, parsed_globals):
            client = self._session.create_client(
                "logs",
                region_name=parsed_globals.region,
                endpoint_url=parsed_globals.endpoint_url,
                verify=parsed_globals.verify_ssl,
            )
            tail(client, parsed_args, sys.stdout)
            return 0

    command_table["tail"] = Tail(session)


def tail(client, arguments, output) -> None:
    """Print events until there are no more, with `follow` until Ctrl-C."""
    request = {"logGroupName": arguments.group_name, "startTime": milliseconds(arguments.since, time.time())}
    if arguments.filter_pattern:
        request["filterPattern"] = arguments.filter_pattern
    if arguments.log_stream_names:
        request["logStreamNames"] = arguments.log_stream_names
    seen: set[str] = set()
    while True:
        events = [
            event for page in client.get_paginator("filter_log_events").paginate(**request) for event in page["events"]
        ]
        for event in sorted(events, key=lambda event: event["timestamp"]):
            if event["eventId"] not in seen:
                print(line(event, arguments.format), file=output)
        output.flush()
        if not arguments.follow:
            return
        if events:  # events may arrive late within the same second: ask again from a little before the last one
            newest = max(event["timestamp"] for event in events)
            request["startTime"] = max(request["startTime"], newest - 5000)
            seen = {event["eventId"] for event in events}
        time.sleep(POLL_SECONDS)


def line(event: dict, form: str) -> str:
    """An event as version 2 of the CLI prints it."""
    moment = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    message = event["message"].rstrip("\n")
    if form == "short":
        return f"{moment:%Y-%m-%dT%H:%M:%S} {message}"
    return f"{moment.isoformat(timespec='microseconds')} {event['logStreamName']} {message}"


def milliseconds(since: str, now: float) -> int:
    """The time that --since means, in milliseconds since 1970."""
    ago = re.fullmatch(r"(\d+)([smhdw])", since)
    if ago:
        return int((now - int(ago[1]) * UNITS[ago[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise ValueError(f"--since {since} is neither an age such as 10m nor an ISO 8601 time.") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
