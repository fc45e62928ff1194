# Sourced by quickstart.sh and test.sh: creates .venv and installs cnnlab into it, once.
# usage: prepare_environment [EXTRA]

fail() { printf 'cnnlab: %s\n' "$@" >&2; exit 2; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "needs Python 3.11, 3.12 or 3.13; found: $(python3 --version 2>&1 || echo none)" \
         "  install one of them, or give its path: PYTHON=/path/to/python3.12 $0"
}

make_venv() {
    local python
    python=$(find_python) || exit $?
    if command -v uv >/dev/null; then
        uv venv --quiet --python "$python" .venv
    elif "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv .venv
    else
        fail "this Python has no ensurepip, so it cannot make a virtual environment" \
             "  on Debian and Ubuntu: apt-get install $(basename "$("$python" -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}")')")-venv"
    fi
}

install_cnnlab() {
    local project=".${1:+[$1]}"
    if command -v uv >/dev/null; then
        uv pip install --quiet --python .venv/bin/python -c constraints.txt -e "$project"
    else
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e "$project"
    fi
}

prepare_environment() {
    local extra=${1:-} stamp wanted
    [ -x .venv/bin/python ] || make_venv
    stamp=".venv/.cnnlab-${extra:-base}"
    wanted=$(cat pyproject.toml constraints.txt | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "Installing cnnlab and PyTorch into .venv (once: a few minutes, about 6 GB with CUDA libraries) ..."
        install_cnnlab "$extra"
        printf '%s\n' "$wanted" > "$stamp"
    fi
}
