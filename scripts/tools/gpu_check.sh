#!/usr/bin/env bash
# Run the tests that need a CUDA device, then the benchmarks. Usage: scripts/tools/gpu_check.sh [PYTHON [DATASET]]
# Needs gsplat, torch with CUDA, cmake, ninja, nanobind; csrc is compiled if it is not there yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case "${1:-}" in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' scripts/tools/gpu_check.sh && exit ;; esac
python=${1:-.venv/bin/python}
"$python" -c 'import torch; assert torch.cuda.is_available(), "no CUDA device"; print(torch.cuda.get_device_name())'
if ! "$python" -c 'import legs4d._csrc' 2>/dev/null; then
    cmake -S . -B build/cmake-gpu -G Ninja -D CMAKE_BUILD_TYPE=Release -D Python_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" >/dev/null
    cmake --build build/cmake-gpu >/dev/null
    cmake --install build/cmake-gpu --prefix . >/dev/null
fi
"$python" -m pytest -m gpu tests -v
"$python" scripts/bench/reconstruct/engines.py
"$python" scripts/bench/server/query.py --gpu
dataset=${2:-../shared/data/basketball}
if [ -f "$dataset/train_meta.json" ]; then
    "$python" scripts/bench/language/lift.py --dataset "$dataset"
    "$python" scripts/bench/language/lift_run.py --dataset "$dataset"
    "$python" scripts/bench/language/extract.py --dataset "$dataset"
fi
