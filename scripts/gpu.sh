#!/usr/bin/env bash
# Measures on a GPU what `python -m benchmarks.gpu --help` says, in an environment of its own with
# onnxruntime-gpu and TensorRT. Without a GPU it ends with one line; --dry-run prints the plan anywhere.
# Usage: scripts/gpu.sh [OPTION]...        VENV=.venv-gpu
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv-gpu}

die() { printf 'gpu: %s\n' "$*" >&2; exit 2; }

gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
if ((gpus == 0)); then
  if [[ " $* " == *" --dry-run "* && -x .venv/bin/python ]]; then
    exec env PYTHONPATH="$PWD" .venv/bin/python -m benchmarks.gpu "$@"
  fi
  die "no GPU is found: nvidia-smi lists none. Run this where it does; --dry-run prints the plan here"
fi

stamp=$venv/.setup-done requirements=benchmarks/requirements-gpu.txt
fingerprint=$({ pwd; cat setup.py "$requirements"; } | sha256sum)
if [[ ! -f $stamp || $(<"$stamp") != "$fingerprint" ]]; then
  [[ -x $venv/bin/python ]] || "${PYTHON:-python3}" -m venv "$venv" ||
    die "no virtual environment in $venv; is python3-venv installed?"
  echo '*' > "$venv/.gitignore"
  echo "gpu: packages (10 GB: torch with CUDA, onnxruntime-gpu, TensorRT)"
  "$venv/bin/python" -m pip --disable-pip-version-check install -e '.[gpu,train,sim,bags]' \
    -r "$requirements" >"$venv/setup.log" 2>&1 ||
    die "pip failed: $(grep -m1 '^ERROR' "$venv/setup.log" || tail -1 "$venv/setup.log")"
  echo "$fingerprint" > "$stamp"
fi

# onnxruntime looks for CUDA, cuDNN and TensorRT where the linker does.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
libraries=$(find "$site/nvidia" "$site/tensorrt_libs" -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd:)
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} MUJOCO_GL=${MUJOCO_GL:-egl}
export PYTHONPATH=$PWD:$PWD/datasets:$PWD/training
exec "$venv/bin/python" -m benchmarks.gpu "$@"
