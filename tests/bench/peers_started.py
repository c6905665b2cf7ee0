"""Starts a program; prints the seconds to its first verdict and the MB it took at most, as JSON.

    python -I -S peers_started.py PROGRAM ARGUMENT...

A process of its own, that imports next to nothing: what Linux says a child took at most holds what
its parent took when it was started. Without site-packages this one takes 15 MB.
"""

import json
import os
import subprocess
import sys
import time

VERDICTS = ("OK", "NG", "REVIEW", "FAULT")


def main() -> None:
    """Start it and wait for its end."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    found: dict[str, object] = {"seconds": None, "verdict": None}
    said = ""
    for line in process.stdout:
        said += line
        if found["verdict"] is None and line.split()[:1] and line.split()[0] in VERDICTS:
            found = {"seconds": time.perf_counter() - begun, "verdict": line.split()[0]}
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    found |= {"mb": used.ru_maxrss / 1024, "exit": process.returncode, "said": said}
    print(json.dumps(found))


main()
