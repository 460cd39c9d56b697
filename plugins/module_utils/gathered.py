# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an aggregate that only reads (state gathered) is besides ``describe`` and ``output``: nothing to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Change, Say


def plan(aws: Aws, params: Mapping, current: Any) -> list[Change]:
    return []


def apply(aws: Aws, params: Mapping, current: Any, changes: Sequence[Change], say: Say) -> None:
    """There are no changes."""


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Nothing is changed."""


def resources(aws: Aws, params: Mapping, current: Any) -> list[str]:
    return []
