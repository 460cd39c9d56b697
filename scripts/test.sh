#!/bin/sh
# All tests: the linters, then pytest, which runs the molecule scenarios too.
set -eu
cd "$(dirname "$0")/.."
# The tests start sandboxes of their own; one that this shell talks to is none of their business.
unset AWS_ENDPOINT_URL AWS_PROFILE AWS_CONFIG_FILE SANDBOX_HOME SANDBOX_PORT SANDBOX_TIME_SCALE
scripts/lint.sh
# In the order of the folders, since the end-to-end tests last longest; tests/conftest.py tells what stays together.
PATH="$PWD/.venv/bin:$PATH" exec .venv/bin/python -m pytest -q --durations=40 -n 2 --dist loadfile --no-loadscope-reorder "$@"
