"""The tasks. Each may run more than once (at-least-once delivery), so each gives the same result when repeated."""

import json
import time

from celery import Task
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

from config import settings
from config.celery import app

logger = get_task_logger(__name__)

MAX_DELIVERIES = 5
COURSES_KEY = "nexus-learn:courses"


class TooSlow(Exception):
    """The task has reached the soft time limit of its queue."""


class TooManyDeliveries(Exception):
    """The task has taken its worker down too often to be tried once more."""


class BoundedTask(Task):
    """A task that fails with a sentence when it takes too long, and for good when it is delivered too often.

    Celery gives a task whose process died back to the queue without counting, so one that always kills its process
    (out of memory, say) would occupy the workers for ever.
    """

    resultrepr_maxsize = 0  # questions and answers belong to the student, not into the logs

    def __call__(self, *args, **kwargs):
        try:
            return self.run(*args, **kwargs)
        except SoftTimeLimitExceeded:
            raise TooSlow(f"The task took longer than {self.soft_time_limit:.0f} s and was stopped.") from None

    def before_start(self, task_id, args, kwargs):
        if not self.request.delivery_info.get("redelivered"):
            return
        key = f"nexus-learn:deliveries:{task_id}"
        with self.backend.client.pipeline() as pipe:
            again, _ = pipe.incr(key).expire(key, settings.RESULT_EXPIRES).execute()
        if again >= MAX_DELIVERIES:
            raise TooManyDeliveries(f"The task ended its worker process {again} times and is given up.")
        logger.warning("Delivered again: this is delivery %d of at most %d", again + 1, MAX_DELIVERIES)


@app.task(bind=True, base=BoundedTask, max_retries=5)
def ask(self, student_id: str, question: str) -> dict:
    """Answer a student's question from the courses.

    Returns {"student_id", "question"} and what answers.ask returns. A model that is unavailable is asked again after
    1, 2, 4, 8 and 16 s: below the visibility timeout, so that a waiting task is not delivered a second time.
    """
    from config import answer_models, answers

    try:
        answer = answers.ask(question)
    except answer_models.ModelUnavailable as error:
        raise self.retry(exc=error, countdown=2**self.request.retries) from error
    return {"student_id": student_id, "question": question, **answer}


@app.task(base=BoundedTask)
def embed(texts: list[str]) -> dict:
    """Return {"model": str, "dimensions": 256, "embeddings": one unit vector per text}."""
    from config import embeddings

    vectors = embeddings.embed(texts)
    return {
        "model": embeddings.MODEL,
        "dimensions": embeddings.DIMENSIONS,
        "embeddings": [[round(float(x), 6) for x in vector] for vector in vectors],
    }


@app.task(base=BoundedTask)
def refresh_courses() -> dict:
    """Embed changed courses again, check that each passage is found by its own heading, and publish the outcome.

    The outcome is kept in Redis for GET /ready: its age shows whether beat, broker and worker still work together.
    Returns {"embedded", "removed", "unchanged", "passages", "found", "refreshed_at": seconds since 1970}.
    """
    from config.courses import index

    outcome = index.refresh()
    found = sum(
        passage in [hit for hit, _ in index.search(f"{passage.course}. {passage.section}", 3)]
        for passage in index.passages
    )
    outcome |= {"passages": len(index.passages), "found": found, "refreshed_at": time.time()}
    app.backend.client.set(COURSES_KEY, json.dumps(outcome), ex=settings.RESULT_EXPIRES)
    if found < len(index.passages):
        logger.warning("Of %d passages only %d are found by their own heading", len(index.passages), found)
    return outcome
