"""python -m sandbox up|down|status|env|logs|reset"""

import argparse
import contextlib
import json
import logging
import math
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import awscli, faults, lock
from .core import REGION, REPOSITORY, SandboxError, redis_server
from .processes import reap, start_time

START_SECONDS, STOP_SECONDS = 30, 15


def main() -> int:
    arguments = parse()
    try:
        return arguments.function(arguments) or 0
    except SandboxError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parse() -> argparse.Namespace:
    home = os.environ.get("SANDBOX_HOME") or REPOSITORY / ".sandbox"
    description = "A local AWS with real Redis and real Celery."
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=description)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(function.__name__, help=text, description=text)
        sub.set_defaults(function=function)
        sub.add_argument("--home", type=Path, default=home, help="folder of all its files (SANDBOX_HOME; %(default)s)")
        return sub

    background, foreground = command(up, "start it in the background"), command(serve, "run it in the foreground")
    foreground.add_argument("--lock", type=int, help=argparse.SUPPRESS)  # descriptor that `up` leaves to its daemon
    for sub in (background, foreground):
        sub.add_argument("--port", type=int, default=number("SANDBOX_PORT", 4566, int),
                         help="port on 127.0.0.1, 0 takes a free one (SANDBOX_PORT; %(default)s)")  # fmt: skip
        sub.add_argument("--time-scale", type=float, default=number("SANDBOX_TIME_SCALE", 1.0, float),
                         help="AWS minutes per minute (SANDBOX_TIME_SCALE; %(default)s)")  # fmt: skip
        faults.add_options(sub)
        sub.add_argument("--enforce-iam", action="store_true", default=bool(os.environ.get("SANDBOX_ENFORCE_IAM")),
                         help="refuse what IAM policies do not allow (SANDBOX_ENFORCE_IAM=1)")  # fmt: skip
        sub.add_argument("--runner", choices=["process", "podman"], default="process",
                         help="podman: tasks whose image is in ECR are containers of it (%(default)s)")  # fmt: skip
    command(down, "stop it and everything that it started")
    command(status, "what runs").add_argument("--json", action="store_true", help="for programs")
    command(env, 'shell variables that point AWS tools at it: eval "$(python -m sandbox env)"')
    command(logs, "the daemon's log").add_argument("-f", "--follow", action="store_true", help="and what comes")
    command(reset, "delete all resources and stop all their processes, keep it running")
    arguments = parser.parse_args()
    arguments.home = Path(arguments.home).resolve()
    if not 0 < getattr(arguments, "time_scale", 1) < math.inf:  # false for nan, too
        parser.error("--time-scale (SANDBOX_TIME_SCALE) must be greater than 0, and finite")
    if not 0 <= getattr(arguments, "port", 0) <= 65535:
        parser.error("--port (SANDBOX_PORT) must be 0 to 65535")
    try:
        faults.Faults(faults.settings(arguments))
    except (ValueError, KeyError, OSError) as error:
        parser.error(f"faults: {error}")
    return arguments


def number(variable: str, default, kind):
    text = os.environ.get(variable) or default
    try:
        return kind(text)
    except ValueError:
        sys.exit(f"sandbox: {variable} is {text!r}: set it to a number.")


def running(home: Path) -> tuple[int, str] | None:
    """(pid, endpoint) of the home's daemon, None when there is none."""
    with contextlib.suppress(OSError, ValueError):
        pid, _, started = (home / "pid").read_text().partition(" ")
        if start_time(int(pid)) == started:
            return int(pid), (home / "endpoint").read_text()
    return None


def call(endpoint: str, path: str, method: str = "GET") -> dict:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(f"{endpoint}/_sandbox/{path}", method=method)  # noqa: S310 - our own endpoint
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise SandboxError(
            f"The sandbox at {endpoint} does not answer ({error}): see `python -m sandbox logs`, "
            "then `python -m sandbox down` and `up`."
        ) from error


def demand(arguments) -> tuple[int, str]:
    found = running(arguments.home)
    if not found:
        raise SandboxError(f"The sandbox in {arguments.home} is not running: start it with `python -m sandbox up`.")
    return found


def up(arguments) -> None:
    home = arguments.home
    redis_server()
    deadline = time.monotonic() + START_SECONDS
    make_home(home)
    while not (held := lock.take(home)):  # somebody runs it, starts it or stops it
        found = running(home)
        if found:
            call(found[1], "ping")
            print(f"The sandbox is already running at {found[1]} (pid {found[0]}).")
            return
        if time.monotonic() > deadline:
            raise SandboxError(f"Another process has been starting it for {START_SECONDS} seconds: see {home / 'log'}.")
        time.sleep(0.05)
    with held:
        lock.sign(held)
        start(arguments, held)


def start(arguments, held) -> None:
    """Start the daemon, which inherits the lock `held`, and wait until it answers."""
    home, log = arguments.home, arguments.home / "log"
    if log.exists():
        log.replace(home / "log.1")
    print(f"Starting the sandbox in {home} ...", flush=True)
    signals: list[int] = []  # only noted: an exception could strike between the start of the daemon and `daemon =`
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    started = time.monotonic()
    serve = ["serve", "--home", home, "--port", arguments.port, "--time-scale", arguments.time_scale]
    serve += faults.options(faults.settings(arguments))
    serve += ["--enforce-iam"] if arguments.enforce_iam else []
    serve += ["--runner", arguments.runner]
    with log.open("w") as output:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "sandbox", *map(str, serve), "--lock", str(held.fileno())],
            cwd=REPOSITORY,
            env={**os.environ, "MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[held.fileno()],
        )
    try:
        while not (found := running(home)):
            if signals:
                sys.exit(128 + signals[0])
            if daemon.poll() is not None:
                lines = log.read_text().splitlines()
                reason = next((line for line in lines if line.startswith("sandbox: ")), None)
                raise SandboxError(reason.removeprefix("sandbox: ") if reason else f"It did not start: see {log}.")
            if time.monotonic() - started > START_SECONDS:
                raise SandboxError(f"It did not answer within {START_SECONDS} seconds: see {log}.")
            time.sleep(0.05)
        pid, endpoint = found
        call(endpoint, "ping")
        awscli.write_config(home, REGION, endpoint)
    except BaseException:  # Ctrl-C included: half a sandbox is worse than none
        daemon.terminate()
        try:
            daemon.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        raise
    print(f"Ready at {endpoint} (pid {pid}) after {time.monotonic() - started:.1f} s.")
    print('Point this shell at it:  eval "$(python -m sandbox env)"')


def make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        (home / "lock").touch()
    except OSError as error:
        raise SandboxError(
            f"The folder {home} cannot be used ({error.strerror}): set SANDBOX_HOME to another one."
        ) from error


def serve(arguments) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for name in ("botocore", "boto3", "urllib3", "werkzeug", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    make_home(arguments.home)
    held = os.fdopen(arguments.lock, "a+") if arguments.lock is not None else lock.take(arguments.home)
    if not held:
        raise SandboxError(f"Another sandbox uses the folder {arguments.home}: set SANDBOX_HOME to another one.")
    os.dup(held.fileno())  # never closed: the lock is free when the process has ended, not when this function has
    lock.sign(held)
    from . import server

    server.serve(
        arguments.home,
        arguments.port,
        arguments.time_scale,
        faults.settings(arguments),
        arguments.enforce_iam,
        arguments.runner,
    )


def down(arguments) -> None:
    home = arguments.home
    if not (home / "lock").exists():
        print("The sandbox was not running.")
        return
    asked: dict[int, str | None] = {}  # pid -> start time; first an `up`, then the daemon that it has started
    deadline = time.monotonic() + STOP_SECONDS
    while not (held := lock.take(home)):
        pid, late = lock.holder(home), time.monotonic() > deadline
        if pid and (late or pid not in asked):
            asked[pid] = start_time(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.05)
    with held:
        while any(began and start_time(pid) == began for pid, began in asked.items()):
            time.sleep(0.01)  # the kernel takes a process's files away before the process
        left = reap(home / "processes")
        for name in ("pid", "endpoint"):
            (home / name).unlink(missing_ok=True)
    print("The sandbox is stopped." if asked or left else "The sandbox was not running.")


def status(arguments) -> int:
    if not running(arguments.home):
        print(json.dumps({"running": False}) if arguments.json else f"The sandbox in {arguments.home} is not running.")
        return 3  # as systemctl
    answer = call(running(arguments.home)[1], "status")
    if arguments.json:
        print(json.dumps({"running": True, **answer}, indent=2))
        return 0
    print(f"{answer['endpoint']}  pid {answer['pid']}  {answer['memory_mb']} MB  {answer['processes']} processes")
    if "faults" in answer:
        print(f"faults         {faults.line(answer['faults'])}")
    for row in answer["redis"]:
        print(f"redis          {row['name']}: {row['status']}, {row['nodes']} nodes, {row['endpoint']}")
    for row in answer["services"]:
        print(f"service        {row['name']}: {row['running']}/{row['desired']} running, {row['task_definition']}")
    for row in answer["load_balancers"]:
        listeners = ", ".join(f"port {port} is {url}" for port, url in row["listeners"].items()) or "no listener"
        print(f"load balancer  {row['name']}: {row['state']}, {listeners}")
    return 0


def env(arguments) -> None:
    _, endpoint = demand(arguments)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        print(f"unset {name}")
    for name, value in variables(arguments.home, endpoint).items():
        print(f"export {name}={shlex.quote(value)}")


def variables(home: Path, endpoint: str) -> dict[str, str]:
    """The environment of a shell that works with the sandbox."""
    config, credentials = awscli.write_config(home, REGION, endpoint)
    tools = str(Path(sys.executable).parent)
    path = [folder for folder in os.environ.get("PATH", "").split(":") if folder != tools]
    no_proxy = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    direct = ",".join(dict.fromkeys([*filter(None, no_proxy.split(",")), "127.0.0.1", "localhost"]))
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_PAGER": "",
        "SANDBOX_HOME": str(home),
        "NO_PROXY": direct,
        "no_proxy": direct,
        "PATH": ":".join([tools, *path]),
    }


def logs(arguments) -> None:
    path = arguments.home / "log"
    if not path.exists():
        raise SandboxError(f"There is no log in {arguments.home}: start the sandbox with `python -m sandbox up`.")
    with path.open(errors="replace") as file:
        while True:
            line = file.readline()
            if line:
                sys.stdout.write(line)
            elif not arguments.follow:
                return
            else:
                sys.stdout.flush()
                time.sleep(0.2)


def reset(arguments) -> None:
    _, endpoint = demand(arguments)
    call(endpoint, "reset", "POST")
    print("The sandbox is empty.")


if __name__ == "__main__":
    sys.exit(main())
