"""Writes down what each run of ansible-playbook did: a line of JSON in $STEPS_FILE for each, with

``playbook``, ``check``, ``changed`` (the tasks that did, in order), ``changes`` (theirs, field by field) and
``operations`` (what reached the sandbox's AWS API, seen there by moto's request recorder and not where it is sent).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import urllib.request
from pathlib import Path

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: steps
type: aggregate
short_description: Write down what a run did
description: For tests.
author: Nexus Learn platform team
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "steps"

    def __init__(self):
        super().__init__()
        self.home = Path(os.environ["SANDBOX_HOME"])
        self.changed: list[str] = []
        self.changes: list[list] = []

    def v2_playbook_on_start(self, playbook):
        self.playbook = Path(playbook._file_name).name
        self._recorder("reset-recording")
        self._recorder("start-recording")

    def v2_runner_on_ok(self, result):
        if result.result.get("changed"):
            self.changed.append(result.task.get_name())
            self.changes.append(result.result.get("changes"))

    def v2_playbook_on_stats(self, stats):
        self._recorder("stop-recording")
        step = {
            "playbook": self.playbook,
            "check": bool(context.CLIARGS.get("check")),
            "changed": self.changed,
            "changes": self.changes,
            "operations": self._operations(),
        }
        with Path(os.environ["STEPS_FILE"]).open("a") as file:
            file.write(json.dumps(step) + "\n")

    def _recorder(self, action: str) -> None:
        # a run that brings the sandbox up or takes it down finds none at its one end
        with contextlib.suppress(OSError):
            url = f"{(self.home / 'endpoint').read_text()}/moto-api/recorder/{action}"
            urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10).close()

    def _operations(self) -> list[str]:
        if not (self.home / "recording").exists():
            return []
        names = []
        for line in (self.home / "recording").read_text().splitlines():
            request = json.loads(line)
            # the sandbox's own tasks call it too
            if "nexus_learn.aws" not in request["headers"].get("User-Agent", ""):
                continue
            if "/s3/aws4_request" in request["headers"].get("Authorization", ""):
                path = request["url"].split("/", 3)[-1]
                names.append(f"{request['method'].capitalize()}Object /{path}")
                continue
            target = request["headers"].get("X-Amz-Target")
            body = request.get("body") or ""
            if request.get("body_encoded"):
                body = base64.b64decode(body).decode(errors="replace")
            names.append(target.split(".")[-1] if target else re.search(r"Action=(\w+)", body).group(1))
        return names
