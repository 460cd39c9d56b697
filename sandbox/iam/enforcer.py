"""Answers each request that IAM does not allow as AWS would, before moto sees it."""

import io
import logging
import threading
from dataclasses import dataclass

from .actions import ALWAYS_ALLOWED, PASSED_TO
from .calls import AUTHORIZATION, Call, read_call
from .checks import Check, Checks
from .evaluate import Principal, Request, context_of, why_denied
from .principals import Credentials, find

log = logging.getLogger("sandbox")

SESSION_SECONDS = 6 * 3600
"""What a task's credentials are good for (ECS Developer Guide, "Task IAM role")."""


@dataclass(frozen=True)
class Refusal:
    """An answer instead of moto's: HTTP status, error code and message."""

    status: str
    code: str
    message: str


class Enforcer:
    """Keeps what was decided, in `decisions`: {(principal, action, resource, context): reason or None}."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.checks = Checks(sandbox)
        self.decisions: dict[tuple, str | None] = {}
        self._sessions: dict[str, list] = {}
        self._lock = threading.Lock()
        sandbox.on_reset(self._reset)

    def _reset(self) -> None:
        self.checks.linked.clear()
        self.decisions.clear()
        self._sessions.clear()

    def refuse(self, environ, service: str, region: str, operation: str) -> Refusal | None:
        """None if the request is allowed. Reads the body and puts it back."""
        if environ.get("PATH_INFO", "").startswith("/moto-api/"):
            return None
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        signed = AUTHORIZATION.match(environ.get("HTTP_AUTHORIZATION", ""))
        style = _style(environ, service if signed else "")
        if not signed:
            return style.missing
        credentials = find(signed["key"], self.sandbox.account_id, _partition(region))
        if credentials is None:
            return style.unknown
        if environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "") != credentials.token:
            return style.unknown
        if credentials.expired:
            return style.expired
        if signature(environ, body, signed, credentials) != signed["signature"]:
            return style.forged
        if credentials.principal.root:
            return None
        call = read_call(environ, body, service, region, operation)
        return self._decide(call, credentials.principal, style)

    def refuse_call(self, access_key: str, call: Call) -> Refusal | None:
        """Of a call that does not come signed, but with what the key was given (tokens of ECR's registry)."""
        credentials = find(access_key, self.sandbox.account_id, _partition(call.region))
        if credentials is None:
            return JSON.unknown
        if credentials.expired:
            return JSON.expired
        return None if credentials.principal.root else self._decide(call, credentials.principal, JSON)

    def _decide(self, call: Call, principal: Principal, style: "Style") -> Refusal | None:
        if call.action in ALWAYS_ALLOWED:
            return None
        for check in self.checks.of(call, principal):
            reason = why_denied(check.request, principal, check.resource_policy, check.resource_policy_decides)
            self._remember(principal, check, reason)
            if reason:
                message = denied_message(principal, check.request, reason)
                log.info("denied: %s", message)
                return style.denied(message)
        self.checks.done(call)
        return None

    def _remember(self, principal: Principal, check: Check, reason: str | None) -> None:
        keep = {
            key: values
            for key, values in check.request.context.items()
            if key not in ("aws:currenttime", "aws:epochtime")
        }
        key = (principal.arn, check.request.action, check.request.resource, tuple(sorted(keep.items())))
        with self._lock:
            self.decisions[key] = reason

    def decided(self) -> list[dict]:
        """What was asked of IAM since the last reset, each once, in order."""
        with self._lock:
            return [
                {
                    "principal": principal, "action": action, "resource": resource, "context": dict(context),
                    "denied": reason,
                }
                for (principal, action, resource, context), reason in self.decisions.items()
            ]  # fmt: skip

    # ---- roles of tasks ----

    def assume_for_task(self, role_arn: str, task_id: str, region: str):
        """A session of the role, as ECS takes it for a task; PermissionError when its trust policy does not allow it.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
        """
        from moto.sts.models import sts_backends

        account, partition = self.sandbox.account_id, _partition(region)
        role = self.checks.role(role_arn.rpartition("/")[2])
        source = f"arn:{partition}:ecs:{region}:{account}:*"
        keys = [("aws:SourceAccount", account), ("aws:SourceArn", source), ("aws:RequestedRegion", region)]
        ecs = Principal(PASSED_TO, account, service=PASSED_TO)
        request = Request("sts:AssumeRole", role_arn, context_of(keys))
        if role is None or why_denied(request, ecs, self.checks.trust(role), True):
            raise PermissionError(
                f"ECS was unable to assume the role '{role_arn}' that was provided for this task. Please verify that "
                "the role being passed has the proper trust relationship and permissions and that your IAM user has "
                "permissions to pass this role."
            )
        sts = sts_backends[account][partition]
        session = sts.assume_role(region, task_id, role_arn, "", SESSION_SECONDS, "")
        with self._lock:
            self._sessions.setdefault(task_id, []).append(session)
        return session

    def forget_task(self, task_id: str) -> None:
        """The task has ended: its credentials are worth nothing any more."""
        from moto.sts.models import sts_backends

        with self._lock:
            sessions = self._sessions.pop(task_id, [])
        for session in sessions:
            kept = sts_backends[session.account_id][session.partition].assumed_roles
            if session in kept:
                kept.remove(session)


def denied_message(principal: Principal, request: Request, reason: str) -> str:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"""
    on = f" on resource: {request.resource}" if request.resource != "*" or not request.action.startswith("ec2:") else ""
    verb = "with" if reason.startswith("an explicit") else "because"
    return f"User: {principal.arn} is not authorized to perform: {request.action}{on} {verb} {reason}"


class Style:
    """How a protocol words what the caller may not."""

    def __init__(self, status: str, missing: str, unknown: str, forged: str, denied: str, expired: str):
        self.missing = Refusal(status, missing, "Request is missing Authentication Token")
        self.unknown = Refusal(status, unknown, "The security token included in the request is invalid.")
        self.forged = Refusal(
            status, forged,
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )  # fmt: skip
        self.expired = Refusal(status, expired, "The security token included in the request is expired")
        self._denied = (status, denied)

    def denied(self, message: str) -> Refusal:
        return Refusal(*self._denied, message)


class Ec2Style(Style):
    """EC2 says 401 to those whom it does not know, and puts a sentence of its own before IAM's."""

    def __init__(self):
        super().__init__(
            "403 Forbidden", "MissingAuthenticationToken", "AuthFailure", "AuthFailure", "UnauthorizedOperation",
            "RequestExpired",
        )  # fmt: skip
        text = "AWS was not able to validate the provided access credentials"
        self.unknown = self.forged = Refusal("401 Unauthorized", "AuthFailure", text)

    def denied(self, message: str) -> Refusal:
        return super().denied(f"You are not authorized to perform this operation. {message}")


QUERY = Style(
    "403 Forbidden", "MissingAuthenticationToken", "InvalidClientTokenId", "SignatureDoesNotMatch", "AccessDenied",
    "ExpiredToken",
)  # fmt: skip
S3 = Style(
    "403 Forbidden", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken"
)
JSON = Style(
    "400 Bad Request", "MissingAuthenticationTokenException", "UnrecognizedClientException",
    "InvalidSignatureException", "AccessDeniedException", "ExpiredTokenException",
)  # fmt: skip
SNS = Style(
    "403 Forbidden", "MissingAuthenticationToken", "InvalidClientTokenId", "SignatureDoesNotMatch",
    "AuthorizationError", "ExpiredToken",
)  # fmt: skip
STYLES = {"ec2": Ec2Style(), "s3": S3, "sns": SNS}


def _style(environ, service: str) -> Style:
    if service in STYLES:
        return STYLES[service]
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return QUERY
    known = service or "HTTP_X_AMZ_TARGET" in environ or environ.get("PATH_INFO", "").startswith("/service/")
    return JSON if known else S3


def _partition(region: str) -> str:
    from moto.utilities.utils import get_partition

    return get_partition(region)


def signature(environ, body: bytes, signed, credentials: Credentials) -> str:
    """The signature that the request must have; https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html"""
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Keys

    headers = {name: _header(environ, name) for name in signed["headers"].split(";")}
    host = environ.get("HTTP_HOST", "")
    request = AWSRequest(environ["REQUEST_METHOD"], f"http://{host}{_target(environ)}", headers, body)
    request.context["timestamp"] = headers.get("x-amz-date", "")
    kind = S3SigV4Auth if signed["service"] == "s3" else SigV4Auth
    auth = kind(Keys("", credentials.secret), signed["service"], signed["region"])
    return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)


def _header(environ, name: str) -> str:
    key = name.upper().replace("-", "_")
    return environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", "")


def _target(environ) -> str:
    """Path and query as they came over the wire."""
    return environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ.get("PATH_INFO", "/")
