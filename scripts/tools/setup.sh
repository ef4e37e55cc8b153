#!/usr/bin/env bash
# Makes .venv, .venv-blender or .venv-blender53, or compiles csrc into .venv; run by the Makefile.
# Usage: scripts/tools/setup.sh library | blender | blender53 | build
# Each step may be killed and run again: its stamp file is written last.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p build
LOG=build/setup-${1:-}.log # two steps may run side by side

fail() { # one sentence: what is wrong and what to do
    echo "setup: $*" >&2
    exit 1
}

# Runs a command with its output in the log; on failure says why in one sentence.
logged() {
    "$@" >"$LOG" 2>&1 && return
    if grep -qiE 'no space left|disk quota' "$LOG" || [ "$(df -Pk . | awk 'NR == 2 {print $4}')" -lt 51200 ]; then
        fail "The disk is full; free about 9 GB and run the same command again, it goes on where it stopped."
    elif grep -qiE 'dns error|failed to (fetch|download|lookup)|connection (refused|reset|error)|network|timed out|tempor.* failure in name|from versions: none' "$LOG"; then
        fail "A package could not be downloaded; check this machine's network and package index, then run the same command again (details: $LOG)."
    fi
    tail -n 15 "$LOG" >&2
    fail "'$1 ${2:-}' failed as printed above (all of it: $LOG)."
}

# Sets UV to a uv that works: the machine's, or one from the package index in a small environment of its own.
find_uv() {
    UV=$(command -v uv) && return
    UV=build/bootstrap/bin/uv
    [ -x "$UV" ] && "$UV" --version >/dev/null 2>&1 && return
    command -v python3 >/dev/null || fail "There is no python3; install Python 3.11 or later (Debian: apt install python3 python3-venv python3-dev)."
    python3 -c 'import ensurepip, venv' 2>/dev/null || fail "This python3 cannot make environments; install its venv module (Debian: apt install python3-venv)."
    logged python3 -m venv --clear build/bootstrap
    logged build/bootstrap/bin/python -m pip install uv
}

# uv does not read pip's settings: hand on the package index that this machine's pip is set to, if it is.
use_pip_index() {
    local index
    [ -n "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] && return
    index=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null)}
    if [ -n "$index" ]; then export UV_DEFAULT_INDEX="$index"; fi
}

# Prints the first Python that runs and has the wanted version, among what uv and the machine have, then uv's download.
find_python() { # $1: version as uv writes it; $2: a Python test of sys.version_info
    local candidate
    for candidate in \
        "$("$UV" python find --no-project --no-python-downloads "$1" 2>/dev/null)" \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3 /usr/local/bin/python3.* /usr/bin/python3.*; do
        [ -x "$candidate" ] && "$candidate" -c "import sys, venv; sys.exit(not ($2))" 2>/dev/null && echo "$candidate" && return
    done
    "$UV" python install "$1" >"$LOG" 2>&1 && "$UV" python find --no-project "$1"
}

# Makes the environment if there is none that works. One whose installation was killed is made anew: uv takes a package
# whose files were half there for an installed one.
make_environment() { # $1: folder, $2: Python
    if [ -e "$1/.installing" ] || ! "$1/bin/python" -c "" 2>/dev/null; then
        logged "$UV" venv --clear --python "$2" "$1"
    fi
    touch "$1/.installing"
}

finish_environment() { # $1: folder
    touch "$1/.installed"
    rm "$1/.installing"
}

library() {
    local python
    find_uv
    use_pip_index
    python=$(find_python '>=3.11,<3.15' '(3, 11) <= sys.version_info[:2] < (3, 15)') ||
        fail "legs4d needs Python 3.11 to 3.14, this machine has none and uv cannot download one; install it (Debian: apt install python3 python3-venv python3-dev)."
    make_environment .venv "$python"
    echo "setup: installing the library's packages into .venv (8 GB when new)"
    # --compile-bytecode: where PYTHONDONTWRITEBYTECODE is set, every process would compile torch anew (20 s).
    logged "$UV" pip install --compile-bytecode --python .venv/bin/python -c constraints.txt -r pyproject.toml --extra dev
    # Python files only, used where they are; csrc is the next step's.
    logged "$UV" pip install --python .venv/bin/python --no-build-isolation --no-deps -C wheel.cmake=false --editable .
    finish_environment .venv
}

build() {
    local compiler=${CXX:-c++}
    command -v "$compiler" >/dev/null || fail "There is no C++ compiler; install one (Debian: apt install g++)."
    .venv/bin/python -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        fail "Python's C headers are missing; install them (Debian: apt install python3-dev)."
    echo "setup: compiling csrc"
    # In place, so that the editable install finds it, and in a folder of its own, so that only what changed is compiled.
    # (cmake and ninja are the environment's.)
    logged env PATH="$PWD/.venv/bin:$PATH" cmake -S . -B build/cmake -G Ninja -D CMAKE_BUILD_TYPE=Release \
        -D Python_EXECUTABLE="$PWD/.venv/bin/python"
    logged env PATH="$PWD/.venv/bin:$PATH" cmake --build build/cmake
    logged env PATH="$PWD/.venv/bin:$PATH" cmake --install build/cmake --prefix .
    logged .venv/bin/python -m nanobind.stubgen -m legs4d._csrc -o legs4d/_csrc.pyi # for the type checker
    touch .venv/.built
}

blender() { blender_environment .venv-blender; }

# The next Blender, which the extension is to work in as well; the other packages are the same.
blender53() { blender_environment .venv-blender53 bpy==5.3.0; }

blender_environment() { # $1: folder, $2: another bpy than that of constraints-blender.txt
    local python packages=build/blender-packages.txt
    find_uv
    use_pip_index
    python=$(find_python 3.13 'sys.version_info[:2] == (3, 13)') ||
        fail "Blender's packages need Python 3.13, this machine has none and uv cannot download it; install it (for instance: pyenv install 3.13)."
    make_environment "$1" "$python"
    echo "setup: installing Blender as a Python module into $1 (1 GB when new)"
    sed "s/^bpy==.*/${2:-&}/" constraints-blender.txt >"$packages"
    logged "$UV" pip install --compile-bytecode --python "$1/bin/python" -r "$packages"
    finish_environment "$1"
}

case "${1:-}" in
library | build | blender | blender53) "$1" ;;
-h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' scripts/tools/setup.sh ;;
*) fail "Say which: library, build, blender or blender53." ;;
esac
