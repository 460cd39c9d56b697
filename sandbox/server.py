"""Assembles the daemon: moto's server, our plug-ins in it, and a thin layer that makes its errors AWS errors."""

import gc
import importlib
import io
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from . import faults
from .core import ACCOUNT_ID, OWN_AGENT, REGION, Sandbox, SandboxError
from .processes import reap, start_time

log = logging.getLogger("sandbox")

PLUGINS = ("moto_gaps", "iam.simulate", "service_quotas", "registry", "elbv2", "elasticache", "ecs", "autoscaling")
"""In this order they are installed; they reset and stop in the opposite one, so that nobody loses what it stands on."""
XML_SERVICES = {"s3", "s3control", "route53", "cloudfront"}
"""REST services that answer in XML; what speaks neither XML nor the query protocol is answered in JSON."""


def serve(home: Path, port: int, time_scale: float, given_faults: dict, enforce_iam: bool = False,
          runner: str = "process") -> None:  # fmt: skip
    """Run the daemon in the foreground until SIGTERM or SIGINT; the caller holds the folder's lock.

    home/endpoint and home/pid ("<pid> <boot id> <start time>") are there while requests are answered. With faults,
    clients reach it through the proxy at home/endpoint, and its own tasks directly.
    """
    gc.disable()  # until all is loaded: the collector would walk moto's tables again and again
    reap(home / "processes")
    (home / "containers").unlink(missing_ok=True)  # of a run before, which may have had some
    isolate(home)
    public = bind(port)
    listening = bind(0) if given_faults else public
    endpoint, own = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in (public, listening))
    sandbox = Sandbox(home, own, time_scale)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    if enforce_iam:
        from .iam import Enforcer

        sandbox.iam = Enforcer(sandbox)
    if runner == "podman":
        from .containers import Containers

        sandbox.containers = Containers(sandbox)
    application = Application(sandbox)
    install_plugins(sandbox)
    server = make_server(listening, application)
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    sandbox.start()
    if given_faults:
        faults.start(sandbox, public, given_faults)
    gc.collect()
    gc.freeze()
    gc.enable()
    (home / "endpoint").write_text(endpoint)
    (home / "pid").write_text(f"{os.getpid()} {start_time(os.getpid())}")
    log.info("ready at %s, time scale %g, %.1f s of CPU", endpoint, time_scale, time.process_time())

    stop.wait()
    log.info("stopping")
    for name in ("pid", "endpoint"):
        (home / name).unlink(missing_ok=True)
    sandbox.stop()  # plug-ins may still call the API while they stop
    server.shutdown()
    log.info("stopped")


def isolate(home: Path) -> None:
    """No profile, endpoint or proxy of the caller's may reach the daemon's own clients or moto."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "MOTO_")) or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            del os.environ[name]
    os.environ.update(
        AWS_CONFIG_FILE=str(home / "no-config"),
        AWS_SHARED_CREDENTIALS_FILE=str(home / "no-credentials"),
        AWS_DEFAULT_REGION=REGION,
        AWS_EC2_METADATA_DISABLED="true",
        MOTO_ACCOUNT_ID=ACCOUNT_ID,
        MOTO_RECORDER_FILEPATH=str(home / "recording"),
    )


def bind(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes a free one."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except PermissionError as error:
        raise SandboxError(
            f"Port {port} of 127.0.0.1 is for root only: set SANDBOX_PORT to one above 1023 (0 finds a free one)."
        ) from error
    except OSError as error:
        raise SandboxError(
            f"Port {port} of 127.0.0.1 is taken{holder_of(port)}: set SANDBOX_PORT to another one (0 finds a free one)."
        ) from error
    listening.listen(128)
    return listening


def holder_of(port: int) -> str:
    """` by NAME (pid N)` when the operating system tells, otherwise nothing."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})" if connection.pid else ""
    except psutil.Error:
        pass
    return ""


def install_plugins(sandbox: Sandbox) -> None:
    """Call install(sandbox) of every plug-in, before the first request."""
    for name in PLUGINS:
        importlib.import_module(f"{__package__}.{name}").install(sandbox)


def make_server(listening: socket.socket, application):
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug import serving

    class Handler(MotoRequestHandler):
        def log_request(self, *_) -> None:
            pass  # Application logs service, operation and duration instead

    host, port = listening.getsockname()
    return serving.make_server(host, port, application, threaded=True, request_handler=Handler, fd=listening.fileno())


class Application:
    """WSGI: the sandbox's own paths, the rest to moto; a failure becomes an AWS error, a call a log line."""

    def __init__(self, sandbox: Sandbox):
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self.sandbox = sandbox
        self.moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ, start_response):
        path = environ.get("PATH_INFO", "")
        if path.startswith("/_sandbox/"):
            return self.own(path, environ, start_response)
        if self.sandbox.registry.mine(environ):
            return self.sandbox.registry(environ, start_response)
        service, region, operation = identify(environ)
        if region:
            self.sandbox.regions.add(region)
        started = time.monotonic()
        answer: dict = {}

        def remember(status, headers, exc_info=None):
            answer.update(status=status, headers=headers)
            return start_response(status, headers, exc_info) if not lost(service, status, headers) else None

        try:
            if self.sandbox.iam and (refusal := self.sandbox.iam.refuse(environ, service, region, operation)):
                log.info("%s.%s %s", service, operation, refusal.code)
                return error(environ, start_response, service, refusal.status, refusal.code, refusal.message)
            body = self.moto(environ, remember)
            if lost(service, answer["status"], answer["headers"]):
                body = error(environ, start_response, service, *unimplemented(service, operation))
        except NotImplementedError as failure:
            log.debug("moto: %s", failure)
            body = error(environ, start_response, service, *unimplemented(service, operation))
        except Exception as failure:
            log.exception("%s.%s", service, operation)
            message = f"The sandbox failed in {operation} of {service}: {type(failure).__name__}: {failure}"
            body = error(environ, start_response, service, "500 Internal Server Error", "InternalFailure", message)
        level = logging.DEBUG if OWN_AGENT in environ.get("HTTP_USER_AGENT", "") else logging.INFO
        milliseconds = 1000 * (time.monotonic() - started)
        log.log(level, "%s.%s %s %.0f ms", service, operation, answer.get("status", "failed"), milliseconds)
        return body

    def own(self, path: str, environ, start_response):
        from .status import status

        method = environ["REQUEST_METHOD"]
        if path == "/_sandbox/ping":
            answer = {"pid": os.getpid()}
        elif path == "/_sandbox/status":
            answer = status(self.sandbox)
        elif path == "/_sandbox/authorizations":
            answer = self.sandbox.iam.decided() if self.sandbox.iam else []
        elif path == "/_sandbox/lag" and method == "PUT":
            self.sandbox.lag = float(json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))))
            answer = {"lag": self.sandbox.lag}
        elif path == "/_sandbox/reset" and method == "POST":
            self.sandbox.reset()
            answer = {"reset": True}
        else:
            start_response("404 Not Found", [("Content-Type", "application/json")])
            return [b"{}"]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


def identify(environ) -> tuple[str, str, str]:
    """(service, region, operation) of a request, as far as its headers and form tell."""
    scope = re.search(r"Credential=[^/]+/[^/]+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    region, service = scope.groups() if scope else ("", "s3")
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return service, region, target.rpartition(".")[2]
    smithy = re.match(r"/service/[^/]+/operation/(\w+)", environ.get("PATH_INFO", ""))
    if smithy:
        return service, region, smithy.group(1)
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action = re.search(rb"(?:^|&)Action=(\w+)", body)
        if action:
            return service, region, action.group(1).decode()
    return service, region, f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')}"


def lost(service: str, status: str, headers) -> bool:
    """Flask's own HTML page: no route of moto's fits (S3 answers XML and text itself)."""
    html = any(name.lower() == "content-type" and value.startswith("text/html") for name, value in headers)
    return html and status.startswith(("404", "405")) and service != "s3"


def unimplemented(service: str, operation: str) -> tuple[str, str, str]:
    return "400 Bad Request", "UnknownOperationException", f"The sandbox does not implement {operation} of {service}"


def error(environ, start_response, service: str, status: str, code: str, message: str):
    """An error in the protocol of the request; used where moto is not asked, or raises instead of answering."""
    query = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    if query or service in XML_SERVICES:
        from xml.sax.saxutils import escape

        inner = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        if service == "ec2":
            inner = f"<Response><Errors>{inner}</Errors><RequestID>sandbox</RequestID></Response>"
        elif query:
            inner = f"<ErrorResponse>{inner}<RequestId>sandbox</RequestId></ErrorResponse>"
        content_type, body = "text/xml", f'<?xml version="1.0"?>{inner}'
    elif environ.get("PATH_INFO", "").startswith("/service/"):
        texts = [text.encode() for text in ("__type", code, "message", message)]
        body = b"\xa2" + b"".join(b"\x79" + len(text).to_bytes(2, "big") + text for text in texts)
        headers = [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
        start_response(status, headers, sys.exc_info())
        return [body]
    else:
        content_type, body = "application/json", json.dumps({"__type": code, "message": message})
    start_response(status, [("Content-Type", content_type), ("x-amzn-ErrorType", code)], sys.exc_info())
    return [body.encode()]
