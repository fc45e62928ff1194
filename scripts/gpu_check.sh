#!/usr/bin/env bash
# Check and measure cnnlab on a GPU within a limited time: correctness first, then rates.
# usage: ./scripts/gpu_check.sh [--offline] [--device cuda:0] [--seconds 560] [--out FOLDER] ...
#        ./scripts/gpu_check.sh --help
# Without --offline it uses .venv and makes one where there is none. With --offline it installs
# nothing: PYTHON, else python3, needs torch 2.10 or later, and runs this source tree.
set -euo pipefail
cd_to=$(dirname "$0")/..
case " $* " in
*" --offline "* | *" --help "* | *" -h "*) python=${PYTHON:-python3} ;;
*)
    if [ -z "${PYTHON:-}" ]; then
        pushd "$cd_to" >/dev/null
        source scripts/environment.sh
        prepare_environment test
        popd >/dev/null
        PYTHON=$(cd "$cd_to" && pwd)/.venv/bin/python
    fi
    python=$PYTHON
    ;;
esac
root=$(cd "$cd_to" && pwd)
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m scripts.gpu_day "$@"
