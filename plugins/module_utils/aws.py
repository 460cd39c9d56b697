# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way to AWS: shared clients, concurrent calls, waits with progress, and errors as sentences."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

try:
    import boto3
    import botocore.config
    import botocore.exceptions
    import botocore.loaders
    import botocore.retries.standard
    import botocore.session
except ImportError:  # reported by require_sdk(), with the name of what to install
    boto3 = None

from ansible_collections.amazon.aws.plugins.module_utils.botocore import _aws_connection_info
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import AnswerLost, Failed, Say, user_tags

# Adaptive mode backs off on throttling and on 5xx and slows the client down as a whole.
# https://docs.aws.amazon.com/boto3/latest/guide/retries.html
_RETRIES = {"mode": "adaptive", "max_attempts": 10}
# Seconds without a byte of an answer. AWS's control planes answer within a few; one that takes longer costs no more
# than another read, or another look at what there is (``WriteUnanswered``).
_READ_TIMEOUT = 10
# Calls that are made at once. The adaptive retries slow them down where AWS's rate limits ask for it.
THREADS = 32
_UNKNOWN_CREDENTIALS = (
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "AuthFailure",
)
_LOADER = botocore.loaders.create_loader() if boto3 else None

READS = ("Describe", "Get", "List", "BatchGet", "Head", "Lookup", "Search", "Simulate", "Select", "Assume", "Filter")


class WriteUnanswered(AnswerLost, botocore.exceptions.BotoCoreError if boto3 else Exception):
    """See ``AnswerLost``. For those who do not look again it is one of botocore's errors."""

    fmt = "The answer to {operation} was lost ({reason}): it may have been carried out, or not"


def _never_twice(operation: Any, response: Any = None, caught_exception: Any = None, **_: Any) -> None:
    """A handler before botocore's own retries: raise for a write that may have been carried out already.

    Reads, and writes that were throttled or for which there was no connection, are left to botocore.
    """
    if operation.name.startswith(READS):
        return
    if caught_exception is not None:
        if not isinstance(caught_exception, botocore.exceptions.ConnectionError):
            raise WriteUnanswered(operation=operation.name, reason=caught_exception) from caught_exception
    elif response is not None and response[0].status_code >= 500:
        error = response[1].get("Error", {})
        if error.get("Code") not in botocore.retries.standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES:
            reason = f"{response[0].status_code} {error.get('Code', '')}: {error.get('Message', '')}"
            raise WriteUnanswered(operation=operation.name, reason=reason)


def preload(services: Iterable[str]) -> None:
    """Parse the service models once in this process, so that forked workers find them ready."""
    if boto3 is None:
        return
    session = _botocore_session(None)
    session.get_component("endpoint_resolver")
    for service in services:
        # exactly what creating a client loads
        _LOADER.load_service_model(service, "service-2")
        for extra in ("endpoint-rule-set-1", "paginators-1", "waiters-2"):
            try:
                _LOADER.load_service_model(service, extra)
            except botocore.exceptions.UnknownServiceError:
                continue
            except botocore.exceptions.DataNotFoundError:
                continue


def _botocore_session(profile: str | None) -> Any:
    session = botocore.session.Session(profile=profile)
    session.register_component("data_loader", _LOADER)
    return session


def known_regions() -> list[str]:
    """The regions of every partition that have ECS, as botocore knows them."""
    session = _botocore_session(None)
    return [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("ecs", partition_name=partition)
    ]


class Aws:
    """Clients of one account and region. Safe to use from several threads.

    ``params`` holds the connection options of amazon.aws (region, profile, access_key, endpoint_url ...); what is
    left out comes from the environment, as boto3 does it (``AWS_ENDPOINT_URL`` among it). ``identity`` is what another
    one with these ``params`` has found already.
    """

    def __init__(self, params: Mapping[str, Any], identity: dict[str, str] | None = None):
        region, self._endpoint, connection = _aws_connection_info(params)
        self._profile = connection.pop("profile_name", None)
        own = connection.pop("aws_config", None)
        # a pool as large as the number of threads: botocore warns and drops connections otherwise
        self._config = botocore.config.Config(
            retries=_RETRIES,
            max_pool_connections=THREADS,
            connect_timeout=10,
            read_timeout=_READ_TIMEOUT,
            # tells this collection's calls from others in CloudTrail
            user_agent_extra="nexus_learn.aws",
        )
        if own is not None:
            self._config = self._config.merge(own)
        self._connection = connection
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._identity = identity
        self._clients: dict[str, Any] = {}
        # Called before every request, repeated ones too. The deployment lock gives its sign of life there, and stops a
        # run that lost it.
        self.pulse: Callable[[], None] | None = None
        # Called with every new client.
        self.prepare: Callable[[Any], None] | None = None
        self._session = boto3.session.Session(botocore_session=_botocore_session(self._profile), region_name=region)
        self.region = region

    def client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                client = self._session.client(
                    service, config=self._config, endpoint_url=self._endpoint, **self._connection
                )
                # botocore makes the error classes on first use, without a lock: two threads that fail at once would
                # each get their own, and `except client.exceptions.X` would catch only one of them.
                _ = client.exceptions
                name = client.meta.service_model.service_id.hyphenize()
                client.meta.events.register_first(f"needs-retry.{name}", _never_twice)
                client.meta.events.register("request-created", self._request_created)
                if self.prepare is not None:
                    self.prepare(client)
                self._clients[service] = client
            return self._clients[service]

    def _request_created(self, **_: Any) -> None:
        if self.pulse is not None:
            self.pulse()

    @property
    def identity(self) -> dict[str, str]:
        """``{Account, Arn, UserId}`` of the credentials."""
        with self._asking:  # threads that need it at once ask once; a cached_property has no lock
            if self._identity is None:
                self._identity = self.client("sts").get_caller_identity()
            return self._identity

    @property
    def account_id(self) -> str:
        return self.identity["Account"]

    @property
    def partition(self) -> str:
        return self._session.get_partition_for_region(self.region)

    @property
    def emulated(self) -> bool:
        """Whether this is an emulator on this machine, where all that was answered is known at once."""
        return urlsplit(self.client("iam").meta.endpoint_url).hostname in ("localhost", "127.0.0.1", "::1")

    def arn(self, service: str, resource: str, region: bool = True) -> str:
        """The ARN that AWS gives, or will give, to a resource whose name is known."""
        return f"arn:{self.partition}:{service}:{self.region if region else ''}:{self.account_id}:{resource}"

    @staticmethod
    def tags(arns: Iterable[str], ask: Callable[[str], dict]) -> dict[str, dict]:
        """The users' tags of some resources, by ARN, as ``ask(arn)`` gets them from the resource's own service.

        One by one: the Resource Groups Tagging API has the tags of 100 in a call, but hears of a change minutes later.
        https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html
        """
        arns = list(arns)
        answers = together(*(lambda arn=arn: user_tags(ask(arn)) for arn in arns))
        return dict(zip(arns, answers, strict=True))

    def fill(self, value: Any) -> Any:
        """``value`` with ``{account_id}``, ``{region}`` and ``{partition}`` in its texts replaced, however deep."""
        if isinstance(value, Mapping):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, str):
            for name in ("account_id", "region", "partition"):
                if "{" + name + "}" in value:
                    value = value.replace("{" + name + "}", getattr(self, name))
        return value

    def pages(self, service: str, operation: str, key: str, **arguments: Any) -> list:
        """All items of a paginated operation, for example ``pages("logs", "describe_log_groups", "logGroups")``."""
        client = self.client(service)
        if not client.can_paginate(operation):
            return getattr(client, operation)(**arguments)[key]
        return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page.get(key, [])]


def together(*calls: Callable[[], Any]) -> list:
    """Make the calls concurrently; return their results in order; raise the first error."""
    if len(calls) < 2:
        return [call() for call in calls]
    with ThreadPoolExecutor(max_workers=min(THREADS, len(calls))) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def wait_until(
    probe: Callable[[], tuple[bool, str]], *, timeout: float, pause: float, what: str, variable: str, say: Say
) -> None:
    """Call ``probe`` until its first value is true. Its second value says where things stand.

    A new state is shown when it appears, an old one every 30 s. After ``timeout`` seconds ``Failed`` names the last
    state and the variable that allows more time. The pause starts small, for the sandbox answers in milliseconds.
    """
    started = shown = time.monotonic()
    last = None
    delay = min(0.2, pause)
    while True:
        done, state = probe()
        now = time.monotonic()
        if done:
            if last is not None:
                say(f"{what}: {state} ({now - started:.0f} s)")
            return
        if state != last or now - shown >= 30:
            say(f"{what}: {state} ({now - started:.0f} s)")
            last, shown = state, now
        if now - started > timeout:
            raise Failed(
                f"{what} is still {state} after {timeout:.0f} s. Run the playbook again to go on waiting, "
                f"or allow more time with {variable}."
            )
        time.sleep(delay)
        delay = min(delay * 1.5, pause)


def patiently(call: Callable[[], Any], not_yet: Iterable[str], say: Say, seconds: float = 60) -> Any:
    """Call again for so long while the answer only means "not yet": its code or message holds one of ``not_yet``.

    AWS's services hear of each other's changes, and of their own, some time after these were answered.
    """
    deadline = time.monotonic() + seconds
    delay = 0.2
    while True:
        try:
            return call()
        except botocore.exceptions.ClientError as error:
            text = f"{error_code(error)} {error}".lower()
            if time.monotonic() > deadline or not any(part.lower() in text for part in not_yet):
                raise
            say(f"not yet: {error}")
            time.sleep(delay)
            delay = min(2 * delay, 3)


def error_code(error: Exception) -> str:
    """The AWS error code of a ClientError (``ServiceNotFoundException``), or an empty string."""
    response = getattr(error, "response", None)
    return response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""


def explain(error: Exception) -> str:
    """An AWS or connection error as a sentence that says what to do."""
    text = str(error)
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if isinstance(error, botocore.exceptions.NoCredentialsError):
        return (
            "There are no AWS credentials. Set AWS_PROFILE (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), "
            'or run `eval "$(.venv/bin/python -m sandbox env)"` to work on the sandbox.'
        )
    if isinstance(error, botocore.exceptions.ProfileNotFound):
        return f"{text}. Set AWS_PROFILE to a profile that `aws configure list-profiles` shows."
    if isinstance(error, botocore.exceptions.NoRegionError):
        return "There is no AWS region. Set aws_region in the inventory's group_vars."
    if isinstance(error, AnswerLost):
        return f"{text}. Run the same command again: it looks what is there, and goes on from that."
    if isinstance(error, (botocore.exceptions.EndpointConnectionError, botocore.exceptions.ConnectTimeoutError)):
        if endpoint:
            return (
                f"{endpoint} (AWS_ENDPOINT_URL) does not answer. Start the sandbox with `make up`, "
                "or unset AWS_ENDPOINT_URL to work on AWS."
            )
        return f"{text}. Check aws_region in the inventory and this machine's network."
    code = error_code(error)
    if code in _UNKNOWN_CREDENTIALS:
        return f"AWS does not accept the credentials ({code}). Check AWS_PROFILE or AWS_ACCESS_KEY_ID."
    if code in ("ExpiredToken", "ExpiredTokenException", "RequestExpired"):
        return f"The AWS credentials have expired ({code}). Sign in again, for example with `aws sso login`."
    if code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"):
        # the action that is missing may be another one than that of the call: iam:PassRole, ecs:TagResource ...
        named = re.search(r"not authorized to perform: ([\w-]+:\w+)", text)
        action = named.group(1) if named else getattr(error, "operation_name", "?")
        return f"The deployer's IAM policies do not allow {action}: {text}"
    return text
