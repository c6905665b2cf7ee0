"""Starts a process of this program's own code, which answers over its pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from qc.errors import FaultError


def start_python(code: str, purpose: str, **how: Any) -> subprocess.Popen[bytes]:
    """Python with this program's modules and one thread for each library, told by its stdin.

    Args:
        code: what it runs.
        purpose: for the error, as in "the process that ...".
        how: more for `subprocess.Popen`.

    Raises:
        FaultError: it cannot be started.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            **how,
        )
    except OSError as error:
        raise FaultError(
            f"the process that {purpose} cannot be started ({error.strerror})"
        ) from error
