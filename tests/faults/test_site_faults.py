"""site.yml under faults, and killed anywhere: the stack is that of a run which nothing disturbed, without a duplicate.

A few points by default, others with FAULT_SEED. FAULT_STRIDE=1 kills a run at every API call, and lets the next one
end, for as long as that takes (hours); FAULT_STRIDE=10 at every tenth.
"""

from __future__ import annotations

import os
import random

import pytest
from fault_runs import EMPTY, Deployer
from inventory import differences

SEED = int(os.environ.get("FAULT_SEED") or 1)
STRIDE = int(os.environ.get("FAULT_STRIDE") or 0)
# calls of a first run; a few more or less when it waits longer
CALLS = 200
SOME = range(STRIDE, CALLS + 1, STRIDE) if STRIDE else [random.Random(SEED).randint(20, CALLS)]


@pytest.fixture(scope="module")
def deployer(start_sandbox):
    return Deployer(start_sandbox(1.0, "--latency", "0ms"))


@pytest.fixture(scope="module")
def clean(deployer):
    """What a run makes that nothing disturbs."""
    deployer.run("-e", EMPTY)
    found = deployer.inventory()
    deployer.reset()
    return found


def test_a_bad_day_ends_with_the_same_stack(deployer, clean):
    deployer.sandbox.faults(throttle=0.3, errors=0.1, resets=0.02, hangs=0.01, seed=SEED)
    deployer.run("-e", EMPTY)
    report = deployer.sandbox.ask("faults")
    print(report)
    deployer.sandbox.faults()
    lines = differences(clean, deployer.inventory())
    assert not lines, "\n".join(lines)
    assert report["done"].keys() == {"throttle", "errors", "resets", "hangs"}
    assert deployer.run("-e", EMPTY, "--check") == 0
    deployer.reset()


@pytest.mark.parametrize("call", SOME)
def test_the_run_after_a_killed_one_makes_the_same_stack(deployer, clean, call):
    assert deployer.killed("-e", EMPTY, hold=call)
    deployer.run("-e", EMPTY)
    lines = differences(clean, deployer.inventory())
    deployer.reset()
    assert not lines, f"killed at call {call}:\n" + "\n".join(lines)


def test_many_kills_leave_no_duplicate(deployer, clean):
    """Each run is killed some writes further on than the one before: after every single write with FAULT_STRIDE=1."""
    numbers, kills = random.Random(SEED), 0
    while deployer.killed("-e", EMPTY, hold_write=STRIDE or numbers.randint(20, 40)):
        kills += 1
        assert kills < 200
    print(f"seed {SEED}: {kills} kills")
    assert kills
    lines = differences(clean, deployer.inventory())
    assert not lines, "\n".join(lines)
    deployer.reset()
