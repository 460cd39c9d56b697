"""What a worker and a beat do besides their tasks: prove that their loop turns, warm up, and stop in time.

What keeps a worker from being stopped is in config.protection.
"""

import gc
import logging
import os
import signal
import threading
import time
import warnings
from datetime import UTC, datetime
from queue import Empty

from billiard.einfo import ExceptionWithTraceback
from celery import beat
from celery.backends.redis import RedisBackend
from celery.exceptions import CPendingDeprecationWarning, Reject
from celery.signals import celeryd_init, worker_init, worker_shutting_down
from celery.worker import consumer, request, state
from kombu.transport import redis, virtual
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError

from config import health, protection, settings
from config.celery import QUEUES, app

logger = logging.getLogger(__name__)

MAX_RECONNECT_WAIT = 5  # seconds between attempts to reconnect; Celery's waits grow up to 30
LAST_RUNS_KEY = "nexus-learn:beat"  # a hash: seconds since 1970 by name of the schedule's entry
SETTLE_INTERVAL = 1  # seconds between attempts at what Redis has refused


# What this worker still has to tell Redis, by delivery tag: acknowledge the message (False) or put it back (True).
# A delivery tag is a key in Redis and outlives the connection that the message came through.
unsettled: dict[str, bool] = {}
# Messages that this worker has taken from their queue and could not record in Redis as unacknowledged.
unrecorded: dict[str, virtual.Message] = {}
# Delivery tags of the tasks whose process has died.
died: set[str] = set()


class QoS(redis.QoS):
    """kombu's record of the messages at hand, which tries again what Redis has refused, full or read-only say.

    kombu takes a message from its queue and then records it; when that is refused it forgets the message. Celery
    acknowledges a message, or puts it back, but once; when that is refused the message takes up a process for ever,
    and after the visibility timeout the task runs again.
    """

    sweeping = False

    def can_consume(self):
        # Redis may have been asked for a message before: it is taken, as it would wait here for the worker otherwise.
        if protection.draining.is_set() and not self.channel._in_poll:
            return False
        return super().can_consume()

    def append(self, message, delivery_tag):
        try:
            super().append(message, delivery_tag)
        except (RedisError, *self.channel.connection_errors) as error:
            logger.warning("Redis does not record a message, trying again later: %s", error)
            unrecorded[delivery_tag] = message
            virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag):
        self.reject(delivery_tag)

    def reject(self, delivery_tag, requeue=False):
        try:
            super().reject(delivery_tag, requeue)
        except (RedisError, *self.channel.connection_errors) as error:
            logger.warning("Redis does not take back or forget a message, trying again later: %s", error)
            unsettled[delivery_tag] = requeue
            self._quick_ack(delivery_tag)
        else:
            unrecorded.pop(delivery_tag, None)
            died.discard(delivery_tag)

    def restore_visible(self, *args, **kwargs):
        self.sweeping = True
        try:
            super().restore_visible(*args, **kwargs)
        finally:
            self.sweeping = False


class Channel(redis.Channel):
    """kombu's channel, which counts deaths, and whose reading of remote control messages cannot hang the worker.

    A message that goes back to its queue because the process or the whole worker that had it is gone says so in its
    header `deaths`. kombu only knows `redelivered`, which a deployment or an outage sets too.

    kombu reads as soon as the socket is readable, without a timeout. But it is readable too when the connection has
    died or TLS has sent something of its own; redis-py then connects again by itself and waits for a message for ever.
    In a failover of a replication group with TLS that stopped about one worker in three.
    """

    QoS = QoS

    def _do_restore_message(self, payload, *args, **kwargs):
        if self.qos.sweeping or payload["properties"]["delivery_tag"] in died:
            payload["headers"]["deaths"] = payload["headers"].get("deaths", 0) + 1
        super()._do_restore_message(payload, *args, **kwargs)

    def _put(self, queue, message, **kwargs):
        super()._put(queue, message, **kwargs)
        # kombu lets a queue expire only where it was declared: the answer to a `celery inspect` that is gone stayed.
        if queue.endswith(".reply.celery.pidbox"):
            with self.conn_or_acquire() as client:
                client.expire(queue, int(app.conf.control_queue_expires))

    def _receive_one(self, c):
        if c.connection is not None and not c.connection.can_read(timeout=0):
            raise Empty
        return super()._receive_one(c)


redis.Transport.Channel = Channel


class Backend(RedisBackend):
    """Celery's store of results, where a worker waits out a full or read-only Redis as it does one that is away."""

    def exception_safe_to_retry(self, exc):
        return isinstance(exc, OutOfMemoryError | ReadOnlyError) or super().exception_safe_to_retry(exc)


class Request(request.Request):
    """Celery's request of a worker to run a task, which notes when the process died of it."""

    _rejected = False

    def on_failure(self, exc_info, **kwargs):
        error = exc_info.exception
        self._rejected = isinstance(error.exc if isinstance(error, ExceptionWithTraceback) else error, Reject)
        super().on_failure(exc_info, **kwargs)

    def reject(self, requeue=False):
        if requeue and not self._rejected:  # only the task itself and the loss of its process put a message back
            died.add(self.message.delivery_tag)
        super().reject(requeue)


class Consumer(consumer.Consumer):
    """Celery's consumer with a heartbeat file and without the chatter between workers.

    The file appears once the broker has answered for the first time, so a deployment with a wrong URL or token never
    looks healthy. From then on it says that the loop turns, also while the broker is away.

    When the connection is lost, in a failover say, Celery drops the tasks that no process has begun, those that wait
    for a retry included, and cannot acknowledge those that run: both would wait for the visibility timeout and then be
    delivered again. Here the first go back to the queue at once, and the second are acknowledged through the new
    connection.
    """

    _beating = False

    def __init__(self, *args, **kwargs):
        health.forget("worker")
        # The same as the worker's flags of these names; they have no settings.
        super().__init__(*args, **{**kwargs, "without_gossip": True, "without_mingle": True, "without_heartbeat": True})

    def on_connection_error_after_connected(self, exc):
        if self.task_consumer:
            # kombu would hand back the running tasks too, and end the worker when that fails in the lost connection.
            self.task_consumer.channel.do_restore = False
        super().on_connection_error_after_connected(exc)

    def on_close(self):
        dropped = {*state.reserved_requests, *state.scheduled_requests} - {*state.active_requests}
        unsettled.update({request.message.delivery_tag: True for request in dropped})
        super().on_close()

    def on_ready(self):
        super().on_ready()
        for running in state.active_requests:
            running.message.channel = self.task_consumer.channel
        self._settle()
        if not self._beating:
            self._beating = True
            health.touch("worker")
            self.hub.call_repeatedly(health.TOUCH_INTERVAL, health.touch, "worker")
            self.hub.call_repeatedly(SETTLE_INTERVAL, self._settle)

    def _settle(self):
        if self.task_consumer:  # else the worker is about to stop
            qos = self.task_consumer.channel.qos
            for tag in tuple(unrecorded):
                qos.append(unrecorded.pop(tag), tag)
            for tag in tuple(unsettled):
                qos.reject(tag, unsettled.pop(tag))

    def ensure_connected(self, conn):
        """Connect as Celery does; it waits in a loop of its own, where the hub's timers do not fire."""
        connect = conn.ensure_connection

        def connect_beating(errback, max_retries, callback):
            def on_wait():
                if self._beating:
                    health.touch("worker")
                callback()

            return connect(errback, max_retries, callback=on_wait, interval_max=MAX_RECONNECT_WAIT)

        conn.ensure_connection = connect_beating
        return super().ensure_connected(conn)


class Scheduler(beat.Scheduler):
    """Celery's in-memory scheduler with a heartbeat file and a memory of its last runs, in Redis.

    Without it each start counts anew, and an entry whose interval is longer than beat lives would never run.
    """

    _recalled = False

    def __init__(self, *args, **kwargs):
        if not kwargs.get("lazy"):
            health.forget("beat")
        super().__init__(*args, **kwargs)

    def tick(self, *args, **kwargs):
        _ = self.producer  # waits for the broker before the first tick, so that a wrong URL never looks healthy
        if not self._recalled:
            try:
                self._recall()
            except RedisError as error:
                logger.error("Redis does not tell the last runs, trying again: %s", error)
                return SETTLE_INTERVAL
        health.touch("beat")
        return super().tick(*args, **kwargs)

    def _recall(self):
        redis_client = self.app.backend.client
        for name, entry in self.schedule.items():
            redis_client.hsetnx(LAST_RUNS_KEY, name, time.time())
            entry.last_run_at = datetime.fromtimestamp(float(redis_client.hget(LAST_RUNS_KEY, name)), UTC)
        self._recalled = True

    def apply_async(self, entry, *args, **kwargs):
        result = super().apply_async(entry, *args, **kwargs)
        self.app.backend.client.hset(LAST_RUNS_KEY, entry.name, time.time())
        return result


app.steps["worker"].add(protection.Step)


@celeryd_init.connect
def _worker_settings(conf, instance, **_):
    """Wait out an outage in a worker; the API, which shares the app, must answer at once instead."""
    # Sends a command again whose answer is overdue: without it a message that Redis has already handed out is lost
    # when the connection dies in that moment. It may publish twice, so not in the API.
    conf.broker_transport_options["retry_on_timeout"] = True
    conf.result_backend_always_retry = True
    # Here and not at the task: whoever sends a task would send its limits along, and these would win.
    for task, queue in QUEUES.items():
        instance.app.tasks[task].time_limit = settings.TIME_LIMIT[queue]
        instance.app.tasks[task].soft_time_limit = 0.9 * settings.TIME_LIMIT[queue]
    # Nine lines at each reconnection about a setting that config.celery sets on purpose.
    warnings.simplefilter("ignore", CPendingDeprecationWarning)


@worker_init.connect
def _preload(sender, **_):
    """Load model and graph before the pool forks: the children start at once and share the memory.

    With 2 children it costs 1.5 s at the start and saves 3 s of the first task and a third of the memory.
    """
    from config import courses

    courses.index.refresh()
    if "langgraph" in sender.app.amqp.queues.consume_from:
        from config import answers

        answers.graph()
    # Else the first collection in a child writes to every object, and so copies all of the shared memory.
    gc.collect()
    gc.freeze()


@worker_shutting_down.connect
def _hand_back_in_time(how, **_):
    """Give tasks that outlast the stop back to the queue before SIGKILL, or they wait for the visibility timeout."""
    if how != "Warm":
        return
    seconds = max(settings.STOP_TIMEOUT - 15, 1)
    logger.warning("Warm shutdown: taking no new tasks, finishing the running ones for up to %.0f s", seconds)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGQUIT))
    timer.daemon = True
    timer.start()
