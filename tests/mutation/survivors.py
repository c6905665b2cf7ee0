"""What became of the mutants of `mutmut run`: a count for each module, and who survived unknown.

    python tests/mutation/survivors.py MUTANTS DOCUMENT

MUTANTS is the folder that mutmut left. DOCUMENT names the survivors that are known, each in
backquotes with a reason: `decide.x_calibrated__mutmut_10`. Exit 0: every survivor is known; 1: one
is not, and its name is printed (`mutmut show qc.NAME` shows it); 2: mutmut has not run to its end.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

_SURVIVED = (0, 5, 33)  # its tests pass; pytest found none of them; no test reaches it
_TIMED_OUT = (-24, 24, 36, 152, 255)  # it hangs, or the machine was too busy
_KNOWN = re.compile(r"`(\w+\.\w+__mutmut_\d+)`")


def main(mutants: Path, document: Path) -> int:
    """Print the table, then the survivors that the document does not name."""
    known = set(_KNOWN.findall(document.read_text(encoding="utf-8")))
    unknown: list[str] = []
    print("module\tmutants\tkilled\tof them timed out\tsurvived\tof them known")
    found = 0
    for file in sorted(mutants.rglob("*.py.meta")):
        codes: dict[str, int | None] = json.loads(file.read_text("utf-8"))["exit_code_by_key"]
        if None in codes.values():
            print(f"{file}: mutants that were not tried; run `mutmut run` again", file=sys.stderr)
            return 2
        left = [name.removeprefix("qc.") for name, code in codes.items() if code in _SURVIVED]
        unknown += [name for name in left if name not in known]
        found += len(codes)
        if codes:
            module = file.name.removesuffix(".py.meta")
            killed = (len(codes) - len(left), sum(c in _TIMED_OUT for c in codes.values()))
            survived = (len(left), len(known & set(left)))
            print(module, len(codes), *killed, *survived, sep="\t")
    if not found:
        print(f"{mutants}: there are no mutants; run `mutmut run` first", file=sys.stderr)
        return 2
    for name in unknown:
        print(f"survived, and is not in {document}: {name}", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
