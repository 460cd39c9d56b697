"""python -m bench: how long the daily commands take, each as a multiple of what it is compared with.

Both sides of a ratio run right after each other on the same machine, so a slow or busy one moves both. It takes about
three minutes and starts a sandbox of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
IDLE_SECONDS = 30
SERVICES = [
    {"name": f"worker-{number}", "queues": ["embeddings"], "min_count": 0, "desired_count": 0} for number in range(10)
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "SANDBOX_HOME": folder}
        ready = seconds(env, sys.executable, "-m", "sandbox", "up", "--port", "0")
        show("sandbox: ready", ready, "s")
        try:
            measure(sandbox_environment(env), Path(folder))
        finally:
            seconds(env, sys.executable, "-m", "sandbox", "down")


def measure(env: dict[str, str], home: Path) -> None:
    daemon = psutil.Process(int((home / "pid").read_text().split()[0]))
    show("sandbox: memory, empty", daemon.memory_info().rss / 1e6, "MB")

    site = ("ansible-playbook", "site.yml", "-i", "inventories/dev")
    nothing = seconds(env, "ansible", "localhost", "-m", "ansible.builtin.ping")
    show("ansible localhost -m ping", nothing, "s")
    check, first, again = (seconds(env, *site, *more) for more in (["--check"], [], []))
    compare("site.yml --check on an empty account", check, "of a ping", nothing)
    compare("site.yml, first run", first, "of a ping", nothing)
    compare("site.yml, nothing to do", again, "of a ping", nothing)

    show("sandbox: memory, dev deployed", daemon.memory_info().rss / 1e6, "MB")
    show(f"sandbox: idle CPU over {IDLE_SECONDS} s, dev deployed", idle(daemon), "% of a core")

    worker = (*site, "--tags", "ecs_celery_worker", "-e")
    only_one, all_ten = (json.dumps({"celery_services": services}) for services in (SERVICES[:1], SERVICES))
    seconds(env, *worker, all_ten)
    one, ten = (seconds(env, *worker, services) for services in (only_one, all_ten))
    compare("ten worker services, nothing to do", ten, "of one", one)


def sandbox_environment(env: dict[str, str]) -> dict[str, str]:
    script = 'eval "$("$0" -m sandbox env)"; exec env -0'
    printed = subprocess.run(
        ["sh", "-c", script, sys.executable], env=env, cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout
    return dict(line.split("=", 1) for line in printed.split("\0") if line)


def seconds(env: dict[str, str], *command: str) -> float:
    started = time.monotonic()
    done = subprocess.run(command, env=env, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - started


def idle(daemon: psutil.Process) -> float:
    """Per cent of a core that the daemon uses, with the short-lived helpers that it starts (health checks)."""
    before = daemon.cpu_times()
    time.sleep(IDLE_SECONDS)
    return 100 * (sum(daemon.cpu_times()[:4]) - sum(before[:4])) / IDLE_SECONDS


def show(what: str, value: float, unit: str) -> None:
    print(f"{what:<55} {value:8.2f} {unit}", flush=True)


def compare(what: str, value: float, than: str, base: float) -> None:
    print(f"{what:<55} {value / base:8.2f} {than} ({value:.1f} s)", flush=True)


main()
