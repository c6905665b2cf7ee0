"""The account: captured = verdicts + dropped + in flight, at every moment and from any thread."""

from __future__ import annotations

import threading

from edge.account import DURATIONS, Account
from edge.status import LATENCY_BUCKETS_MS
from qc.types import Verdict


def test_every_frame_stands_in_one_place() -> None:
    account = Account()
    for _ in range(4):
        assert account.captured()
    account.judged(Verdict.NG, 3.0, 2.0)
    account.judged(Verdict.FAULT, 7000.0, None)
    account.dropped("overtaken")
    found = account.counts()
    assert (found.captured, found.in_flight, found.dropped) == (4, 1, {"overtaken": 1})
    assert found.verdicts == {"OK": 0, "NG": 1, "REVIEW": 0, "FAULT": 1}
    assert found.p50_ms == found.p99_ms == 2.0 and found.latency_sum_ms == 7003.0
    account.close()
    assert not account.captured() and account.counts().captured == 4 and account.in_flight == 1


def test_the_histogram_counts_up_to_its_bounds() -> None:
    account = Account()
    for ms in (0.0, 1.0, 1.001, 5.0, 5000.0, 5000.1):
        account.captured()
        account.judged(Verdict.OK, ms, ms)
    counts = dict(zip((*LATENCY_BUCKETS_MS, "more"), account.counts().latency_counts, strict=True))
    assert {k: v for k, v in counts.items() if v} == {1: 2, 2: 1, 5: 1, 5000: 1, "more": 1}


def test_percentiles_are_of_the_last_inspections() -> None:
    account = Account()
    for n in range(DURATIONS + 10):
        account.captured()
        account.judged(Verdict.OK, 1.0, 1.0 if n < 10 else 2.0)
    assert account.counts().p50_ms == 2.0
    assert float(account._durations.min()) == 2.0, "the first ten have made room"


def test_the_account_holds_from_many_threads() -> None:
    account = Account()

    def work(n: int) -> None:
        for i in range(300):
            account.captured()
            if i % 3 == n:
                account.dropped("late")
            else:
                account.judged(Verdict.OK, 1.0, 1.0)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found = account.counts()
        settled = sum(found.verdicts.values()) + sum(found.dropped.values())
        assert found.captured == settled + found.in_flight
    assert account.counts().verdicts["OK"] == 600 and account.in_flight == 0  # type: ignore[index]
