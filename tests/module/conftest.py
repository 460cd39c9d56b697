"""Modules are called as Ansible calls them: through their argument spec and the engine, against a sandbox."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.nexus_learn.aws.plugins.module_utils import doors, prices
from botocore.client import BaseClient

READS = ("Describe", "Get", "List", "BatchGet", "Head", "Assume", "Filter")


class Calls(list):
    """The operations sent to AWS, in order, as ``(service, operation)``."""

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [call for call in self if not call[1].startswith(READS)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Every AWS call that is made from here on in this test."""
    made = Calls()
    original = BaseClient._make_api_call

    def record(self, operation, arguments):
        made.append((self.meta.service_model.service_name, operation))
        return original(self, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    return made


@pytest.fixture
def module(sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """``module("ecs_cluster", {...}, check=True)`` -> the module's result; fails the test if it failed.

    With ``expect_failure=True`` it returns the failed result instead.
    """
    monkeypatch.setenv("AWS_ENDPOINT_URL", sandbox.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sandbox")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sandbox")

    def call(name: str, args: dict[str, Any], *, check: bool = False, expect_failure: bool = False) -> dict[str, Any]:
        package = "ansible_collections.nexus_learn.aws.plugins"
        aggregate = importlib.import_module(f"{package}.module_utils.{name}")
        spec = importlib.import_module(f"{package}.modules.{name}").SPEC
        validation = ArgumentSpecValidator(**doors.full_spec(spec)).validate({"region": "us-east-1", **args})
        assert validation.error_messages == []
        result = doors.enter(aggregate, validation.validated_parameters, check_mode=check, say=print)
        if expect_failure:
            assert result.get("failed"), f"{name} was expected to fail: {result}"
        else:
            assert not result.get("failed"), result.get("msg")
            made = {item["resource"] for item in result["changes"] if item["action"] != "delete"}
            assert made <= set(result["resources"]), "what is changed is not counted among what is managed"
        return result

    return call


class Stopped(BaseException):
    """Like KeyboardInterrupt: nothing in a module may catch it."""


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch, module) -> Callable[[str, str, dict[str, Any]], None]:
    """``stop_at(name, operation, args)``: run a module until AWS has answered this call."""

    def run(name: str, operation: str, args: dict[str, Any]) -> None:
        original = BaseClient._make_api_call

        def call(self, made, given):
            answer = original(self, made, given)
            if made == operation:
                raise Stopped
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(BaseClient, "_make_api_call", call)
            with pytest.raises(Stopped):
                module(name, args)

    return run


def cost(result: dict[str, Any], side: str) -> dict[str, Any] | None:
    return result["billed"] and prices.estimate(result["billed"][side], "us-east-1")


@pytest.fixture
def quartet(module, calls) -> Callable[..., dict[str, Any]]:
    """Check, run, run again, check again: what check predicts is what run changes, and then there is nothing left."""

    def run(name: str, args: dict[str, Any]) -> dict[str, Any]:
        calls.clear()
        foretold = module(name, args, check=True)
        assert calls.writes == []
        done = module(name, args)
        assert [(c["resource"], c["action"], c["path"]) for c in foretold["changes"]] == [
            (c["resource"], c["action"], c["path"]) for c in done["changes"]
        ]
        calls.clear()
        again = module(name, args)
        assert again["changes"] == []
        assert calls.writes == []
        assert module(name, args, check=True)["changes"] == []
        assert set(foretold) == set(done) == set(again), "check mode returns the same shape"
        costs = [cost(result, "after") for result in (foretold, done, again)]
        if args.get("apply_immediately", True):  # else it costs so only after the maintenance window
            costs.append(cost(again, "before"))
        assert all(one == costs[0] for one in costs), "what is foretold to cost is what it costs then"
        return done

    return run


@pytest.fixture
def left_alone(module, calls) -> Callable[..., list[str]]:
    """Ask for state absent of what is tagged otherwise; nothing happens, and the warnings that say so are returned."""

    def run(name: str, args: dict[str, Any]) -> list[str]:
        calls.clear()
        results = [module(name, {**args, "state": "absent"}, check=check) for check in (True, False)]
        assert [result["changes"] for result in results] == [[], []]
        assert calls.writes == []
        assert results[0]["warnings"] == results[1]["warnings"]
        return results[1]["warnings"]

    return run
