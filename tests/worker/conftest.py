"""Fixtures for the worker's tests: each starts what it needs and stops it at the end."""

import shutil
import sys

import pytest
from worker_stack import WORKER, FakeModel, Stack

sys.path.insert(0, str(WORKER))
with pytest.MonkeyPatch.context() as environment:  # read at the import; what other tests start must not inherit it
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        environment.setenv(name, "redis://127.0.0.1:1/0")
    import config.settings  # noqa: F401


@pytest.fixture
def model():
    model = FakeModel()
    yield model
    model.stop()


@pytest.fixture
def stack(tmp_path):
    assert shutil.which("redis-server"), "install redis-server"
    stack = Stack(tmp_path)
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A whole application: Redis, worker, beat and API."""
    stack = Stack(tmp_path_factory.mktemp("shared"))
    stack.beat_process = stack.beat(COURSES_REFRESH_INTERVAL=1)
    stack.worker_process = stack.worker()
    stack.client_api = stack.api()
    yield stack
    stack.stop()
