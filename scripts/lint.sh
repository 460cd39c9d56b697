#!/bin/sh
# Every linter, each with all of its rules; the first that complains stops it.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
echo "ruff";         ruff check --quiet .; ruff format --quiet --check .
echo "mypy";         mypy --no-error-summary --follow-imports=silent scripts sandbox/autoscaling sandbox/elasticache sandbox/iam
echo "yamllint";     yamllint --strict .
echo "ansible-lint"; ansible-lint --offline --profile production -q
echo "role READMEs"; python scripts/role_readmes.py --check
