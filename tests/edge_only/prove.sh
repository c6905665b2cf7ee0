#!/usr/bin/env bash
# Installs the edge extras alone, each in a fresh environment, and lets check_edge.py judge them.
#
#     tests/edge_only/prove.sh BUNDLE IMAGES
#
# edge         LiteRT with the pinned versions: everything must work.
# edge-tflite  tflite-runtime 2.14 with numpy 1, which has no pins here. Its kernels round otherwise,
#              within the tolerance that the export sealed: everything must work too.
#
# PYTHON names the interpreter, 3.11 because that is the last one tflite-runtime has a wheel for.
set -euo pipefail

if [ $# -ne 2 ] || [ ! -f "$1" ] || [ ! -d "$2" ]; then
    echo "usage: $0 BUNDLE IMAGES (a file and a folder)" >&2
    exit 2
fi
bundle=$(realpath "$1")
images=$(realpath "$2")
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

prove() { # extra, options of pip
    local extra=$1 from=$SECONDS
    shift
    echo "== $extra: installing"
    "$python" -m venv "$work/$extra"
    "$work/$extra/bin/python" -m pip install -qq --disable-pip-version-check "$@" \
        "$work/source[$extra]"
    echo "== $extra: installed in $((SECONDS - from)) s, $(du -sm "$work/$extra" | cut -f1) MB"
    from=$SECONDS
    # -P keeps the checkout's own folder off the path
    (cd "$work" && "$work/$extra/bin/python" -P "$root/tests/edge_only/check_edge.py" \
        "$bundle" "$images")
    echo "== $extra: checked in $((SECONDS - from)) s"
}

prove edge -c "$root/constraints.txt"
prove edge-tflite
echo "== both editions of the edge are proved, in $SECONDS s"
