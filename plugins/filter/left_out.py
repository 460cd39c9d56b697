# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which steps of a playbook a run with tags leaves out although others need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

DOCUMENTATION = """
name: left_out
short_description: Steps that a run leaves out and that its other steps need
description: A step is what carries a tag of its own name.
options:
  _input:
    description: The steps that each step needs.
    type: dict
    required: true
  run_tags:
    description: V(ansible_run_tags), what C(--tags) says; V(all) when it says nothing.
    type: list
    elements: str
    required: true
  skip_tags:
    description: V(ansible_skip_tags), what C(--skip-tags) says.
    type: list
    elements: str
    required: true
author: Nexus Learn platform team
"""

EXAMPLES = """
- ansible.builtin.debug:
    msg: "{{ {'redis': ['network']} | nexus_learn.aws.left_out(['redis'], []) }}" # [network]
"""

RETURN = """
_value:
  description: Names of the steps, in order of the alphabet.
  type: list
  elements: str
"""


def left_out(needs: Mapping[str, Iterable[str]], run_tags: Iterable[str], skip_tags: Iterable[str]) -> list[str]:
    def runs(step: str) -> bool:
        return step not in skip_tags and not {"all", "tagged", step}.isdisjoint(run_tags)

    return sorted({need for step, wanted in needs.items() if runs(step) for need in wanted if not runs(need)})


class FilterModule:
    def filters(self):
        return {"left_out": left_out}
