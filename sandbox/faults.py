"""AWS on a bad day: a proxy before the sandbox that slows, throttles, breaks and hangs API calls.

`up --latency 80ms --throttle 0.3 ...` starts it as a process of the sandbox's; clients get its address, while the
sandbox's own tasks go on using the daemon's. What a call is and how its service words an error is microburst's work
(https://pypi.org/project/microburst/). Its rules, though, know neither a seed nor token buckets, and cannot lose the
answer of a call that was carried out other than by a reset; so which call meets what is decided here.

`GET /_sandbox/faults` shows the settings and what was done so far, `PUT` replaces the settings; tests do that instead
of starting another sandbox. `status` shows them too.

The k-th call of an operation meets the same fault in every run with the same seed, whatever else runs beside it.
A throttled call is not carried out. Of errors, resets and hangs, half strike before the call is carried out and half
after, when only the answer is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import fnmatch
import hashlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .core import REPOSITORY

log = logging.getLogger("sandbox")

RATE_LIMITS = Path(__file__).with_name("rate_limits.json")
KINDS = ("throttle", "errors", "resets", "hangs")
DEFAULTS: dict[str, Any] = {
    "latency": 0.0,  # seconds, added to each call
    **dict.fromkeys(KINDS, 0.0),  # shares of the calls
    "seed": 0,
    "rate_limit": None,  # a file like rate_limits.json
    # the call, or write, counted from the first after these settings, that is carried out and not answered, and after
    # which none is carried out
    "hold": None,
    "hold_write": None,
}
THROTTLED = {"ec2": "RequestLimitExceeded", "s3": "SlowDown"}
"""What a throttled call is answered; otherwise it follows from the protocol (`throttling_code`)."""
READS = ("Describe", "Get", "List", "BatchGet", "Head", "Lookup", "Search", "Simulate", "Filter")
"""Operations whose names begin so change nothing."""


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("faults", "what every API call through the endpoint meets (default: nothing)")
    group.add_argument("--latency", type=duration, metavar="80ms", help="added to each call; 80ms or 0.08s")
    for name, text in (
        ("throttle", "is answered as the service throttles, and not carried out"),
        ("errors", "is answered 503 before, or 500 after it is carried out"),
        ("resets", "has its connection reset before, or after it is carried out"),
        ("hangs", "is never answered, carried out or not"),
    ):
        group.add_argument(f"--{name}", type=share, metavar="0.1", help=f"this share of the calls {text}")
    group.add_argument("--seed", type=int, metavar="N", help="another number, other calls that meet them (0)")
    group.add_argument("--rate-limit", nargs="?", const=str(RATE_LIMITS), type=whole_path, metavar="FILE",
                       help="token buckets by operation; without FILE those of rate_limits.json")  # fmt: skip


def whole_path(name: str) -> str:
    return str(Path(name).resolve())


def duration(text: str) -> float:
    """Seconds of `80ms` or `0.08s`."""
    for unit, factor in (("ms", 0.001), ("s", 1.0)):
        with contextlib.suppress(ValueError):
            if text.endswith(unit) and 0 <= (value := float(text.removesuffix(unit))) < 3600:
                return value * factor
    raise argparse.ArgumentTypeError(f"{text!r} is no duration: say 80ms or 0.08s")


def share(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no share of the calls: say 0.3 for 30 %")


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that were given. Empty: no proxy is needed."""
    return {name: value for name in DEFAULTS if (value := getattr(arguments, name, None)) is not None}


def options(given: Mapping[str, Any]) -> list[str]:
    """`settings` as options again."""
    words = []
    for name, value in given.items():
        words += [f"--{name.replace('_', '-')}", f"{value}s" if name == "latency" else str(value)]
    return words


def line(report: Mapping[str, Any]) -> str:
    """`Faults.report` for `status`."""
    given = {name: value for name, value in report["settings"].items() if value != DEFAULTS[name]}
    done = ", ".join(f"{count} {kind}" for kind, count in sorted(report["done"].items())) or "none yet"
    return f"{' '.join(options(given)) or 'none'}; of {report['calls']} calls: {done}"


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Whole settings of some; ValueError for what makes no sense."""
    unknown = set(given) - set(DEFAULTS)
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    whole = {**DEFAULTS, **given}
    if not sum(whole[kind] for kind in KINDS) <= 1:
        raise ValueError(f"{', '.join(KINDS)} together are more than all calls")
    return whole


class Bucket:
    """Tokens: `burst` at most, `rate` more each second."""

    def __init__(self, burst: float, rate: float):
        self.burst, self.rate = burst, rate
        self.tokens, self.filled = float(burst), time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.rate)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Buckets:
    """One bucket for each line of the table; lines whose operations have a `*` keep one for each operation."""

    def __init__(self, table: Mapping[str, Any]):
        self.lines = [(line["operations"].split(), line["burst"], line["rate"]) for line in table["buckets"]]
        self.buckets: dict[str, Bucket] = {}

    def take(self, operation: str) -> bool:
        """Whether `ecs:DescribeServices` may go on now."""
        for number, (patterns, burst, rate) in enumerate(self.lines):
            if any(fnmatch.fnmatchcase(operation, pattern) for pattern in patterns):
                name = operation if any("*" in pattern for pattern in patterns) else str(number)
                return self.buckets.setdefault(name, Bucket(burst, rate)).take()
        return True


class Faults:
    """Decides what each call meets."""

    def __init__(self, given: Mapping[str, Any]):
        self.settings = checked(given)
        limits = self.settings["rate_limit"]
        self.buckets = Buckets(json.loads(Path(limits).read_text())) if limits else None
        self.calls = self.writes = 0
        self.holding = False
        self.seen: collections.Counter[str] = collections.Counter()
        self.over_the_limit: collections.Counter[str] = collections.Counter()
        self.done: collections.Counter[str] = collections.Counter()

    def fate(self, operation: str) -> tuple[str, bool]:
        """``(kind, carried out)`` of the next call of ``ecs:CreateService``; kind is empty for one that goes well."""
        if self.holding:
            return "held", False
        self.calls += 1
        self.seen[operation] += 1
        write = not operation.partition(":")[2].startswith(READS)
        self.writes += write
        if self.calls == self.settings["hold"] or (write and self.writes == self.settings["hold_write"]):
            self.holding = True
            return "held", True
        return self._fate(operation, self.seen[operation])

    def _fate(self, operation: str, number: int) -> tuple[str, bool]:
        if self.buckets and not self.buckets.take(operation):
            self.over_the_limit[operation] += 1
            return "throttle", False
        digest = hashlib.blake2b(f"{self.settings['seed']} {operation} {number}".encode(), digest_size=9).digest()
        draw, after = int.from_bytes(digest[:8]) / 2**64, bool(digest[8] & 1)
        for kind in KINDS:
            if draw < self.settings[kind]:
                return kind, after and kind != "throttle"
            draw -= self.settings[kind]
        return "", True

    def report(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "calls": self.calls,
            "writes": self.writes,
            "done": dict(self.done),
            "by_operation": dict(self.seen),
            "over_the_limit": dict(self.over_the_limit),
        }


def throttling_code(service: str | None, protocol: str | None) -> str:
    """The code with which this service throttles (botocore knows all of them as such)."""
    by_protocol = {"query": "Throttling", "ec2": "RequestLimitExceeded", "rest-xml": "Throttling"}
    by_protocol |= {"rest-json": "TooManyRequestsException"}
    return THROTTLED.get(service or "") or by_protocol.get(protocol or "", "ThrottlingException")


class Proxy:
    """The aiohttp application before the daemon at `upstream`."""

    def __init__(self, upstream: str, given: Mapping[str, Any]):
        self.upstream = upstream
        self.faults = Faults(given)

    async def run(self, listening: socket.socket) -> None:
        import aiohttp
        from aiohttp import web

        self.session = aiohttp.ClientSession(
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            connector=aiohttp.TCPConnector(limit=0, force_close=True),  # moto's server closes them all the same
        )
        application = web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/{path:.*}", self.answer)
        # a client that has given up waiting ends its handler
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listening, backlog=128).start()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await stopped.wait()
        await runner.cleanup()
        await self.session.close()

    async def answer(self, request):
        if request.path.startswith(("/_sandbox/", "/moto-api/")):
            return await self.own(request)
        from microburst.detection import detect

        body = await request.read()
        url = request.rel_url
        # The host is 127.0.0.1 and tells nothing; to find that out, microburst would read the models of all services.
        headers = request.headers.copy()
        headers.popall("Host", None)
        call = detect(headers, request.method, url.raw_path, url.query, body)
        operation = f"{call.service}:{call.operation}"
        kind, carried_out = self.faults.fate(operation)
        if self.faults.settings["latency"]:
            await asyncio.sleep(self.faults.settings["latency"])
        response = await self.relay(request, body) if carried_out else None
        if not kind:
            return response
        self.faults.done[kind] += 1
        log.info("fault: %s %s, %scarried out", operation, kind, "" if carried_out else "not ")
        if kind == "resets":
            return self.reset(request)
        if kind in ("hangs", "held"):
            await asyncio.sleep(3600)  # until the client hangs up
            return self.reset(request)
        return self.error(call, kind, carried_out)

    @staticmethod
    def error(call, kind: str, carried_out: bool):
        from aiohttp import web
        from microburst.protocols import render_error

        if kind == "throttle":
            code, message, status = throttling_code(call.service, call.protocol), "Rate exceeded", None
        elif carried_out:
            code, message, status = "InternalFailure", "An internal error has occurred.", 500
        else:
            code, message, status = "ServiceUnavailable", "Service is unable to handle request.", 503
        status, headers, body = render_error(
            call.service, code, message, status, protocol=call.protocol, query_compat=call.query_compat,
            request_ct=call.headers.get("Content-Type"), resource=call.path,
        )  # fmt: skip
        return web.Response(status=status, headers=headers, body=b"" if call.method == "HEAD" else body)

    @staticmethod
    def reset(request):
        from aiohttp import web

        if request.transport is not None:
            # without waiting for what is still to be sent: RST, where closing would send FIN
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            with contextlib.suppress(OSError):
                request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            request.transport.abort()
        return web.Response()

    async def relay(self, request, body: bytes):
        import aiohttp
        from aiohttp import web
        from microburst.forward import HOP_BY_HOP

        def end_to_end(headers):
            return [(name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP]

        url = self.upstream + request.rel_url.raw_path_qs
        headers = [*end_to_end(request.headers), ("Host", request.host)]
        try:
            async with self.session.request(
                request.method, url, headers=headers, data=body, allow_redirects=False
            ) as answer:
                content = await answer.read()
        except aiohttp.ClientError as error:
            log.warning("the sandbox at %s does not answer: %s", self.upstream, error)
            return web.Response(status=502, text=f"The sandbox does not answer: {error}")
        headers = end_to_end(answer.headers)
        if request.method == "HEAD":  # aiohttp would say that there is nothing
            headers += [("Content-Length", answer.headers.get("Content-Length", "0"))]
        return web.Response(status=answer.status, headers=headers, body=content)

    async def own(self, request):
        from aiohttp import web

        if request.path == "/_sandbox/faults":
            if request.method == "PUT":
                try:
                    self.faults = Faults(await request.json())
                except (ValueError, OSError) as error:
                    return web.json_response({"error": str(error)}, status=400)
            return web.json_response(self.faults.report())
        response = await self.relay(request, await request.read())
        if request.path == "/_sandbox/status" and response.status == 200:
            answer = json.loads(response.body)
            return web.json_response(
                {
                    **answer,
                    "endpoint": f"http://{request.host}",
                    "daemon": self.upstream,
                    "faults": self.faults.report(),
                }
            )
        return response


def start(sandbox, listening: socket.socket, given: Mapping[str, Any]) -> None:
    """Start the proxy on the socket `listening`, which is closed here; it ends with the sandbox's other processes."""
    command = [sys.executable, "-m", "sandbox.faults", sandbox.endpoint, str(listening.fileno()), json.dumps(given)]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    sandbox.processes.start(
        command, env=env, cwd=REPOSITORY, stdout=sys.stderr, pass_fds=[listening.fileno()], lasting=True
    )
    listening.close()


def main(upstream: str, descriptor: str, given: str) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with socket.socket(fileno=int(descriptor)) as listening:
        asyncio.run(Proxy(upstream, json.loads(given)).run(listening))


if __name__ == "__main__":
    main(*sys.argv[1:])
