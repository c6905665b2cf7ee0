#!/usr/bin/env bash
# Installs the edge extras alone, each in a fresh environment, and lets check_edge.py judge them.
#
#     tests/edge_only/prove.sh BUNDLE... IMAGES
#
# edge         LiteRT with the pinned versions: everything must work, with every bundle.
# edge-tflite  tflite-runtime 2.14 with numpy 1, which has no pins here. Its kernels round otherwise,
#              within the tolerance that the export sealed: everything must work too, with every
#              bundle whose manifest names tflite-runtime. Another is said to be left out; where
#              none is left, nothing is proved, and that is a failure.
#
# PYTHON names the interpreter, 3.11 because that is the last one tflite-runtime has a wheel for.
set -euo pipefail

usage() {
    echo "usage: $0 BUNDLE... IMAGES (files and a folder)" >&2
    exit 2
}
[ $# -ge 2 ] || usage
bundles=()
for file in "${@:1:$#-1}"; do
    [ -f "$file" ] || usage
    bundles+=("$(realpath "$file")")
done
[ -d "${!#}" ] || usage
images=$(realpath "${!#}")
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3.11}
if ! "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))'; then
    echo "$python is not Python 3.11 with venv; name one with PYTHON" >&2
    exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH

# A copy, so that building leaves nothing in the checkout.
mkdir "$work/source"
for name in pyproject.toml README.md LICENSE qc training export edge; do
    if [ -e "$root/$name" ]; then
        cp -r "$root/$name" "$work/source/"
    fi
done

prove() { # extra, runtime, options of pip
    local extra=$1 runtime=$2 from=$SECONDS proved=0 bundle runtimes
    shift 2
    echo "== $extra: installing"
    "$python" -m venv "$work/$extra"
    "$work/$extra/bin/python" -m pip install -qq --disable-pip-version-check "$@" \
        "$work/source[$extra]"
    echo "== $extra: installed in $((SECONDS - from)) s, $(du -sm "$work/$extra" | cut -f1) MB"
    from=$SECONDS
    # -P keeps the checkout's own folder off the path
    for bundle in "${bundles[@]}"; do
        runtimes=$(cd "$work" && "$work/$extra/bin/python" -P -c "$ask" "$bundle")
        if [[ " $runtimes " != *" $runtime "* ]]; then
            echo "== $extra: $bundle left out: its manifest is for $runtimes, not for $runtime"
            continue
        fi
        echo "== $extra: $bundle"
        (cd "$work" && "$work/$extra/bin/python" -P "$root/tests/edge_only/check_edge.py" \
            "$bundle" "$images")
        proved=$((proved + 1))
    done
    if [ "$proved" -eq 0 ]; then
        echo "== $extra: FAILED: no bundle is for $runtime, so nothing is proved" >&2
        exit 1
    fi
    echo "== $extra: $proved of ${#bundles[@]} bundles checked in $((SECONDS - from)) s"
}

ask='
import sys
from pathlib import Path
from qc.bundle import open_bundle
print(*open_bundle(Path(sys.argv[1])).manifest.runtimes)
'

prove edge ai-edge-litert -c "$root/constraints.txt"
prove edge-tflite tflite-runtime
echo "== both editions of the edge are proved, in $SECONDS s"
