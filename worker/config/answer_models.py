"""The models that can answer: sentences of the passages themselves, Amazon Bedrock, or an OpenAI-compatible endpoint.

Bedrock: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import re
from functools import cache

from config import settings
from config.courses import Passage
from config.embeddings import embed

SENTENCES = 3
INSTRUCTION = (
    "You help a student. Answer the question in a few sentences, only from the course passages given with it. "
    "Say so when they do not hold the answer."
)


class ModelUnavailable(Exception):
    """The model did not answer now; the task is tried again."""


class ModelRefused(Exception):
    """The model refuses this request, or these credentials; trying again would not help."""


def answer(question: str, passages: list[Passage]) -> str:
    """Return the answer of the model that ANSWER_MODEL names; `passages` are best first."""
    kind, model = settings.ANSWER_MODEL
    if kind == "extractive":
        return _extract(question, passages)
    prompt = "\n\n".join(f"[{p.course}: {p.section}]\n{p.text}" for p in passages) + f"\n\nQuestion: {question}"
    return _bedrock(model, prompt) if kind == "bedrock" else _openai(model, prompt)


def _extract(question: str, passages: list[Passage]) -> str:
    """Return the sentences closest to the question, in the order in which the courses have them."""
    sentences = [s for p in passages for s in re.split(r"(?<=[.!?])\s+", p.text)]
    scores = embed(sentences) @ embed([question])[0]
    best = sorted(range(len(sentences)), key=lambda i: -scores[i])[:SENTENCES]
    return " ".join(sentences[i] for i in sorted(best))


@cache
def _bedrock_client():
    import boto3
    from botocore.config import Config

    # One attempt: Celery retries the task, which leaves the process free in between.
    return boto3.client(
        "bedrock-runtime",
        config=Config(connect_timeout=3, read_timeout=settings.MODEL_TIMEOUT, retries={"total_max_attempts": 1}),
    )


def _bedrock(model: str, prompt: str) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        response = _bedrock_client().converse(
            modelId=model,
            system=[{"text": INSTRUCTION}],
            messages=[{"role": "user", "content": [{"text": prompt}]}],
        )
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise _error(status, f"Bedrock model {model}: {error.response['Error'].get('Message')}") from error
    except BotoCoreError as error:
        raise ModelUnavailable(f"Bedrock does not answer: {error}") from error
    # A model that reasons puts its reasoning first, in a block of its own.
    return _first_text(model, [block.get("text") for block in response["output"]["message"]["content"]])


def _openai(model: str, prompt: str) -> str:
    import httpx

    body = {
        "model": model,
        "messages": [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": prompt}],
    }
    try:
        response = httpx.post(
            f"{settings.OPENAI_BASE_URL}/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {settings.OPENAI_API_KEY}"} if settings.OPENAI_API_KEY else {},
            timeout=httpx.Timeout(settings.MODEL_TIMEOUT, connect=3),
        )
    except httpx.HTTPError as error:
        raise ModelUnavailable(f"OPENAI_BASE_URL does not answer: {error!r}") from error
    if response.status_code != 200:
        raise _error(response.status_code, f"Model {model} answers with status {response.status_code}")
    return _first_text(model, [choice["message"].get("content") for choice in response.json()["choices"]])


def _first_text(model: str, texts: list[str | None]) -> str:
    """Return the first of `texts` that there is."""
    for text in texts:
        if text and text.strip():
            return text.strip()
    raise ModelRefused(f"Model {model} answers without a text.")


def _error(status: int, text: str) -> Exception:
    """Return the exception for an HTTP status; throttling and the server's own errors pass."""
    return (ModelUnavailable if status in (408, 424, 429) or status >= 500 else ModelRefused)(text)
