#!/usr/bin/env bash
# Set up cnnlab in .venv and train LeNet-5 on real handwritten digits. It may be run again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
prepare_environment
.venv/bin/cnnlab train experiment=quickstart "$@"
echo "draw a digit yourself, and watch this network think:"
echo "  .venv/bin/cnnlab visualize checkpoint=latest what=playground"
