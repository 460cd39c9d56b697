# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run at a time: a lock in the deployment bucket, and beside it the journal of what was changed.

The lock is an object, ``lock.json``. It is made, renewed, taken over and deleted by conditional requests only, so that
of many who try at once one succeeds (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html).
It belongs to a *run* of ansible-playbook: the modules of one run find that they hold it already.

How old it is, is the answer's ``Date`` less its ``Last-Modified``: both are S3's, so clocks of machines may differ.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

try:
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    BotoCoreError = ClientError = ()  # type: ignore

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, explain
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import AnswerLost, Change, Failed, Refused

# What a request to S3 may fail with; () where the SDK is missing, which doors.py reports.
ERRORS: Any = (ClientError, BotoCoreError)
KEY = "lock.json"
JOURNAL = "journal/"

# The option ``lock`` that every module has.
OPTION: dict[str, Any] = {
    "type": "dict",
    "options": {
        "bucket": {"type": "str", "required": True},
        "enabled": {"type": "bool", "default": True},
        "lease": {"type": "int", "default": 900},
        "run_id": {"type": "str"},
    },
}

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html: 412 is a condition that does not hold, 409
# somebody who wrote meanwhile. A condition on what is not there answers 404.
_OVERTAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


def connection(params: Mapping[str, Any]) -> dict[str, Any]:
    """Of a module's ``params`` those that lead to AWS: region, profile, endpoint and so on."""
    return {key: params[key] for key in aws_argument_spec() if params.get(key) is not None}


class Run:
    """One run of ansible-playbook. Its own process makes it, before it forks the workers, which inherit it.

    ``about`` says what is run: ``{playbook, inventory, check, tags, ...}``, values that JSON can hold.
    """

    def __init__(self, about: Mapping[str, Any]):
        self.id = uuid.uuid4().hex
        self.about = dict(about)
        self.pid = os.getpid()
        self._locks: dict[str, dict[str, Any]] = {}
        self._heard = b""
        self._inlet, self._outlet = os.pipe()
        os.set_blocking(self._inlet, False)
        # The kernel's word for whether anybody of this run is alive: this process and its workers share one open file,
        # and with the last of them its lock is gone, however they ended.
        self._life = os.open(life(self.id), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        fcntl.flock(self._life, fcntl.LOCK_EX)

    @property
    def in_worker(self) -> bool:
        return os.getpid() != self.pid

    @property
    def orphaned(self) -> bool:
        """Whether this is a worker whose ansible-playbook is gone: nobody will ever read what it finds."""
        return self.in_worker and os.getppid() != self.pid

    def tell(self, params: Mapping[str, Any], held: bool) -> None:
        """A worker tells ansible-playbook, which will release it, of the lock that it is about to take, or has taken.

        In memory, for there may be keys in ``params``.
        """
        message = {"held": held, "params": {**connection(params), "lock": params["lock"]}}
        os.write(self._outlet, json.dumps(message).encode() + b"\n")

    def locks(self) -> dict[str, dict[str, Any]]:
        """What the workers have told so far, ``{bucket: {held, params}}``; a worker knows what was told before it."""
        with suppress(BlockingIOError):
            while not self.in_worker and (part := os.read(self._inlet, 65536)):
                self._heard += part
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            message = json.loads(line)
            bucket = message["params"]["lock"]["bucket"]
            message["held"] |= self._locks.get(bucket, {"held": False})["held"]
            self._locks[bucket] = message
        return self._locks

    def alone(self, timeout: float) -> bool:
        """Whether no worker is alive any more; waits so many seconds for the last one. Ends this process's own part."""
        os.close(self._life)
        deadline = time.monotonic() + timeout
        while alive(self.id):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        with suppress(OSError):
            os.unlink(life(self.id))
        return True


# The run that this process belongs to; None where no callback of ours is enabled, and on another host.
RUN: Run | None = None


def lend(args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a task that runs elsewhere, with this run's id: it shares the lock and leaves it to this run."""
    options = args.get("lock")
    if RUN is None or not options or not boolean(options.get("enabled", True)):
        return dict(args)
    lent = {"lock": {"lease": OPTION["options"]["lease"]["default"], **options, "run_id": RUN.id}}
    RUN.tell({**args, **lent}, held=False)
    return {**args, **lent}


def life(run_id: str) -> Path:
    return Path(tempfile.gettempdir()) / f"nexus-learn-run-{uuid.UUID(run_id).hex}"


def alive(run_id: str) -> bool | None:
    """Whether a process of that run is alive; None when it does not run on this machine."""
    try:
        file = os.open(life(run_id), os.O_RDONLY | os.O_NOFOLLOW)
    except (OSError, ValueError):
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


@dataclass(frozen=True)
class Holder:
    """The lock as it lies in the bucket. ``age`` is in seconds, ``seen`` when it was written last, by S3's clock."""

    content: Mapping[str, Any]
    etag: str
    age: float
    seen: datetime

    @property
    def id(self) -> str:
        return str(self.content.get("id", ""))

    @property
    def expired(self) -> bool:
        return self.age > self.content.get("lease", OPTION["options"]["lease"]["default"])

    @property
    def person(self) -> str:
        return f"{self.content.get('user', '?')} ({self.content.get('arn', '?')})"

    def __str__(self) -> str:
        return (
            f"{self.person} since {self.content.get('started', '?')}, with {self.content.get('playbook', '?')}; "
            f"last sign of life {clock(self.seen)}"
        )


def clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


class Lock:
    """The lock of one deployment bucket, seen by one run. ``params`` are a module's, with the option ``lock``."""

    def __init__(self, params: Mapping[str, Any]):
        options = params["lock"]
        self.params = params
        self.lease = options["lease"]
        # Often enough that a broken lock is noticed soon, and that a few lost requests do no harm.
        self.interval = min(60, self.lease / 3)
        self.run_id = options.get("run_id") or (RUN.id if RUN else uuid.uuid4().hex)
        # Whether somebody else releases it at the end of the run.
        self.lent = bool(options.get("run_id") or RUN)
        self.warnings: list[str] = []
        self._identity: dict[str, str] | None = None
        self._renewed = time.time()
        self._renewing = threading.Lock()
        self._lost: Exception | None = None

    @cached_property
    def aws(self) -> Aws:
        """Made when it is needed: most runs change nothing. Its own, for the lock's requests give no sign of life."""
        return Aws(self.params, self._identity)

    @cached_property
    def bucket(self) -> str:
        return self.aws.fill(self.params["lock"]["bucket"])

    # --- what the engine needs -----------------------------------------------------------------------------------

    @contextmanager
    def hold(self, aws: Aws, changes: Sequence[Change]) -> Iterator[bool]:
        """Hold the lock while ``changes`` are carried out through ``aws``.

        Yields whether it was taken just now: then somebody else may have changed what the plan was made from.
        """
        self._identity = aws.identity
        if any(change.action == "create" and change.resource == f"bucket {self.bucket}" for change in changes):
            yield False  # what makes the bucket cannot lock in it; S3 lets only one create it
            return
        taken = self.acquire()
        self._renewed = time.time()
        aws.pulse = self.pulse
        try:
            yield taken
        finally:
            aws.pulse = None
            if not self.lent:
                try:
                    self.release()
                except ERRORS as error:
                    self.warnings.append(self._unusable(error))

    def acquire(self) -> bool:
        """Take the lock; False when this run holds it already. ``Refused`` names the one who holds it."""
        known = RUN is not None and RUN.locks().get(self.params["lock"]["bucket"], {"held": False})["held"]
        if RUN:
            RUN.tell(self.params, held=known)
        try:
            taken = self._acquire(known)
        except ERRORS as error:
            raise Refused(self._unusable(error)) from error
        if RUN:
            RUN.tell(self.params, held=True)
        return taken

    def pulse(self) -> None:
        """Called before every request to AWS while the lock is held: renew it when it is time.

        Raises when this run must not go on. A clock that counts a laptop's sleep: after it, somebody else may have
        taken over.
        """
        if self._lost:
            raise self._lost
        if RUN and RUN.orphaned:
            raise Failed("ansible-playbook is gone; its worker stops.")
        if 0 <= time.time() - self._renewed < self.interval or not self._renewing.acquire(blocking=False):
            return
        try:
            self.renew()
        except Failed as error:
            self._lost = error
            raise
        except ERRORS as error:
            if not 0 <= time.time() - self._renewed < self.lease:
                self._lost = Failed(f"{self._unusable(error)} It may have expired, so this run stops here.")
                raise self._lost from error
        finally:
            self._renewing.release()

    # --- what the end of a run, and playbooks/unlock.yml, need ---------------------------------------------------

    def renew(self) -> None:
        """Write the lock anew, which is the sign of life. ``Failed`` when this run does not hold it any more."""
        holder = self.read()
        self._demand(holder)
        if holder.age >= self.interval / 2:  # otherwise another worker of this run has just done it
            with suppress_overtaken():
                self._put({**holder.content, "renewals": holder.content.get("renewals", 0) + 1}, IfMatch=holder.etag)
        self._renewed = time.time()

    def release(self) -> bool:
        """Delete the lock if this run holds it; returns whether it did."""
        while True:
            holder = self.read(absent_bucket=True)
            if holder is None or holder.id != self.run_id:
                return False
            if self.delete(holder):
                return True

    def delete(self, holder: Holder) -> bool:
        """Delete the lock as it was read; False when it has been renewed, taken over or deleted since."""
        try:
            self._s3.delete_object(**self._place, IfMatch=holder.etag)
        except AnswerLost:
            return False  # look whether it is still there
        except ClientError as error:
            if error_code(error) not in _OVERTAKEN:
                raise
            return False
        return True

    def read(self, absent_bucket: bool = False) -> Holder | None:
        """The lock as it lies there. Without a bucket: ``Refused``, or None with ``absent_bucket``."""
        try:
            answer = self._s3.get_object(**self._place)
        except ClientError as error:
            if error_code(error) == "NoSuchBucket" and not absent_bucket:
                raise Refused(
                    f"The deployment bucket {self.bucket}, where the lock of this stack lies, is not there. "
                    "Make it with `ansible-playbook site.yml --tags deployment`, "
                    "or work without a lock: deployment_lock_enabled: false."
                ) from error
            if error_code(error) not in ("NoSuchKey", "NoSuchBucket"):
                raise
            self._now = parsedate_to_datetime(error.response["ResponseMetadata"]["HTTPHeaders"]["date"])
            return None
        self._now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        try:
            content = json.loads(answer["Body"].read())
        except ValueError:
            content = None
        seen = answer["LastModified"]
        return Holder(
            content if isinstance(content, dict) else {}, answer["ETag"], (self._now - seen).total_seconds(), seen
        )

    def write_journal(self, entry: Mapping[str, Any]) -> str:
        """Add an entry to the journal; returns its key. Its name is the time, by S3's clock, and the run's id."""
        self.read(absent_bucket=True)
        key = f"{JOURNAL}{self._now:%Y%m%dT%H%M%SZ}-{entry['id']}.json"
        self._s3.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=json.dumps({**entry, "ended": clock(self._now)}, indent=2, default=str).encode(),
            ContentType="application/json",
            ExpectedBucketOwner=self.aws.account_id,
        )
        return key

    # --- inside --------------------------------------------------------------------------------------------------

    def _acquire(self, known: bool) -> bool:
        patience = time.monotonic() + 30
        tried = False
        while True:
            holder = self.read()
            if known:
                self._demand(holder)
            if holder is None:
                condition = {"IfNoneMatch": "*"}
            elif holder.id == self.run_id:
                return tried  # when it was tried, the answer was lost
            else:
                lives = alive(holder.id)
                orphan = bool(lives) and not process_exists(holder.content.get("pid"))
                if orphan and time.monotonic() < patience:
                    time.sleep(0.1)  # killed a moment ago: its worker stops before its next request
                    continue
                if lives is not False and not holder.expired:
                    raise Refused(self._refusal(holder, orphan))
                condition = {"IfMatch": holder.etag}
            tried = True
            try:
                self._put(self._content(), **condition)
            except AnswerLost:
                continue  # look who holds it now
            except ClientError as error:
                if error_code(error) in _OVERTAKEN:
                    continue
                raise
            if holder is not None:
                why = "its process is gone" if lives is False else f"no sign of life for {holder.age:.0f} s"
                self.warnings.append(f"Took over the lock of a run that has ended ({why}): {holder}.")
            return True

    def _demand(self, holder: Holder | None) -> None:
        if holder is None or holder.id != self.run_id:
            now = f"now {holder.person} holds it" if holder else "it is gone"
            raise Failed(
                f"Somebody broke this run's lock s3://{self.bucket}/{KEY}: {now}. This run stops before its next "
                "change. Make sure that nobody else is at work, and run the playbook again."
            )

    def who(self) -> dict[str, str]:
        """Who runs this: on this machine, and for AWS."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container may run under a number that has no name
            user = str(os.getuid())
        return {"user": f"{user}@{socket.gethostname()}", "arn": self.aws.identity["Arn"]}

    def _content(self) -> dict[str, Any]:
        about = RUN.about if RUN else {}
        return {
            "id": self.run_id,
            **self.who(),
            "pid": RUN.pid if RUN else os.getpid(),
            **{key: about[key] for key in ("playbook", "inventory") if key in about},
            "started": clock(self._now),
            "lease": self.lease,
            "hint": f"Break it on purpose: ansible-playbook playbooks/unlock.yml -e lock_id={self.run_id}",
        }

    def _refusal(self, holder: Holder, orphan: bool) -> str:
        inventory = " ".join(f"-i {item}" for item in (RUN.about.get("inventory", []) if RUN else []))
        remains = "Its ansible-playbook is gone, but a worker is still at work. " if orphan else ""
        left = max(0, holder.content.get("lease", self.lease) - holder.age)
        return (
            f"This stack is being changed by {holder}. Wait for it. {remains}If that run is dead: its lock expires by "
            f"itself in {left:.0f} s, or break it now with `ansible-playbook playbooks/unlock.yml "
            f"{inventory + ' ' if inventory else ''}-e lock_id={holder.id}`."
        )

    def _unusable(self, error: Exception) -> str:
        return (
            f"The deployment lock s3://{self.bucket}/{KEY} cannot be used: {explain(error)} Nobody else may work on "
            "this stack meanwhile if you go on without it, with deployment_lock_enabled: false."
        )

    def _put(self, content: Mapping[str, Any], **condition: str) -> None:
        body = json.dumps(content, indent=2).encode()
        self._s3.put_object(**self._place, Body=body, ContentType="application/json", **condition)

    @property
    def _s3(self) -> Any:
        return self.aws.client("s3")

    @property
    def _place(self) -> dict[str, str]:
        # the owner: a bucket's name can be taken by anybody in the world before we make ours
        return {"Bucket": self.bucket, "Key": KEY, "ExpectedBucketOwner": self.aws.account_id}


@contextmanager
def suppress_overtaken() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error_code(error) not in _OVERTAKEN:
            raise


def process_exists(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, TypeError):
        return False
    except PermissionError:
        return True
    return True
