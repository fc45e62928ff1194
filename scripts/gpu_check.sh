#!/usr/bin/env bash
# Check cnnlab on a CUDA device, in less than five minutes: the tests marked gpu, then a short
# training run in each precision, an interruption with resume, and an evaluation.
# usage: ./scripts/gpu_check.sh [DEVICE]      e.g. cuda:0
# PYTHON=python3 uses that Python, with cnnlab importable, instead of .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
device=${1:-cuda:0}
if [ -z "${PYTHON:-}" ]; then
    source scripts/environment.sh
    prepare_environment test
    PYTHON=$PWD/.venv/bin/python
fi
"$PYTHON" - "$device" <<'PROBE'
import sys
import torch

if not torch.cuda.is_available():
    sys.exit("cnnlab: no CUDA device is visible to torch; nothing was checked")
print(torch.cuda.get_device_name(torch.device(sys.argv[1])))
PROBE

"$PYTHON" -m pytest -q -m gpu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cnnlab() { "$PYTHON" -P -m cnnlab "$@"; }
for precision in fp32 tf32 bf16; do
    echo "== train, $precision"
    cnnlab train experiment=debug runtime.device="$device" runtime.precision=$precision \
        hydra.run.dir="$work/$precision"
done

echo "== deterministic: two runs agree bit for bit"
for run in one two; do
    cnnlab train experiment=debug runtime.device="$device" runtime.deterministic=true \
        hydra.run.dir="$work/$run" >/dev/null
done
cut -d, -f1-7 "$work/one/metrics.csv" | cmp - <(cut -d, -f1-7 "$work/two/metrics.csv")

echo "== interrupt, resume, evaluate"
cnnlab train runtime.device="$device" trainer.epochs=200 hydra.run.dir="$work/long" &
training=$!
until [ -e "$work/long/checkpoints/last.safetensors" ] || ! kill -0 $training 2>/dev/null; do sleep 0.2; done
kill -INT $training
wait $training && code=0 || code=$?
[ $code -eq 130 ] || { echo "the interrupted run ended with $code, expected 130" >&2; exit 1; }
cnnlab train resume="$work/long" trainer.epochs=200
cnnlab evaluate checkpoint="$work/long" evaluation=five_crop runtime.device="$device" format=json
echo "cnnlab works on $device"
