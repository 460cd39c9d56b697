"""Whether what a check said is what a run did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def same(foretold: Any, done: Any) -> bool:
    """Whether a run's result is what check mode said, ids that only AWS can choose aside."""
    if isinstance(foretold, Mapping) and isinstance(done, Mapping):
        return set(foretold) == set(done) and all(same(foretold[key], done[key]) for key in foretold)
    if isinstance(foretold, list) and isinstance(done, list):
        return len(foretold) == len(done) and all(map(same, foretold, done))
    if isinstance(foretold, str) and "(known after apply: " in foretold:
        return isinstance(done, str)
    return foretold == done
