"""python -m bench: what the daily commands cost, beside a playbook of stock modules and the least that is possible.

Everything runs on a sandbox of its own, one after the other, so that a slow or busy machine moves all sides alike.
CPU seconds stand beside seconds: they tell more on a machine that others use too.

The *floor* is `ansible-playbook` with a play without tasks, plus bench/floor.py, which reads what there is with the
fewest calls that could notice a drift. *stock* is bench/stock/site.yml. The one field is the concurrency of a worker.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import sections
from .run import REPOSITORY, run

SECTIONS = {
    "sandbox": sections.sandbox,
    "speed": sections.speed,
    "rollout": sections.rollout,
    "limits": sections.limits,
}
WHOLE: dict[str, list] = {
    "sections": [*SECTIONS],
    "sizes": [1, 10, 50],
    "latency": [0, 80],
    "sides": ["us", "stock", "floor"],
}
QUICK: dict[str, list] = {"sections": ["speed"], "sizes": [1, 10], "latency": [0, 80], "sides": ["us", "floor"]}


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "SANDBOX_HOME": folder}
        ready = run(env, sys.executable, "-m", "sandbox", "up", "--port", "0", "--latency", "0s")
        try:
            bench = sections.Bench(sandbox_environment(env), ready.seconds, arguments)
            for name in arguments.sections:
                SECTIONS[name](bench)
        finally:
            run(env, sys.executable, "-m", "sandbox", "down")
    if arguments.json:
        arguments.json.write_text(json.dumps(bench.results, indent=2) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--sections", type=names(WHOLE["sections"]), metavar=",".join(SECTIONS))
    parser.add_argument("--sizes", type=numbers, metavar="1,10,50", help="how many queue services")
    parser.add_argument("--latency", type=numbers, metavar="0,80", help="milliseconds added to each API call")
    parser.add_argument("--sides", type=names(WHOLE["sides"]), metavar="us,stock,floor")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median counts; stock has one (3)")
    parser.add_argument("--all", action="store_true", help="with latency let stock do more than nothing, too")
    parser.add_argument("--quick", action="store_true", help="1 and 10 services, without stock: about three minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    arguments = parser.parse_args()
    for name, value in (QUICK if arguments.quick else WHOLE).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return arguments


def names(known: list[str]):
    def parsed(text: str) -> list[str]:
        if set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(known)}")
        return text.split(",")

    return parsed


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def sandbox_environment(env: dict[str, str]) -> dict[str, str]:
    script = 'eval "$("$0" -m sandbox env)"; exec env -0'
    printed = subprocess.run(
        ["sh", "-c", script, sys.executable], env=env, cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout
    return dict(line.split("=", 1) for line in printed.split("\0") if line)


main()
