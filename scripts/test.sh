#!/usr/bin/env bash
# Set up cnnlab with its test tools in .venv and run the tests. Arguments go to pytest:
#   ./scripts/test.sh --run-slow      also runs the slow ones
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
prepare_environment test
exec .venv/bin/python -m pytest -q -n auto "$@"
