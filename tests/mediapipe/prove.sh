#!/usr/bin/env bash
# Installs MediaPipe beside the edge extra in a fresh environment; check_mediapipe.py judges whether its
# ImageClassifier reads the bundle as it is.
#
#     tests/mediapipe/prove.sh BUNDLE IMAGES
#
# MediaPipe's library is linked to EGL and OpenGL ES, even on a machine without a screen: on Debian the
# packages libegl1 and libgles2. Its OpenCV wheel wants libgl1 and libglib2.0-0 too; the headless one
# does not, so it takes its place here. PortAudio is for its audio tasks alone.
#
# PYTHON names the interpreter, 3.11.
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
for library in libEGL.so.1 libGLESv2.so.2; do
    if ! "$python" -c "import ctypes; ctypes.CDLL('$library')" 2>/dev/null; then
        echo "MediaPipe needs $library: apt-get install libegl1 libgles2" >&2
        exit 2
    fi
done

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

echo "== mediapipe: installing"
"$python" -m venv "$work/venv"
pip() {
    "$work/venv/bin/python" -m pip "$@" -qq --disable-pip-version-check
}
pip install -c "$root/constraints.txt" "$work/source[edge]" mediapipe==1.2.3
pip uninstall --yes opencv-contrib-python opencv-python-headless
pip install -c "$root/constraints.txt" opencv-python-headless
echo "== mediapipe: installed in $SECONDS s, $(du -sm "$work/venv" | cut -f1) MB"
from=$SECONDS
# -P keeps the checkout's own folder off the path
(cd "$work" && venv/bin/python -P "$root/tests/mediapipe/check_mediapipe.py" "$bundle" "$images")
echo "== mediapipe: checked in $((SECONDS - from)) s"
