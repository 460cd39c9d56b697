"""What `python -m bench` measures, one function for each section of its output."""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import psutil
from botocore.config import Config

from sandbox.faults import RATE_LIMITS

from .run import Run, middle, peak_memory, run

PREFIX = "nexus-learn"
US, STOCK, EMPTY, ROLLOUT = (
    ("ansible-playbook", playbook, "-i", "inventories/dev")
    for playbook in ("site.yml", "bench/stock/site.yml", "bench/empty.yml", "bench/rollout.yml")
)
FIRST, NOTHING, CHANGE = "first deployment", "nothing to do", "one field changed"
IDLE_SECONDS = 30
ROLLED_OUT, SLOWEST_SECONDS = 50, 60
MANY = 200


@dataclass
class Bench:
    """The sandbox (its environment, how long it took to start), what is asked, and what was found."""

    env: dict[str, str]
    ready: float
    arguments: argparse.Namespace
    results: list[dict] = field(default_factory=list)
    floors: dict[tuple[int, int], Run] = field(default_factory=dict)
    latency: int = 0  # milliseconds
    limited: bool = False  # by AWS's rate limits

    def run(self, *command: str) -> Run:
        settings = {"latency": self.latency / 1000, "rate_limit": str(RATE_LIMITS) if self.limited else None}
        return run(self.env, *command, settings=settings)

    def play(self, playbook: tuple[str, ...], size: int, concurrency: int = 2) -> Run:
        return self.run(*playbook, "-e", json.dumps({"celery_services": services(size, concurrency)}))

    def reset(self) -> None:
        run(self.env, sys.executable, "-m", "sandbox", "reset")

    def show(self, what: str, value: float, unit: str) -> None:
        print(f"{what:<60}{value:10.2f} {unit}", flush=True)
        self.results.append({"what": what, "value": value, "unit": unit})


def services(size: int, concurrency: int = 2) -> list[dict]:
    """Queue services without a task; the first with that concurrency."""
    return [
        {
            "name": f"worker-{number}",
            "queues": [f"queue-{number}"],
            "min_count": 0,
            "desired_count": 0,
            "concurrency": 2 if number else concurrency,
        }
        for number in range(size)
    ]


# --- the sandbox -------------------------------------------------------------------------------------------------


def sandbox(bench: Bench) -> None:
    title("The sandbox")
    daemon = psutil.Process(int(Path(bench.env["SANDBOX_HOME"], "pid").read_text().split()[0]))
    bench.show("ready after", bench.ready, "s")
    bench.show("memory, empty", daemon.memory_info().rss / 1e6, "MB")
    bench.show("dev: --check on an empty account", bench.run(*US, "--check").seconds, "s")
    bench.show("dev: first deployment", bench.run(*US).seconds, "s")
    bench.show("memory, dev deployed", daemon.memory_info().rss / 1e6, "MB")
    before = daemon.cpu_times()
    time.sleep(IDLE_SECONDS)
    # with the short-lived helpers that it starts (health checks)
    used = sum(daemon.cpu_times()[:4]) - sum(before[:4])
    bench.show(f"idle CPU over {IDLE_SECONDS} s, dev deployed", 100 * used / IDLE_SECONDS, "% of a core")
    bench.reset()


# --- us, stock and the floor -------------------------------------------------------------------------------------


def speed(bench: Bench) -> None:
    title("Us, stock modules and the floor")
    print(f"{'services':>8} {'latency':>7}  {'what':<18}{'who':<6}{'seconds':>16}{'CPU seconds':>16}{'API calls':>14}")
    print(f"{'':41}{'(x: multiple of the floor of nothing to do)':>48}")
    sides = bench.arguments.sides
    for size in bench.arguments.sizes:
        for latency in bench.arguments.latency:
            bench.latency = latency
            _ours(bench, size, latency)
        if "stock" in sides:
            _stock(bench, size)
        bench.latency = 0
    if "us" in sides:
        _aims(bench)


def _ours(bench: Bench, size: int, latency: int) -> None:
    """The floor reads what we have deployed, so we come first."""
    bench.reset()
    first = bench.play(US, size)
    names = [service["name"] for service in services(size)]
    empties, scripts, nothings = [], [], []
    for _ in range(bench.arguments.runs):  # in turns, so that all meet the same machine
        if "floor" in bench.arguments.sides:
            empties.append(bench.run(*EMPTY))
            scripts.append(bench.run(sys.executable, "bench/floor.py", PREFIX, *names))
        if "us" in bench.arguments.sides:
            nothings.append(bench.play(US, size))
    if empties:
        empty, script = middle(empties), middle(scripts)
        bench.floors[size, latency] = Run(
            empty.seconds + script.seconds, empty.cpu + script.cpu, "", Counter(script.calls)
        )
        row(bench, size, latency, NOTHING, "floor", bench.floors[size, latency])
    if nothings:
        row(bench, size, latency, NOTHING, "us", middle(nothings))
        row(bench, size, latency, CHANGE, "us", bench.play(US, size, 3))
        row(bench, size, latency, FIRST, "us", first)
        if latency == 0:
            megabytes = peak_memory(bench.env, *US, "-e", json.dumps({"celery_services": services(size, 3)}))
            bench.show(f"{size} services, nothing to do: peak memory of ansible-playbook", megabytes, "MB")


def _stock(bench: Bench, size: int) -> None:
    """One run each; with latency only nothing to do, unless all is asked for: 50 services take minutes each time."""
    deployed = 0
    for latency in bench.arguments.latency:
        bench.latency = latency
        whole = bench.arguments.all or not deployed
        if whole:
            bench.reset()
            deployed = 2
            row(bench, size, latency, FIRST, "stock", bench.play(STOCK, size, deployed))
        row(bench, size, latency, NOTHING, "stock", bench.play(STOCK, size, deployed))
        if whole:
            deployed = 3
            row(bench, size, latency, CHANGE, "stock", bench.play(STOCK, size, deployed))


def row(bench: Bench, size: int, latency: int, what: str, who: str, cost: Run) -> None:
    floor = bench.floors.get((size, latency))

    def multiple(value: float, least: float) -> str:
        return f" {value / least:5.1f}x" if floor else ""

    calls = cost.calls.total()
    seconds = f"{cost.seconds:8.2f}" + (multiple(cost.seconds, floor.seconds) if floor else "")
    cpu = f"{cost.cpu:8.2f}" + (multiple(cost.cpu, floor.cpu) if floor else "")
    counted = f"{calls:6}" + (multiple(calls, floor.calls.total()) if floor else "")
    changed = "" if who == "floor" else f"  {cost.changed} tasks changed"
    print(f"{size:>8} {latency:>4} ms  {what:<18}{who:<6}{seconds:>16}{cpu:>16}{counted:>14}{changed}", flush=True)
    bench.results.append(
        {
            "services": size,
            "latency_ms": latency,
            "what": what,
            "who": who,
            "seconds": cost.seconds,
            "cpu_seconds": cost.cpu,
            "api_calls": dict(sorted(cost.calls.items())),
        }
    )


def _aims(bench: Bench) -> None:
    """What the table says of what is to be reached."""
    found = {
        (result["services"], result["latency_ms"], result["who"]): result
        for result in bench.results
        if result.get("what") == NOTHING
    }
    title("Nothing to do, in short")
    for (size, latency, who), ours in found.items():
        if who != "us":
            continue
        where = f"{size} services, {latency} ms: "
        floor, stock = (found.get((size, latency, other)) for other in ("floor", "stock"))
        if floor:
            calls = sum(ours["api_calls"].values()) / sum(floor["api_calls"].values())
            bench.show(where + "seconds, of the floor's (aim 1.5)", ours["seconds"] / floor["seconds"], "x")
            bench.show(where + "CPU seconds, of the floor's", ours["cpu_seconds"] / floor["cpu_seconds"], "x")
            bench.show(where + "API calls, of the floor's (aim 1.2)", calls, "x")
        if stock:
            bench.show(where + "faster than stock (aims 12 at 1, 50 at 50)", stock["seconds"] / ours["seconds"], "x")
            bench.show(where + "less CPU than stock", stock["cpu_seconds"] / ours["cpu_seconds"], "x")


# --- rollouts ----------------------------------------------------------------------------------------------------


def rollout(bench: Bench) -> None:
    """All services at once beside the slowest alone; the tasks are real processes (bench/rollout.yml)."""
    title("Rollouts")
    bench.reset()
    ec2 = boto3.client(
        "ec2",
        endpoint_url=bench.env["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106 - any will do
        config=Config(proxies={}),
    )
    subnets = ec2.describe_subnets()["Subnets"]
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [subnets[0]["VpcId"]]}])
    given = {
        "subnets": [subnet["SubnetId"] for subnet in subnets[:2]],
        "security_groups": [groups["SecurityGroups"][0]["GroupId"]],
        "of": ROLLED_OUT,
        "slowest": SLOWEST_SECONDS,
    }

    def roll(numbers: list[int], version: int) -> float:
        return bench.run(*ROLLOUT, "-e", json.dumps({**given, "numbers": numbers, "version": version})).seconds

    everyone = list(range(1, ROLLED_OUT + 1))
    bench.show(f"{ROLLED_OUT} services, first deployment", roll(everyone, 1), "s")
    alone = roll([ROLLED_OUT], 2)
    bench.show("the slowest service alone", alone, "s")
    together = roll(everyone, 3)
    bench.show(f"all {ROLLED_OUT} at once", together, "s")
    bench.show("all, of the slowest (aim 1.2)", together / alone, "x")
    bench.reset()


# --- rate limits -------------------------------------------------------------------------------------------------


def limits(bench: Bench) -> None:
    """Many services under AWS's rate limits; each run begins with full buckets."""
    title(f"{MANY} services under AWS's rate limits (sandbox/{RATE_LIMITS.name}), 80 ms per call")
    bench.reset()
    bench.show("first deployment, without limits and latency", bench.play(US, MANY).seconds, "s")
    bench.latency, bench.limited = 80, True
    for what, concurrency in ((NOTHING, 2), (CHANGE, 3)):
        cost = bench.play(US, MANY, concurrency)
        bench.show(f"{what}: {cost.changed} tasks changed, after", cost.seconds, "s")
        bench.show(f"{what}: API calls", cost.calls.total(), "")
        bench.show(f"{what}: of them throttled", cost.throttled.total(), "")
        for operation, count in cost.throttled.most_common():
            bench.show(f"    {operation}", count, "")
    bench.latency, bench.limited = 0, False
    bench.reset()


def title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)
