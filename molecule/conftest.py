"""What the scenarios' tests look through: boto3 at the scenario's sandbox, and its data plane."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
import redis


@pytest.fixture
def client() -> Callable:
    """client(service) -> boto3 client; AWS_CONFIG_FILE says where the sandbox is."""
    return boto3.client


@pytest.fixture
def connect() -> Callable[..., redis.Redis]:
    """connect("nexus-learn", reader=False, token=None) -> Redis over TLS, with the token from Secrets Manager."""

    def connect(prefix: str, *, reader: bool = False, token: str | None = None) -> redis.Redis:
        secret = boto3.client("secretsmanager").get_secret_value(SecretId=f"{prefix}/redis")["SecretString"]
        groups = boto3.client("elasticache").describe_replication_groups(ReplicationGroupId=f"{prefix}-redis")
        node_group = groups["ReplicationGroups"][0]["NodeGroups"][0]
        endpoint = node_group["ReaderEndpoint" if reader else "PrimaryEndpoint"]
        return redis.Redis(
            host=endpoint["Address"],
            port=endpoint["Port"],
            password=token or json.loads(secret)["auth_token"],
            ssl=True,
            ssl_ca_certs=str(Path(os.environ["SANDBOX_HOME"]) / "ca.pem"),
            socket_timeout=5,
        )

    return connect


@pytest.fixture
def celery(monkeypatch) -> Callable:
    """celery("nexus-learn") -> a Celery app that sends tasks to the stack and reads their results."""
    from celery import Celery

    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):  # they would win over the arguments below
        monkeypatch.delenv(name, raising=False)

    def app(prefix: str) -> Celery:
        monkeypatch.setenv("SSL_CERT_FILE", str(Path(os.environ["SANDBOX_HOME"]) / "ca.pem"))
        secret = boto3.client("secretsmanager").get_secret_value(SecretId=f"{prefix}/redis")["SecretString"]
        url = json.loads(secret)["url"]
        return Celery("verify", broker=url, backend=url)

    return app


@pytest.fixture
def eventually() -> Callable:
    """eventually(function, timeout=60) -> its first true value; the timeout is an upper bound, not a measure."""

    def eventually(function: Callable, timeout: float = 60):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            value = function()
            if value:
                return value
            time.sleep(0.2)
        raise AssertionError(f"not within {timeout} s: {function}")

    return eventually
