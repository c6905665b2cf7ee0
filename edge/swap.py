"""What judges, and how another bundle takes its place between two parts.

A bundle that is to be taken over is held to all that a bundle is held to at a start, on a predictor
of its own, while the one that runs goes on. The one before stays loaded, for the way back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.judge import Loaded
from qc.bundle import Bundle, open_bundle
from qc.errors import FaultError, UsageError
from qc.journal import JournalWriter
from qc.replay import Predictor, require_replay
from qc.signature import require_signature

MakePredictor = Callable[[Bundle], Predictor]

TAKE_OVER_S = 10.0
"""How long a bundle waits for the part that is judged to be done."""


class Changeover:
    """The bundle that judges, the one before, and the one that is to come.

    Args:
        loaded: what judges at the start.
        journal: told of each change, in order with the inspections.
        make_predictor: makes predictors; None: nothing can be taken over.
        keys: one of them must have signed a bundle; none: it need not be signed.
    """

    def __init__(
        self,
        loaded: Loaded,
        journal: JournalWriter,
        make_predictor: MakePredictor | None,
        keys: Sequence[Path],
    ) -> None:
        self.loaded = loaded
        self.make_predictor = make_predictor
        self.keys = tuple(keys)
        self._journal = journal
        self._previous: Loaded | None = None
        self._coming: _Coming | None = None
        self._renew = False
        self._one_at_a_time = threading.Lock()

    def current(self) -> Loaded:
        """What judges the next part; called by the thread of the judge between two parts."""
        if self._renew and self.make_predictor is not None:
            bundle = self.loaded.bundle
            self.loaded = Loaded(bundle, self.make_predictor(bundle))
            self._renew = False
        if self._coming is not None:
            coming, self._coming = self._coming, None
            if coming.begin():
                self._exchange(coming)
        return self.loaded

    def renew(self) -> bool:
        """Give the bundle a new predictor before the next part; False where none can be made."""
        self._renew = self.make_predictor is not None
        return self._renew

    def swap(self, path: Path) -> str:
        """Take over a bundle; see `Line.swap`."""
        with self._one_at_a_time:
            self._take_over("swap", self._load(path))
            return self.loaded.bundle.manifest.bundle_id

    def rollback(self) -> str:
        """Go back; see `Line.rollback`."""
        with self._one_at_a_time:
            if self._previous is None:
                raise UsageError(
                    "there is no bundle to go back to",
                    expected="one that was taken over since the line started",
                    found="none",
                )
            self._take_over("rollback", self._previous)
            self._previous = None
            return self.loaded.bundle.manifest.bundle_id

    def _load(self, path: Path) -> Loaded:
        if self.make_predictor is None:
            raise UsageError(
                "this line cannot take over a bundle", expected="make_predictor", found="none"
            )
        bundle = open_bundle(path)
        if self.keys:
            require_signature(bundle, self.keys)
        predictor = self.make_predictor(bundle)
        require_replay(bundle, predictor)
        return Loaded(bundle, predictor)

    def _take_over(self, kind: str, loaded: Loaded) -> None:
        self._coming = coming = _Coming(kind, loaded)
        if not coming.done.wait(TAKE_OVER_S) and not coming.give_up():
            coming.done.wait(TAKE_OVER_S)  # it is under way
        if not coming.done.is_set():
            raise FaultError(
                "the line did not take over the bundle",
                where=loaded.bundle.path,
                expected=f"the end of a part within {TAKE_OVER_S:g} s",
            )

    def _exchange(self, coming: _Coming) -> None:
        manifest = coming.loaded.bundle.manifest
        before = self.loaded.bundle.manifest.bundle_id
        self._journal.use(manifest, coming.loaded.predictor.runtime)
        self._journal.event(coming.kind, {"from": before, "to": manifest.bundle_id})
        self._previous, self.loaded = self.loaded, coming.loaded
        coming.done.set()


class _Coming:
    """A bundle on its way in: begun by the judge or given up by who asked, never both."""

    def __init__(self, kind: str, loaded: Loaded) -> None:
        self.kind, self.loaded = kind, loaded
        self.done = threading.Event()
        self._claimed = threading.Lock()

    def begin(self) -> bool:
        return self._claimed.acquire(blocking=False)

    def give_up(self) -> bool:
        return self._claimed.acquire(blocking=False)
