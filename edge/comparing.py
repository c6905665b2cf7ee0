"""Two bundles judge the same pictures, for whoever asks: which of them would have been right.

The models are made and run by one thread of their own: any thread may ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.owner import Owner
from qc.types import Image, Verdict

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a bundle says of a picture.

    Args:
        verdict: with its own thresholds.
        defect_class, defect_score: None where nothing was measured.
    """

    verdict: Verdict
    defect_class: str | None
    defect_score: float | None


Judge = Callable[[Image], Opinion]


class Comparer:
    """Judges pictures with two bundles.

    Args:
        names: of the two, to be shown.
        make: makes the two judges, in the thread that runs them.

    Raises:
        QCError: what `make` raises.
    """

    def __init__(self, names: tuple[str, str], make: Callable[[], tuple[Judge, Judge]]) -> None:
        self.names = names
        self._owner = Owner("comparing", _PATIENCE_S, "the two bundles take too long")
        self._judges = self._owner.make(make)

    def judge(self, image: Image) -> tuple[Opinion, Opinion]:
        """What each of the two says of a picture, RGB `(H, W, 3)` uint8.

        Raises:
            FaultError: it takes too long.
        """
        return self._owner.ask(lambda: (self._judges[0](image), self._judges[1](image)))
