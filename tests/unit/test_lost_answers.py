"""A write whose answer is lost is not sent again: the engine looks what is there, and goes on from that."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import aws, engine
from botocore import exceptions


class Shelf:
    """An aggregate that puts items on a shelf one by one. ``loses`` says what becomes of each put, in order:
    ``+`` done and answered, ``?`` done and not answered, ``-`` not done and not answered."""

    def __init__(self, loses: str):
        self.there: list[str] = []
        self.fate = iter(loses)
        self.described = 0

    def describe(self, _aws, _params):
        self.described += 1
        return list(self.there)

    def plan(self, _aws, params, current):
        return [engine.create(item, {}) for item in params["items"] if item not in current]

    def apply(self, _aws, _params, _current, changes, _say):
        for change in changes:
            fate = next(self.fate)
            if fate in "+?":
                assert change.resource not in self.there, "made twice"
                self.there.append(change.resource)
            if fate in "-?":
                raise engine.AnswerLost(f"put {change.resource}")

    def wait(self, _aws, _params, _say): ...

    def resources(self, _aws, _params, _current):
        return ["a", "b", "c"]

    def output(self, _aws, _params, current):
        return {"there": current}


@pytest.fixture
def pauses(monkeypatch):
    made: list[float] = []
    monkeypatch.setattr(engine.time, "sleep", made.append)
    return made


def run(shelf, said=lambda line: None):
    return engine.run(shelf, None, {"items": ["a", "b", "c"]}, check_mode=False, say=said)


@pytest.mark.parametrize("fates", ["+++", "?++", "++?", "???", "-+++", "-?-?-?", "++-----+"])
def test_all_is_made_once_and_the_whole_plan_is_reported(fates, pauses):
    said: list[str] = []
    result = run(Shelf(fates), said.append)
    assert sorted(result["there"]) == ["a", "b", "c"]
    assert [change["resource"] for change in result["changes"]] == ["a", "b", "c"]
    assert len(said) == len(pauses) == sum(fate in "-?" for fate in fates)


def test_without_getting_on_it_is_given_up(pauses):
    with pytest.raises(engine.AnswerLost, match="put a"):
        run(Shelf("-" * 20))
    assert pauses == [1, 2, 4, 8, 16]


def test_a_step_forward_starts_the_patience_anew(pauses):
    assert len(run(Shelf("----+----+----+"))["there"]) == 3
    assert max(pauses) == 16


def handled(operation, **what):
    return aws._never_twice(SimpleNamespace(name=operation), **what)


def answered(status, code):
    return SimpleNamespace(status_code=status), {"Error": {"Code": code, "Message": "m"}}


@pytest.mark.parametrize(
    "what",
    [
        {"caught_exception": exceptions.ConnectionClosedError(endpoint_url="u")},
        {"caught_exception": exceptions.ReadTimeoutError(endpoint_url="u")},
        {"response": answered(500, "InternalFailure")},
        {"response": answered(503, "ServiceUnavailable")},
    ],
)
def test_a_write_that_may_have_been_carried_out_is_not_sent_again(what):
    with pytest.raises(aws.WriteUnanswered, match="The answer to CreateVpc was lost") as caught:
        handled("CreateVpc", **what)
    assert isinstance(caught.value, (engine.AnswerLost, exceptions.BotoCoreError))
    assert "Run the same command again" in aws.explain(caught.value)
    assert handled("DescribeVpcs", **what) is None


@pytest.mark.parametrize(
    "what",
    [
        {"caught_exception": exceptions.EndpointConnectionError(endpoint_url="u")},
        {"caught_exception": exceptions.ConnectTimeoutError(endpoint_url="u")},
        {"response": answered(503, "RequestLimitExceeded")},
        {"response": answered(503, "SlowDown")},
        {"response": answered(400, "ThrottlingException")},
        {"response": answered(400, "InvalidParameterException")},
        {"response": answered(200, "")},
    ],
)
def test_what_was_not_carried_out_is_left_to_botocore(what):
    assert handled("CreateVpc", **what) is None


def test_every_client_has_it_before_botocore_s_own_retries():
    client = aws.Aws({"region": "us-east-1", "access_key": "a", "secret_key": "b"}).client("ecs")
    with pytest.raises(aws.WriteUnanswered):
        client.meta.events.emit(
            "needs-retry.ecs.CreateService",
            operation=SimpleNamespace(name="CreateService"),
            caught_exception=exceptions.ReadTimeoutError(endpoint_url="u"),
        )
    assert client.meta.config.read_timeout == 10
