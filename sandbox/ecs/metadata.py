"""What the ECS agent serves to containers: task metadata version 4, credentials of tasks' roles, scale-in protection.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

import datetime
import functools
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .model import Container, Task


class MetadataServer:
    """Serves, on a free port of 127.0.0.1, /v4/<container's runtime id>, …/task, /v2/credentials/<task's id> and
    /api/<container's runtime id>/task-protection/v1/state."""

    def __init__(self, sandbox):
        self._containers: dict[str, tuple[Task, Container]] = {}
        self._sessions: dict[str, object] = {}
        shared = {"sandbox": sandbox, "containers": self._containers, "sessions": self._sessions}
        handler = type("Handler", (_Handler,), shared)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(60,), name="ecs-metadata", daemon=True).start()

    def add(self, task: Task, container: Container) -> dict[str, str]:
        """The container's variables that say where it is served."""
        self._containers[container.runtime_id] = (task, container)
        address = f"http://127.0.0.1:{self._server.server_port}"
        return {
            "ECS_CONTAINER_METADATA_URI_V4": f"{address}/v4/{container.runtime_id}",
            "ECS_AGENT_URI": f"{address}/api/{container.runtime_id}",
        }

    def add_credentials(self, task: Task, session) -> str:
        """Value for AWS_CONTAINER_CREDENTIALS_FULL_URI; a session is moto's AssumedRole."""
        self._sessions[task.id] = session
        return f"http://127.0.0.1:{self._server.server_port}/v2/credentials/{task.id}"

    def remove(self, task: Task) -> None:
        self._sessions.pop(task.id, None)
        for container in task.containers:
            self._containers.pop(container.runtime_id, None)


class _Handler(BaseHTTPRequestHandler):
    sandbox: Any
    containers: dict[str, tuple[Task, Container]]
    sessions: dict[str, object]

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):
            self._protection("get_task_protection", dict)
            return
        if self.path.startswith("/v2/credentials/"):
            session = self.sessions.get(self.path.rpartition("/")[2])
            self._answer(_credentials(session) if session else None)
            return
        version, runtime_id, *path = [*self.path.strip("/").split("/"), ""][:4] if "/v4/" in self.path else ["", ""]
        path = [part for part in path if part]
        found = self.containers.get(runtime_id)
        if not version or not found or path not in ([], ["task"]):
            self._answer(None)
            return
        task, container = found
        self._answer(_task(task) if path else _container(task, container))

    def do_PUT(self) -> None:
        if self.path.startswith("/api/"):
            self._protection("update_task_protection", self._wanted_protection)
        else:
            self._answer(None)

    # What the agent says and what it asks of ECS, as the role of the task: aws/amazon-ecs-agent,
    # ecs-agent/tmds/handlers/taskprotection/v1.

    def _wanted_protection(self) -> dict:
        """The request's body as parameters of UpdateTaskProtection; ValueError says what is wrong with it."""
        try:
            wanted = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        except ValueError:
            wanted = None
        fields = {"ProtectionEnabled": bool, "ExpiresInMinutes": int}
        if not isinstance(wanted, dict) or not all(
            name in fields and isinstance(value, fields[name]) for name, value in wanted.items()
        ):
            raise ValueError("UpdateTaskProtection: failed to decode request")
        if "ProtectionEnabled" not in wanted:
            raise ValueError("Invalid request: does not contain 'ProtectionEnabled' field")
        return {f"{name[0].lower()}{name[1:]}": value for name, value in wanted.items()}

    def _protection(self, operation: str, parameters: Callable[[], dict]) -> None:
        runtime_id, _, path = self.path.removeprefix("/api/").partition("/")
        task, _ = self.containers.get(runtime_id, (None, None))
        if path != "task-protection/v1/state":
            self._answer(None)
        elif task is None:
            self._refuse(404, "", "ResourceNotFoundException", "Failed to find a task for the request")
        elif not task.definition.body.get("taskRoleArn"):
            problem = "Invalid Request: no task IAM role credentials available for task"
            self._refuse(403, task.arn, "AccessDeniedException", problem)
        else:
            session = self.sessions.get(task.id)
            client_of = functools.partial(self.sandbox.client_of, session) if session else self.sandbox.client
            try:
                ecs = client_of("ecs", task.cluster.region)
                found = getattr(ecs, operation)(cluster=task.cluster.arn, tasks=[task.arn], **parameters())
            except ValueError as error:
                self._refuse(400, task.arn, "InvalidParameterException", str(error))
            except ClientError as error:
                about, said = error.response["ResponseMetadata"], error.response["Error"]
                self._refuse(about["HTTPStatusCode"], task.arn, said["Code"], said["Message"], about.get("RequestId"))
            except BotoCoreError as error:
                self._refuse(500, task.arn, "ServerException", str(error))
            else:
                self._answer(_protection(found))

    def _refuse(self, status: int, arn: str, code: str, message: str, request: str | None = None) -> None:
        error = {**({"Arn": arn} if arn else {}), "Code": code, "Message": message}
        self._answer({**({"requestID": request} if request else {}), "error": error}, status)

    def _answer(self, found: dict | None, status: int = 200) -> None:
        if found is None:
            self.send_error(404)
            return
        body = json.dumps(found, default=str).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Requests of tasks are nobody's news."""


def _credentials(session) -> dict:
    return {
        "RoleArn": session.role_arn,
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.session_token,
        "Expiration": session.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _protection(found: dict) -> dict:
    """The endpoint's words for an answer of GetTaskProtection or UpdateTaskProtection about one task."""
    for failure in found["failures"]:
        return {
            "failure": {"Arn": failure["arn"], "Detail": failure.get("detail"), "Reason": failure["reason"]},
        }
    (task,) = found["protectedTasks"]
    expires = task.get("expirationDate")
    return {
        "protection": {
            "ExpirationDate": expires and expires.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "ProtectionEnabled": task["protectionEnabled"],
            "TaskArn": task["taskArn"],
        }
    }


def _task(task: Task) -> dict:
    cpu, memory = task.limits
    return {
        "Cluster": task.cluster.arn,
        "TaskARN": task.arn,
        "Family": task.definition.family,
        "Revision": str(task.definition.revision),
        "DesiredStatus": task.desired_status,
        "KnownStatus": task.status,
        "Limits": {"CPU": cpu, "Memory": memory},
        "Containers": [_container(task, container) for container in task.containers],
        "AvailabilityZone": f"{task.cluster.region}a",
        "LaunchType": "FARGATE",
        **({"ServiceName": task.service.name} if task.service else {}),
    }


def _container(task: Task, container: Container) -> dict:
    options = (container.definition.get("logConfiguration") or {}).get("options") or {}
    return {
        "DockerId": container.runtime_id,
        "Name": container.name,
        "DockerName": container.name,
        "Image": container.definition["image"],
        "Labels": {
            **(container.definition.get("dockerLabels") or {}),
            "com.amazonaws.ecs.cluster": task.cluster.arn,
            "com.amazonaws.ecs.container-name": container.name,
            "com.amazonaws.ecs.task-arn": task.arn,
            "com.amazonaws.ecs.task-definition-family": task.definition.family,
            "com.amazonaws.ecs.task-definition-version": str(task.definition.revision),
        },
        "DesiredStatus": task.desired_status,
        "KnownStatus": container.status,
        "Limits": {
            "CPU": container.definition.get("cpu", 0),
            "Memory": container.definition.get("memory") or task.limits[1],
        },
        "Type": "NORMAL",
        "ContainerARN": container.arn,
        "LogDriver": (container.definition.get("logConfiguration") or {}).get("logDriver", ""),
        "LogOptions": options,
        "Networks": [{"NetworkMode": task.definition.body["networkMode"], "IPv4Addresses": ["127.0.0.1"]}],
        **({"RestartCount": container.restarts} if container.definition.get("restartPolicy") else {}),
        **({"Health": {"status": container.health_status}} if container.health else {}),
    }
