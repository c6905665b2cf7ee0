"""The first pass of a foreign model, in a process of its own.

The runtime checks little of what a file says: a damaged or odd one may end the whole process, and
no `except` sees that. So another process is risked first.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from qc.errors import BundleError

_SECONDS = 300
_CODE = """
import sys
from ai_edge_litert.interpreter import Interpreter, OpResolverType
plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
for kind in ({}, {"experimental_op_resolver_type": plain}):
    runs = Interpreter(model_path=sys.argv[1], **kind)
    runs.allocate_tensors()
    runs.invoke()
"""


def try_model(path: Path, model: bytes) -> None:
    """Run a model once on what its input holds at the start, by either kind of kernels.

    What the runtime refuses in words is not told here: the predictor says it better.

    Args:
        path: the file, for an error.
        model: its flatbuffer.

    Raises:
        BundleError: the model ends the process, or does not come to an end.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        file.write_bytes(model)
        try:
            ran = subprocess.run(
                [sys.executable, "-P", "-c", _CODE, str(file)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BundleError(
                "the model does not come to an end",
                where=path,
                expected=f"a pass within {_SECONDS} s",
            ) from error
    if ran.returncode < 0:
        raise BundleError(
            "the model crashes the runtime: the file is damaged, or holds what the runtime cannot "
            "do",
            where=path,
            expected="a model that runs",
            found=f"an end by signal {-ran.returncode}",
        )
