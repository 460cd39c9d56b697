# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The deployment lock as a thing to look at, and to break on purpose; ``lock.py`` is the lock itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Change, Refused, Say, delete
from ansible_collections.nexus_learn.aws.plugins.module_utils.lock import KEY, Holder, Lock


def _lock(params: Mapping) -> Lock:
    return Lock({**params, "lock": {"bucket": params["bucket"], "lease": 900, "run_id": params["lock_id"] or "nobody"}})


def describe(aws: Aws, params: Mapping) -> Holder | None:
    return _lock(params).read(absent_bucket=True)


def plan(aws: Aws, params: Mapping, current: Holder | None) -> list[Change]:
    if current is None:
        return []
    if current.id != params["lock_id"]:
        raise Refused(
            f"The lock {params['lock_id']} is not there any more. Another one is, {current.id}: it is held by "
            f"{current}. Nothing was touched."
        )
    return [delete(f"lock s3://{aws.fill(params['bucket'])}/{KEY}", dict(current.content))]


def apply(aws: Aws, params: Mapping, current: Holder, changes: Sequence[Change], say: Say) -> None:
    lock = _lock(params)
    # A holder that lives goes on renewing it, so that it may not be what it was when it was read.
    if lock.release():
        entry = {"id": current.id, **lock.who(), "outcome": "lock broken", "message": f"It was held by {current}."}
        lock.write_journal(entry)


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Nothing to wait for: S3 is consistent."""


def resources(aws: Aws, params: Mapping, current: Holder | None) -> list[str]:
    return []


def output(aws: Aws, params: Mapping, current: Holder | None) -> dict[str, Any]:
    if current is None or params["state"] == "absent":
        return {"holder": None}
    return {"holder": {**current.content, "age": current.age, "expired": current.expired}}
