"""How often something may be started again."""

from __future__ import annotations

import pytest

from edge.watchdog import Budget
from qc.errors import UsageError


def test_a_budget_is_spent_and_comes_back_with_time() -> None:
    """Two in ten seconds: at 0 and 4; none at 9.9; one at 10, as that of 0 is over; none at 13."""
    now = [0.0]
    budget = Budget(2, 10.0, lambda: now[0])
    for moment, given in ((0, True), (4, True), (9.9, False), (10, True), (13, False), (14, True)):
        now[0] = moment
        assert budget.is_spent is not given
        assert budget.spend() is given, moment
    assert budget.words == "2 restarts in 10 s"


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Budget(0, 10.0)
