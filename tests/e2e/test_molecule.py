"""`molecule test` for every scenario, in an ephemeral directory of its own.

Its first step is a check on an empty account, and its second applies: what the one foretells, the other must do.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import steps

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario, tmp_path):
    env = {
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "molecule"),
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CALLBACK_PLUGINS": str(steps.CALLBACKS),
        "STEPS_FILE": str(tmp_path / "steps"),
    }
    done = subprocess.run(
        ["molecule", "test", "-s", scenario],
        cwd=ROOT,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    # the step that failed, and cleanup and destroy after it; those before would only bury it
    assert done.returncode == 0, "".join(re.split(r"(?m)(?=^INFO .* Executing$)", done.stdout)[-3:])
    check, converge = [step for step in steps.recorded(tmp_path / "steps") if step["playbook"] == "converge.yml"][:2]
    assert (check["check"], converge["check"]) == (True, False)
    assert check["changed"]
    assert check["operations"]
    assert steps.writes(check) == []
    assert steps.writes(converge)
    assert steps.unforetold(check, converge) == []
