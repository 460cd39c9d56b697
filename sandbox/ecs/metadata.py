"""Task metadata endpoint version 4, and the credentials of tasks' roles.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .model import Container, Task


class MetadataServer:
    """Serves /v4/<container's runtime id>, …/task and /v2/credentials/<task's id> on a free port of 127.0.0.1."""

    def __init__(self):
        self._containers: dict[str, tuple[Task, Container]] = {}
        self._sessions: dict[str, object] = {}
        handler = type("Handler", (_Handler,), {"containers": self._containers, "sessions": self._sessions})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(60,), name="ecs-metadata", daemon=True).start()

    def add(self, task: Task, container: Container) -> str:
        """Value for ECS_CONTAINER_METADATA_URI_V4."""
        self._containers[container.runtime_id] = (task, container)
        return f"http://127.0.0.1:{self._server.server_port}/v4/{container.runtime_id}"

    def add_credentials(self, task: Task, session) -> str:
        """Value for AWS_CONTAINER_CREDENTIALS_FULL_URI; a session is moto's AssumedRole."""
        self._sessions[task.id] = session
        return f"http://127.0.0.1:{self._server.server_port}/v2/credentials/{task.id}"

    def remove(self, task: Task) -> None:
        self._sessions.pop(task.id, None)
        for container in task.containers:
            self._containers.pop(container.runtime_id, None)


class _Handler(BaseHTTPRequestHandler):
    containers: dict[str, tuple[Task, Container]]
    sessions: dict[str, object]

    def do_GET(self) -> None:
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

    def _answer(self, found: dict | None) -> None:
        if found is None:
            self.send_error(404)
            return
        body = json.dumps(found, default=str).encode()
        self.send_response(200)
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
