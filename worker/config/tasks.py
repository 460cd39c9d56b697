"""The tasks. Each may run more than once (at-least-once delivery), so each gives the same result when repeated."""

import json
import time

from celery import Task
from celery.exceptions import Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

from config import settings
from config.celery import app

logger = get_task_logger(__name__)

MAX_DEATHS = 5
COURSES_KEY = "nexus-learn:courses"


class TooSlow(Exception):
    """The task has reached the soft time limit of its queue."""


class TooManyDeaths(Exception):
    """The task has taken its process or worker down too often to be tried once more."""


class BoundedTask(Task):
    """A task that fails with a sentence when it takes too long, and for good when its process dies too often.

    Celery gives a task whose process died back to the queue without counting, so one that always kills its process
    (out of memory, say) would occupy the workers for ever. config.lifecycle counts.
    """

    Request = "config.lifecycle:Request"
    resultrepr_maxsize = 0  # questions and answers belong to the student, not into the logs

    def __call__(self, *args, **kwargs):
        try:
            return self.run(*args, **kwargs)
        except SoftTimeLimitExceeded:
            raise TooSlow(f"The task took longer than {self.soft_time_limit:.0f} s and was stopped.") from None
        except Reject as error:
            # Task.retry() raises it when it cannot publish, and would fail the task that the outage only delays.
            raise Reject(error.reason, requeue=True) from error

    def before_start(self, task_id, args, kwargs):
        deaths = self.request.get("deaths", 0)
        if deaths >= MAX_DEATHS:
            raise TooManyDeaths(f"The task ended its worker process {deaths} times and is given up.")
        if deaths:
            logger.warning("Its process has died %d times; at %d the task is given up", deaths, MAX_DEATHS)


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
