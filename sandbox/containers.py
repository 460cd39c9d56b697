"""Real containers instead of processes, with podman (`up --runner podman`), for images that were pushed to ECR here.

A container shares this machine's network and has a hostname of its own. The process that the sandbox starts is `podman
run` in the foreground: it passes signals on, ends with the container's exit code, and what the container prints is its
output. All containers carry a label, by which processes.reap finds those that outlived it.
"""

import json
import logging
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .core import ProcessImage, Sandbox, SandboxError
from .processes import remove_containers

log = logging.getLogger(__name__)

IMAGE = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<rest>.+)")
PULL_SECONDS = 120


class Containers:
    """Pulls images, and makes the commands that run them."""

    def __init__(self, sandbox: Sandbox):
        if not shutil.which("podman"):
            raise SandboxError("--runner podman needs podman: install it (Debian, Ubuntu: apt-get install podman).")
        self.sandbox = sandbox
        self.marker = sandbox.home / "containers"
        self.marker.touch()
        sandbox.on_reset(self.remove)
        sandbox.on_stop(self.remove)

    def remove(self) -> None:
        remove_containers(self.marker)

    def image(self, name: str) -> ProcessImage | None:
        """The image, pulled from the sandbox's registry; None if it is not there, or no image of this account's ECR."""
        found = IMAGE.fullmatch(name)
        if found is None or found["account"] != self.sandbox.account_id:
            return None
        host = self.sandbox.endpoint.removeprefix("http://")
        token = self.sandbox.registry.token("sandbox", found["region"])
        with tempfile.NamedTemporaryFile("w", suffix=".json") as login:
            json.dump({"auths": {host: {"auth": token}}}, login)
            login.flush()
            reference = f"{host}/{found['rest']}"
            pull = ["podman", "pull", "--quiet", "--tls-verify=false", "--authfile", login.name, reference]
            try:
                subprocess.run(pull, capture_output=True, timeout=PULL_SECONDS, check=True, text=True)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
                log.info("podman pull %s: %s", reference, failure.stderr or failure)
                return None
        return ProcessImage(Path("/"), "", reference=reference)

    def run(self, name: str, hostname: str, reference: str, definition: dict, names: list[str]) -> list[str]:
        """The command of a container; `names` are the variables that it takes over from the environment of podman."""
        trusted = self.sandbox.home / "ca.pem"
        options = [
            *("--rm", "--replace", "--name", name, "--label", f"sandbox={self.marker}", "--pull", "never"),
            *("--network", "host", "--hostname", hostname, "--ulimit", "host", "--log-driver", "none"),
            *("--volume", f"{trusted}:{trusted}:ro"),
            *(word for one in names for word in ("--env", one)),
        ]
        for key, option in (("user", "--user"), ("workingDirectory", "--workdir")):
            options += [option, definition[key]] if definition.get(key) else []
        options += ["--read-only"] if definition.get("readonlyRootFilesystem") else []
        options += ["--entrypoint", json.dumps(definition["entryPoint"])] if definition.get("entryPoint") else []
        return ["podman", "run", *options, reference, *(definition.get("command") or [])]

    @staticmethod
    def kill(name: str) -> None:
        subprocess.run(["podman", "kill", name], capture_output=True, check=False)
