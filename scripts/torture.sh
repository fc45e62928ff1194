#!/usr/bin/env bash
# The release gate of durability: kills, stops, damage, attacks; about 30 minutes on two cores.
# usage: scripts/torture.sh [--quick] [--only PART ...]; results are written to docs/results/.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
record="docs/results/$(date +%F)-torture.json"
exec .venv/bin/python -m scripts.torture --record "$record" "$@"
