"""Tests that are generated for every module: drift of each option, and pairs of a state before and one after.

A module's file test_drift_<module>.py gives the arguments and what to change out of band for each option;
test_pairs_<module>.py gives a hypothesis strategy for its arguments.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.nexus_learn.aws.plugins.module_utils import doors
from foretold import same
from hypothesis import HealthCheck, Phase, settings

# How many pairs of a module `make test` tries; NEXUS_PAIRS=300 for a long run.
PAIRS = settings(
    max_examples=int(os.environ.get("NEXUS_PAIRS", "6")),
    deadline=None,
    derandomize="NEXUS_PAIRS" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink] if "NEXUS_PAIRS" in os.environ else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def spec_of(module: str) -> dict[str, Any]:
    package = "ansible_collections.nexus_learn.aws.plugins.modules"
    return importlib.import_module(f"{package}.{module}").SPEC["argument_spec"]


def options(spec: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Every option that has no options of its own, with a dot for each level: ``targets.suspended.x``."""
    for name, option in spec.items():
        here = f"{path}.{name}" if path else name
        if "options" in option:
            yield from options(option["options"], here)
        else:
            yield here


def given(spec: Mapping[str, Any], arguments: Any, path: str = "") -> Iterator[str]:
    """Those options, in the same form, that ``arguments`` give a value."""
    for item in arguments if isinstance(arguments, list) else [arguments]:
        for name, value in item.items():
            here = f"{path}.{name}" if path else name
            if value is not None and "options" in spec[name]:
                yield from given(spec[name]["options"], value, here)
            elif value is not None:
                yield here


def every_option_drifts(module: str, cases: Mapping[str, Any], no_field: Mapping[str, str], *arguments: Mapping):
    """Every option of the module is in ``cases`` or in ``no_field`` (with the reason), and is given in ``arguments``.

    The keys of ``cases`` are options (``log_groups.tags``); for another case of the same option add a space and a word:
    ``log_groups.tags removed``.
    """
    spec = spec_of(module)
    known = set(options(spec))
    drifting = {case.split(" ")[0] for case in cases}
    assert drifting | set(no_field) == known, "each option needs a drift case, or a reason why it has none"
    assert not drifting & set(no_field)
    assert all(reason for reason in no_field.values())
    enforced = {option for one in arguments for option in given(spec, one)}
    assert drifting <= enforced, "what is not given is not enforced, so nothing would see it drift"


def drift_cases(cases: Mapping[str, tuple]) -> list:
    """Parameters for ``pytest.mark.parametrize``: what to change, and what must be said of it."""
    return [pytest.param(*case, id=option.replace(" ", "-")) for option, case in cases.items()]


def named(changes: list[dict]) -> set[tuple[str, str]]:
    """A plan as the ``(resource, path)`` that it names; an entry for a whole resource has its action as the path."""
    return {(change["resource"], change["path"] or change["action"]) for change in changes}


def drifts(
    module: Callable[..., dict],
    name: str,
    arguments: Mapping,
    snapshot: Callable[[], Any],
    change: Callable[[], Any],
    expected: set[tuple[str, str]],
) -> None:
    """After ``change`` a check names exactly ``expected``, a run mends it, and nothing else has moved.

    ``snapshot`` reads everything about the resources through boto3, without what must differ (times, revisions).
    """
    before = snapshot()
    change()
    assert snapshot() != before, "the change out of band changed nothing"
    foretold = module(name, arguments, check=True)["changes"]
    assert named(foretold) == expected
    done = module(name, arguments)["changes"]
    assert same(foretold, done)
    assert module(name, arguments, check=True)["changes"] == []
    assert snapshot() == before


def pair(module: Callable[..., dict], calls: Any, name: str, before: Mapping, after: Mapping) -> str:
    """Deploy ``before``; then check ``after`` foretells, field by field, what a run of it changes. Twice is nothing.

    A change that is refused is refused by both, and changes nothing. Returns what happened, for ``hypothesis.event``.
    """
    module(name, before)
    calls.clear()
    foretold = attempt(name, after, check=True)
    assert calls.writes == [], "check mode writes nothing"
    done = attempt(name, after)
    if foretold.get("failed"):
        assert done["msg"] == foretold["msg"]
        assert calls.writes == [], "what is refused changes nothing"
        assert attempt(name, before, check=True)["changes"] == []
        return "refused"
    assert not done.get("failed"), done.get("msg")
    assert same(foretold["changes"], done["changes"]), (foretold["changes"], done["changes"])
    again = attempt(name, after, check=True)
    assert again["changes"] == []
    if after.get("state") != "absent":
        plan = ("changed", "settled", "changes", "diff", "warnings", "billed")
        outputs = [{key: value for key, value in one.items() if key not in plan} for one in (foretold, done, again)]
        assert same(*outputs[:2]), "check mode returns what a run returns"
        assert same(*outputs[1:])
    return f"{len({change['resource'] for change in done['changes']})} resources"


def attempt(name: str, arguments: Mapping, *, check: bool = False) -> dict[str, Any]:
    """Run a module as Ansible does; unlike the fixture ``module`` it returns what failed."""
    package = "ansible_collections.nexus_learn.aws.plugins"
    aggregate = importlib.import_module(f"{package}.module_utils.{name}")
    full = doors.full_spec(importlib.import_module(f"{package}.modules.{name}").SPEC)
    validation = ArgumentSpecValidator(**full).validate({"region": "us-east-1", **arguments})
    assert validation.error_messages == []
    return doors.enter(aggregate, validation.validated_parameters, check_mode=check, say=print)
