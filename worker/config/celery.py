"""The Celery app, found by `celery -A config.celery`.

Each setting is there because Celery's own default hung, lost or repeated tasks under a fault that Redis on AWS has:
dead connections, failover, a full node, a lost container. The values that differ between processes are set by
`config.lifecycle` (worker) and `config.api`.
"""

import socket

from celery import Celery
from kombu import Exchange, Queue

from config import settings

QUEUES = {
    "config.tasks.ask": "langgraph",
    "config.tasks.embed": "embeddings",
    "config.tasks.refresh_courses": "embeddings",
}

app = Celery("nexus_learn", broker=settings.BROKER_URL, backend=settings.RESULT_BACKEND, include=["config.tasks"])
app.loader.override_backends = dict.fromkeys(("redis", "rediss"), "config.lifecycle:Backend")

app.conf.update(
    # Queues. One priority level, so that a queue is one Redis list whose length (LLEN) is the backlog.
    task_queues=[Queue(name, Exchange(name), routing_key=name) for name in settings.TIME_LIMIT],
    task_routes={task: {"queue": queue} for task, queue in QUEUES.items()},
    task_default_queue="langgraph",
    task_create_missing_queues=False,  # a mistyped --queues ends the worker instead of waiting on an empty queue
    # Nothing but JSON: a pickle from whoever can write to Redis would run in the worker.
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    # Connections. kombu switches off redis-py's timeouts and keepalive: without them a silently dead connection
    # hangs a worker, or the API in the middle of a publish, for good.
    broker_transport_options={
        "visibility_timeout": settings.VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 5,  # seconds between looks for lost messages; the default is about 100
        "unacked_restore_throttle": 1,
        "priority_steps": [0],
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "socket_keepalive_options": {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3},
        "health_check_interval": 5,
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # the default gives up after 100 tries
    broker_channel_error_retry=True,  # READONLY after a failover and OOM of a full node must not end the worker
    broker_pool_acquire_timeout=3,
    # Delivery. A task is acknowledged when it has ended, so a lost process or container does not lose it;
    # config.tasks bounds how often the same task may take its process down.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_acks_on_timeout=True,
    task_acks_on_failure=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,  # True acknowledges, and so loses, running tasks
    visibility_timeout=settings.VISIBILITY_TIMEOUT,
    # Take a message only when a process is free for it: fair between workers, and an honest backlog for scaling.
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    worker_eta_task_limit=100,
    worker_max_tasks_per_child=1000,  # guards against slow leaks
    worker_proc_alive_timeout=30,
    worker_lost_wait=2,  # seconds until the task of a process that died counts as lost
    worker_consumer="config.lifecycle:Consumer",
    # Remote control stays on for `celery inspect`: its cost was reply queues that nobody removed, and these expire
    # after control_queue_expires since Celery 5.7. Events, gossip, mingle and heartbeats are off (lifecycle).
    worker_send_task_events=False,
    # Results.
    task_track_started=True,
    result_expires=settings.RESULT_EXPIRES,
    result_backend_transport_options={"visibility_timeout": settings.VISIBILITY_TIMEOUT},
    redis_socket_timeout=5,
    redis_socket_connect_timeout=3,
    redis_socket_keepalive=True,
    redis_retry_on_timeout=True,
    # Beat. No schedule file: the container's disk is as short-lived as its memory, and may be read-only. The times of
    # the last runs are in Redis (lifecycle).
    beat_scheduler="config.lifecycle:Scheduler",
    beat_max_loop_interval=10,  # seconds; well below the age at which the health check calls it hung
    beat_schedule={
        "refresh-courses": {
            "task": "config.tasks.refresh_courses",
            "schedule": settings.COURSES_REFRESH_INTERVAL,
            # An older refresh is of no use once the next one is due.
            "options": {"expires": settings.COURSES_REFRESH_INTERVAL},
        },
    },
    worker_hijack_root_logger=True,
    worker_log_format="%(asctime)s %(levelname)s %(processName)s %(message)s",
    worker_task_log_format="%(asctime)s %(levelname)s %(processName)s %(task_name)s[%(task_id)s] %(message)s",
)

import config.lifecycle  # noqa: E402, F401  connects the worker's signals; needs the app above
