#!/usr/bin/env bash
# Measures on a GPU what `python -m benchmarks.gpu --help` says, in an environment of its own with
# onnxruntime-gpu and TensorRT. Without a GPU it ends with one line; --dry-run prints the plan anywhere.
# Usage: scripts/gpu.sh [OPTION]...        VENV=.venv-gpu
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh

gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
if ((gpus == 0)); then
  if [[ " $* " == *" --dry-run "* && -x .venv/bin/python ]]; then
    exec env PYTHONPATH="$PWD" .venv/bin/python -m benchmarks.gpu "$@"
  fi
  die "no GPU is found: nvidia-smi lists none. Run this where it does; --dry-run prints the plan here"
fi

requirements=benchmarks/requirements-gpu.txt
if ! unchanged "${VENV:-.venv-gpu}" setup.py "$requirements"; then
  make_environment "${PYTHON:-python3}"
  say "Packages (10 GB: torch with CUDA, onnxruntime-gpu, TensorRT)"
  install -e '.[gpu,train,sim,bags]' -r "$requirements"
  finish
fi

# onnxruntime looks for CUDA, cuDNN and TensorRT where the linker does.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
libraries=$(find "$site/nvidia" "$site/tensorrt_libs" -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd:)
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} MUJOCO_GL=${MUJOCO_GL:-egl}
export PYTHONPATH=$PWD:$PWD/datasets:$PWD/training
exec "$venv/bin/python" -m benchmarks.gpu "$@"
