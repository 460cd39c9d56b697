"""What runs of ansible-playbook did, written down by callback_plugins/steps.py, and whether a check foretold it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CALLBACKS = Path(__file__).parent / "callback_plugins"
READS = ("Describe", "Get", "List", "BatchGet", "Head", "Simulate", "Filter")


def recorded(file: Path) -> list[dict[str, Any]]:
    """The runs, in order; that of one which was interrupted is not among them."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def writes(step: dict[str, Any]) -> list[str]:
    return [name for name in step["operations"] if not name.startswith(READS)]


def unforetold(check: dict[str, Any], run: dict[str, Any]) -> list[tuple]:
    """Where the plan of ``run`` is not that of ``check``: tasks, resources, fields and values.

    Only an id that a check cannot know may differ, and the port of Redis, for the sandbox's nodes share one address.
    """
    if check["changed"] != run["changed"]:
        return [("changed tasks", check["changed"], run["changed"])]
    return [
        difference
        for task, before, after in zip(check["changed"], check["changes"], run["changes"], strict=True)
        for difference in _differences(before, after, task)
        if not difference[0].endswith(".environment.REDIS_PORT")
    ]


def _differences(foretold: Any, done: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(foretold, dict) and isinstance(done, dict) and foretold.keys() == done.keys():
        for key, value in foretold.items():
            yield from _differences(value, done[key], f"{where}.{key}")
    elif isinstance(foretold, list) and isinstance(done, list) and len(foretold) == len(done):
        for number, value in enumerate(foretold):
            yield from _differences(value, done[number], f"{where}[{number}]")
    elif foretold != done and not (isinstance(foretold, str) and re.fullmatch(_pattern(foretold), str(done))):
        yield where, foretold, done


def _pattern(foretold: str) -> str:
    return ".+".join(map(re.escape, re.split(r"\(known after apply: [^)]*\)", foretold)))
