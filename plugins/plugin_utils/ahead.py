# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The reads of the last run of the same kind, made at once when a run starts, before anybody asks for their answers."""

from __future__ import annotations

import copy
import json
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import READS, THREADS, Aws

try:
    from botocore.exceptions import BotoCoreError
except ImportError:  # reported by the modules
    BotoCoreError = Exception

# Seconds that an answer is good for: one that waited for a long change meanwhile may be of a time before it.
GOOD_FOR = 30
# Names that AWS's services have for where the next page of an answer begins.
_PAGES = ("NextToken", "nextToken", "Marker")


class Ahead:
    """Hooks itself into the clients of ``aws``: a question that was asked ahead is answered with what came back.

    Each answer is used once, and within ``GOOD_FOR`` seconds. Nothing is remembered but questions: ``file`` holds
    service, operation and parameters of each, as JSON. What is missing from it, or wrong, costs calls and nothing else.
    """

    def __init__(self, aws: Aws, file: Path):
        self._aws, self._file = aws, file
        self._lock = threading.Lock()
        self._asked: dict[str, dict[str, Any]] = {}
        self._answers: dict[str, Future] = {}
        self._mine = threading.local()  # in a thread that asks ahead: .pages, the answers to its question
        self._pool = ThreadPoolExecutor(THREADS)
        aws.prepare = self._prepare

    def start(self) -> None:
        """Ask all of them, in threads."""
        questions = []
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            questions = [
                (one["service"], one["operation"], dict(one["params"]), bool(one["pages"]))
                for one in json.loads(self._file.read_text())
                if one["operation"].startswith(READS)
            ]
        for service, operation, params, pages in questions:
            answer = self._answers[_key(service, operation, params)] = Future()
            self._pool.submit(self._ask, answer, service, operation, params, pages)

    def end(self) -> None:
        """Ask nothing any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def keep(self) -> None:
        """Keep what was asked this time, for the next."""
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._file.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps([self._asked[key] for key in sorted(self._asked)], default=str))
            temporary.replace(self._file)

    def _prepare(self, client: Any) -> None:
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register(f"provide-client-params.{service}", self._question)
        client.meta.events.register(f"before-call.{service}", self._answer)
        # before botocore's own, which decode policies in place and will meet the answer once more
        client.meta.events.register_first(f"after-call.{service}", self._arrived)

    def _ask(self, answer: Future, service: str, operation: str, params: dict[str, Any], pages: bool) -> None:
        """In a thread of the pool. The answer to the first page is there when those to all others are."""
        self._mine.pages = {}
        try:
            client = self._aws.client(service)
            method = next(name for name, known in client.meta.method_to_api_mapping.items() if known == operation)
            with suppress(client.exceptions.ClientError):  # which is an answer, too
                if pages and client.can_paginate(method):
                    for _ in client.get_paginator(method).paginate(**params):
                        pass
                else:
                    getattr(client, method)(**params)
            first = self._mine.pages.pop(_key(service, operation, params))
            for key, page in self._mine.pages.items():
                self._answers[key] = Future()
                self._answers[key].set_result(page)
            answer.set_result(first)
        except Exception as error:
            answer.set_exception(error)
        finally:
            del self._mine.pages

    def _question(self, params: Mapping[str, Any], model: Any, context: dict, **_: Any) -> None:
        service = model.service_model.service_name
        context["ahead"] = key = _key(service, model.name, params)
        if hasattr(self._mine, "pages") or not model.name.startswith(READS):
            return
        first = {name: value for name, value in params.items() if name not in _PAGES}
        question = {"service": service, "operation": model.name, "params": first, "pages": first != params}
        with self._lock:
            if question["pages"] or key not in self._asked:
                self._asked[_key(service, model.name, first)] = question

    def _answer(self, context: Mapping, **_: Any) -> tuple[Any, dict] | None:
        """What is not None takes the place of a call. Only what AWS would answer otherwise by now is asked again."""
        future = None if hasattr(self._mine, "pages") else self._answers.pop(context["ahead"], None)
        if future is None:
            return None
        if isinstance(future.exception(), BotoCoreError):
            raise future.exception()  # no connection, no credentials: all attempts were made
        if future.exception() is not None:
            return None
        arrived, http, parsed = future.result()
        # where JSON is spoken what is not there is a 400, as is what can be tried again
        there_or_not = http.status_code in (200, 404) or parsed["Error"]["Code"].endswith("NotFoundException")
        return (http, parsed) if there_or_not and time.monotonic() - arrived < GOOD_FOR else None

    def _arrived(self, http_response: Any, parsed: dict, context: Mapping, **_: Any) -> None:
        if hasattr(self._mine, "pages"):
            http = SimpleNamespace(status_code=http_response.status_code)
            self._mine.pages[context["ahead"]] = time.monotonic(), http, copy.deepcopy(parsed)


def _key(service: str, operation: str, params: Mapping[str, Any]) -> str:
    return json.dumps([service, operation, params], sort_keys=True, default=str)
