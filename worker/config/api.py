"""The API: takes questions, hands them to the workers, and returns their answers. `python -m config.api` serves it."""

import contextlib
import json
import logging
import os
import signal
import sys
import uuid

import uvicorn
from celery.result import denied_join_result
from kombu.exceptions import OperationalError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from config import diagnosis, settings, tasks
from config.celery import app as celery

logger = logging.getLogger("uvicorn.error")

# Beside kombu's own connections, which go on trying: who asks for a queue's depth does not wait for that. The one retry
# replaces a pooled connection that died unused.
broker = Redis.from_url(
    settings.BROKER_URL, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), retries=1)
)

MAX_BODY = 256 * 1024  # bytes
MAX_TEXTS, MAX_TEXT = 64, 8000  # texts per request, characters per text

# A caller waits for this process: say after a few seconds that the broker is away, where a worker would wait for it.
celery.conf.update(
    broker_transport_options={
        **celery.conf.broker_transport_options,
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
    },
    redis_socket_timeout=2,
    redis_socket_connect_timeout=2,
    redis_retry_on_timeout=False,
    # The one retry replaces a pooled connection that died unused.
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0},
)


def _text(body: dict, name: str, limit: int) -> str:
    """Return the text `name` of a body; raises a 400 when it is missing, empty or too long."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise HTTPException(400, f'"{name}" must be a text that is not empty.')
    if len(value) > limit:
        raise HTTPException(400, f'"{name}" must not be longer than {limit} characters.')
    return value


async def _json_object(request: Request) -> dict:
    """Return the JSON object in a request's body; raises a 400 or 413."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"The body must not be larger than {MAX_BODY // 1024} KiB.")
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # JSON can write half of a surrogate pair ("\ud800"); neither the model nor a reply in UTF-8 can.
        raise HTTPException(400, "The body holds a character that does not exist: half of a surrogate pair.") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise HTTPException(400, "The body must be a JSON object.")
    return value


def _submit(task, **arguments) -> JSONResponse:
    """Queue a task; return 202 with its id."""
    task_id = str(uuid.uuid4())
    # Marks the task as known, which Celery does not: for it an unknown id and a waiting task are the same.
    waiting = {"task_id": task_id, "status": "PENDING", "result": None}
    backend = celery.backend
    backend.client.set(backend.get_key_for_task(task_id), backend.encode(waiting), ex=settings.RESULT_EXPIRES, nx=True)
    task.apply_async(kwargs=arguments, task_id=task_id)
    logger.info("Queued %s[%s]", task.name, task_id)
    return JSONResponse({"task_id": task_id, "status_url": f"/api/ai/tasks/{task_id}/"}, 202)


async def ask_async(request: Request) -> JSONResponse:
    """POST /api/ai/ask-async/ {"student_id", "question"}: queue a question."""
    body = await _json_object(request)
    arguments = {"student_id": _text(body, "student_id", 200), "question": _text(body, "question", MAX_TEXT)}
    return await run_in_threadpool(_submit, tasks.ask, **arguments)


async def embed_async(request: Request) -> JSONResponse:
    """POST /api/ai/embed-async/ {"texts": [text, ...]}: queue texts to be embedded."""
    body = await _json_object(request)
    texts = body.get("texts")
    if not isinstance(texts, list) or not 0 < len(texts) <= MAX_TEXTS:
        raise HTTPException(400, f'"texts" must be a list of 1 to {MAX_TEXTS} texts.')
    if not all(isinstance(text, str) and text.strip() and len(text) <= MAX_TEXT for text in texts):
        raise HTTPException(400, f'Each of "texts" must be a text of 1 to {MAX_TEXT} characters.')
    return await run_in_threadpool(_submit, tasks.embed, texts=texts)


def task_status(request: Request) -> JSONResponse:
    """GET /api/ai/tasks/<id>/: {"task_id", "state"} with "result" or "error" once there is one.

    States are Celery's: PENDING, STARTED, RETRY, SUCCESS, FAILURE.
    """
    task_id = str(request.path_params["task_id"])
    backend = celery.backend
    stored = backend.client.get(backend.get_key_for_task(task_id))
    if stored is None:
        raise HTTPException(
            404, f"No task has this id, or its result is older than {settings.RESULT_EXPIRES // 3600} hours."
        )
    meta = backend.decode(stored)
    body = {"task_id": task_id, "state": meta["status"]}
    if meta["status"] == "SUCCESS":
        body["result"] = meta["result"]
    elif meta["status"] in ("FAILURE", "RETRY"):
        error = meta["result"]
        body["error"] = " ".join(map(str, error["exc_message"])) or error["exc_type"]
    return JSONResponse(body)


def health(_: Request) -> JSONResponse:
    """GET /health: this process is alive. Independent of the broker, whose outage a new container would not mend."""
    return JSONResponse({"status": "ok"})


def ready(_: Request) -> JSONResponse:
    """GET /ready: the broker answers, and what beat's last refresh of the courses found (null before the first)."""
    courses = celery.backend.client.get(tasks.COURSES_KEY)
    return JSONResponse({"status": "ok", "courses": courses and json.loads(courses)})


def queues(_: Request) -> JSONResponse:
    """GET /api/ai/queues/: how many messages wait in each queue, and how many workers have taken and not acknowledged.

    With the Redis transport a queue is a list, and "unacked" a hash of all queues' messages.
    """
    names = sorted(settings.TIME_LIMIT)
    pipeline = broker.pipeline(transaction=False)
    for name in names:
        pipeline.llen(name)
    *lengths, unacked = pipeline.hlen("unacked").execute()
    return JSONResponse({"queues": dict(zip(names, lengths, strict=True)), "unacked": unacked})


def diagnose(_: Request) -> JSONResponse:
    """GET /api/ai/diagnosis/: what config.diagnosis finds. 200 also when Redis is away, which then is what it tells."""
    return JSONResponse(diagnosis.look())


def _failed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _broker_away(_: Request, error: Exception) -> JSONResponse:
    logger.error("The broker cannot be used: %s", error)
    return JSONResponse(
        {"error": "The task queue cannot be reached at the moment; nothing was queued, please try again."},
        503,
        {"Retry-After": "5"},
    )


@contextlib.asynccontextmanager
async def _lifespan(_: Starlette):
    # Without it each task sent would also open a subscription to its result, which nobody here waits for.
    with denied_join_result():
        yield


app = Starlette(
    routes=[
        Route("/api/ai/ask-async/", ask_async, methods=["POST"]),
        Route("/api/ai/embed-async/", embed_async, methods=["POST"]),
        Route("/api/ai/tasks/{task_id:uuid}/", task_status),
        Route("/api/ai/queues/", queues),
        Route("/api/ai/diagnosis/", diagnose),
        Route("/health", health),
        Route("/ready", ready),
    ],
    exception_handlers={HTTPException: _failed, OperationalError: _broker_away, RedisError: _broker_away},
    lifespan=_lifespan,
)


def main() -> None:
    """Serve on HOST (0.0.0.0) and PORT (8000) until SIGTERM, then finish the requests at hand and exit with 0."""
    # uvicorn sends itself the signal again once it has stopped, which would count as a death by signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        app,
        host=os.environ.get("HOST") or "0.0.0.0",  # noqa: S104  the container's own network interface
        port=int(os.environ.get("PORT") or 8000),
        timeout_graceful_shutdown=20,
        # Above the load balancer's idle timeout of 60 s, or it sends requests into connections that close: a 502.
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html
        timeout_keep_alive=75,
        server_header=False,
        access_log=False,  # mostly health checks; the load balancer keeps an access log
    )


if __name__ == "__main__":
    main()
