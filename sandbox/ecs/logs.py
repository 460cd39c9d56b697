"""The awslogs driver: what containers print goes to CloudWatch Logs, in batches, from one thread for all of them."""

import logging
import os
import selectors
import threading
import time

from botocore.exceptions import ClientError

from .errors import StartFailure

log = logging.getLogger("sandbox.ecs")

FLUSH_SECONDS = 0.5
LINE_BYTES = 16 * 1024
"""Docker cuts longer lines into events of this size."""
BATCH_EVENTS, BATCH_BYTES = 5_000, 800_000
"""Below the limits of PutLogEvents (10,000 events, 1 MiB with 26 bytes for each event)."""


class Stream:
    """One container's log stream. `done` once everything printed is in CloudWatch Logs."""

    def __init__(self, client, group: str, name: str, reader: int):
        self.client, self.group, self.name, self.reader = client, group, name, reader
        self.rest = b""
        self.events: list[dict] = []
        self.done = False

    def feed(self, data: bytes, end: bool = False) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        if self.rest and (end or len(self.rest) >= LINE_BYTES):
            lines.append(self.rest)
            self.rest = b""
        now = int(time.time() * 1000)
        for line in lines:
            for start in range(0, len(line), LINE_BYTES):
                text = line[start : start + LINE_BYTES].decode(errors="replace").rstrip("\r")
                if text:
                    self.events.append({"timestamp": now, "message": text})

    def flush(self) -> None:
        while self.events:
            batch, size = [], 0
            while self.events and len(batch) < BATCH_EVENTS and size < BATCH_BYTES:
                batch.append(self.events.pop(0))
                size += len(batch[-1]["message"].encode()) + 26
            try:
                self.client.put_log_events(logGroupName=self.group, logStreamName=self.name, logEvents=batch)
            except Exception as error:  # the group may be gone; a container's output must never stop the others'
                log.warning("%s %s: %d log events were lost: %s", self.group, self.name, len(batch), error)


class LogShipper(threading.Thread):
    def __init__(self):
        super().__init__(name="ecs-logs", daemon=True)
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)

    def open(self, make_client, options: dict, region: str, container: str, task_id: str) -> tuple[Stream, int]:
        """Create the log stream; returns it and the descriptor for the container's stdout, which the caller closes.

        make_client(service, region): the driver writes as the task's execution role.
        Raises StartFailure when the log group is missing and `awslogs-create-group` is not "true".
        """
        client = make_client("logs", options.get("awslogs-region") or region)
        group = options["awslogs-group"]
        name = "/".join(filter(None, [options.get("awslogs-stream-prefix"), container, task_id]))
        try:
            if options.get("awslogs-create-group") == "true":
                _ignore_existing(client.create_log_group, logGroupName=group)
            _ignore_existing(client.create_log_stream, logGroupName=group, logStreamName=name)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            raise StartFailure(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
                "failed to create Cloudwatch log stream: operation error CloudWatch Logs: CreateLogStream, "
                f"{code}: {message} : exit status 1"
            ) from None
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        stream = Stream(client, group, name, reader)
        self._selector.register(reader, selectors.EVENT_READ, stream)
        os.write(self._wake_writer, b".")
        return stream, writer

    def run(self) -> None:
        pending: set[Stream] = set()
        due = 0.0
        while True:
            wait = max(0.0, due - time.monotonic()) if pending else None
            for key, _ in self._selector.select(wait):
                if key.data is None:
                    os.read(self._wake_reader, 4096)
                    continue
                if not pending:
                    due = time.monotonic() + FLUSH_SECONDS
                pending.add(key.data)
                self._read(key.data)
            if pending and time.monotonic() >= due:
                self._flush(pending)
                pending.clear()

    def _read(self, stream: Stream) -> None:
        try:
            data = os.read(stream.reader, 65536)
        except BlockingIOError:
            return
        stream.feed(data, end=not data)
        if not data:
            self._selector.unregister(stream.reader)
            os.close(stream.reader)
            stream.reader = -1

    def _flush(self, streams: set[Stream]) -> None:
        for stream in streams:
            stream.flush()
            stream.done = stream.reader == -1


def _ignore_existing(function, **arguments) -> None:
    try:
        function(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
            raise
