"""What only the inside of the VPC can tell of Redis and Celery, for `ansible-playbook playbooks/diagnose.yml`.

Numbers and names of queues, no more: whoever reaches the API may read it. Nothing is changed; the workers are asked as
`celery inspect` asks them, and only for as long as it takes all of them to answer.
"""

import json
import threading
import time

from redis.exceptions import RedisError

from config import settings
from config.celery import app
from config.lifecycle import LAST_RUNS_KEY

PATIENCE = 5  # seconds for all workers to answer; one that is alive does so in milliseconds
FRESH = 2  # seconds for which an answer is given to others, too
OLDEST = 100  # unacknowledged messages that are looked at
SETTLED = 10  # seconds after which a message that is at work is known to its worker as such

_one_at_a_time = threading.Lock()
_latest: tuple[float, dict] = (0.0, {})


def look() -> dict:
    """Return what there is to tell; what could not be found out is missing, and named in "errors" with its reason.

    {"redis": {...}, "queues": {name: messages}, "consumers": {name: workers}, "workers": {"listening", "answering"},
    "unacked": {"messages", "oldest", "lost", "oldest_lost"}, "beat": {entry: {"last_run", "interval"}},
    "visibility_timeout", "errors"}; times are seconds, and how long ago.
    """
    global _latest
    with _one_at_a_time:
        if time.monotonic() - _latest[0] > FRESH:
            _latest = time.monotonic(), _look()
        return _latest[1]


def _look() -> dict:
    found: dict = {"visibility_timeout": settings.VISIBILITY_TIMEOUT, "errors": {}}
    for part in (_redis, _queues, _workers, _unacked, _beat):
        try:
            found |= part()
        except Exception as error:  # which one it is, is part of the diagnosis; its text may name addresses
            kind = next((one for one in type(error).__mro__ if issubclass(one, RedisError)), type(error))
            found["errors"][part.__name__.lstrip("_")] = kind.__name__
    return found


def _redis() -> dict:
    info = app.backend.client.info()
    names = ("role", "used_memory", "maxmemory", "maxmemory_policy", "evicted_keys", "connected_clients")
    return {"redis": {name: info.get(name) for name in names}}


def _queues() -> dict:
    return {"queues": {name: app.backend.client.llen(name) for name in app.amqp.queues}}


def _listening() -> int:
    """Return how many workers hear remote control messages: nobody else subscribes to a pattern (kombu's fanout)."""
    return sum(int(client["psub"]) > 0 for client in app.backend.client.client_list(_type="pubsub"))


def _ask(question: str, listening: int) -> dict:
    if not listening:
        return {}
    return getattr(app.control.inspect(timeout=PATIENCE, limit=listening), question)() or {}


def _workers() -> dict:
    listening = _listening()
    consumed = [{queue["name"] for queue in queues} for queues in _ask("active_queues", listening).values()]
    return {
        "consumers": {name: sum(name in queues for queues in consumed) for name in app.amqp.queues},
        "workers": {"listening": listening, "answering": len(consumed)},
    }


def _unacked() -> dict:
    """Messages that a worker took and has not acknowledged, and those of them that no worker knows of any more."""
    client, now = app.backend.client, time.time()
    ages = {tag: now - taken for tag, taken in client.zrange("unacked_index", 0, OLDEST - 1, withscores=True)}
    settled = {tag: age for tag, age in ages.items() if age > SETTLED}
    lost = []
    if settled:
        listening = _listening()
        answers = [_ask(question, listening) for question in ("active", "reserved", "scheduled")]
        tasks = [task for answer in answers for tasks in answer.values() for task in tasks]
        held = {task.get("request", task)["id"] for task in tasks}
        if all(len(answer) == listening for answer in answers):
            for tag, message in zip(settled, client.hmget("unacked", list(settled)), strict=True):
                if message and json.loads(message)[0]["headers"]["id"] not in held:
                    lost.append(settled[tag])
    return {
        "unacked": {
            "messages": client.zcard("unacked_index"),
            "oldest": max(ages.values(), default=0),
            "lost": len(lost),
            "oldest_lost": max(lost, default=0),
        }
    }


def _beat() -> dict:
    runs = {name.decode(): float(at) for name, at in app.backend.client.hgetall(LAST_RUNS_KEY).items()}
    intervals = {name: entry["schedule"] for name, entry in app.conf.beat_schedule.items()}
    now = time.time()
    return {
        "beat": {
            name: {"last_run": now - runs[name] if name in runs else None, "interval": interval}
            for name, interval in intervals.items()
        }
    }
