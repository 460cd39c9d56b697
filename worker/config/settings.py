"""Everything that the environment decides, read once and checked before anything starts."""

import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class SettingsError(SystemExit):
    """A setting is missing or wrong; ends the process with this one sentence and exit code 1, not a traceback."""


def _redis_url(name: str) -> str:
    """Return the URL in `name`, or redis://REDIS_HOST:REDIS_PORT/0 when only these are set.

    Raises SettingsError, naming the variable, when there is no usable URL.
    """
    url = os.environ.get(name) or ""
    if not url and os.environ.get("REDIS_HOST"):
        url = f"redis://{os.environ['REDIS_HOST']}:{os.environ.get('REDIS_PORT') or 6379}/0"
    if not url:
        raise SettingsError(
            f"{name} is not set: give it the Redis URL, such as rediss://:TOKEN@HOST:6379/0?ssl_cert_reqs=required "
            "(or set REDIS_HOST and REDIS_PORT for a Redis without TLS and password)."
        )
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise SettingsError(f"{name} must look like redis://HOST:PORT/0 or rediss://:TOKEN@HOST:PORT/0.")
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parse_qs(parts.query):
        raise SettingsError(f"{name} is a rediss:// URL without ssl_cert_reqs: add ?ssl_cert_reqs=required to it.")
    return url


def _number(name: str, default: float, zero: bool = False) -> float:
    """Return the positive number in `name`, or `default`; raises SettingsError when it is anything else.

    `zero` says that 0 will do, too.
    """
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1
    if value < 0 or (value == 0 and not zero):
        raise SettingsError(f"{name} must be a number of seconds {'from' if zero else 'above'} 0, not {text!r}.")
    return value


def _answer_model() -> tuple[str, str]:
    """Return (kind, model) of ANSWER_MODEL: ("extractive", ""), ("bedrock", model id) or ("openai", model name)."""
    text = os.environ.get("ANSWER_MODEL") or "extractive"
    kind, _, model = text.partition(":")
    if not (text == "extractive" or (kind in ("bedrock", "openai") and model)):
        raise SettingsError(f"ANSWER_MODEL must be extractive, bedrock:<model id> or openai:<model>, not {text!r}.")
    if kind == "openai" and not os.environ.get("OPENAI_BASE_URL"):
        raise SettingsError(
            "OPENAI_BASE_URL is not set: ANSWER_MODEL=openai:... needs the address of the endpoint, "
            "such as https://HOST/v1."
        )
    return kind, model


BROKER_URL = _redis_url("CELERY_BROKER_URL")
RESULT_BACKEND = _redis_url("CELERY_RESULT_BACKEND")

ANSWER_MODEL = _answer_model()
MODEL_TIMEOUT = _number("MODEL_TIMEOUT", 60)
OPENAI_BASE_URL = os.environ.get("OPENAI_BASE_URL", "").rstrip("/")
OPENAI_API_KEY = os.environ.get("OPENAI_API_KEY", "")

COURSES_DIR = Path(os.environ.get("COURSES_DIR") or Path(__file__).parent / "courses")
COURSES_REFRESH_INTERVAL = _number("COURSES_REFRESH_INTERVAL", 900)

# Seconds after which a task is killed, by queue; it is asked to stop (SoftTimeLimitExceeded) at 90 % of them.
TIME_LIMIT = {
    "langgraph": _number("LANGGRAPH_TIME_LIMIT", 300),
    "embeddings": _number("EMBEDDINGS_TIME_LIMIT", 120),
}
# A message that is not acknowledged for this long is delivered again, so it must outlive the longest task:
# shorter, and a running task would be started a second time; longer only delays the recovery from a lost worker.
VISIBILITY_TIMEOUT = 1.25 * max(TIME_LIMIT.values())

RESULT_EXPIRES = 24 * 3600

# Seconds between SIGTERM and SIGKILL, as in the task definition's stopTimeout.
STOP_TIMEOUT = _number("STOP_TIMEOUT", 120)

# Seconds that a task must have run before its worker asks ECS for protection from scale-in and deployments; 0: never.
PROTECT_AFTER = _number("PROTECT_AFTER", 0, zero=True)
