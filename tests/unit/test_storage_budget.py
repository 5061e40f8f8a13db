"""The budget of transfers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from snakemake_storage_plugin_azblob.budget import Budget


@given(st.integers(1, 50), st.lists(st.integers(0, 100), max_size=12))
def test_it_is_never_overspent_and_everybody_gets_a_turn(limit: int, amounts: list[int]) -> None:
    """Also those that want more than there is: they have it alone."""
    budget, lock, spent, most = Budget(limit), threading.Lock(), 0, 0

    def work(amount: int) -> None:
        nonlocal spent, most
        with budget.spend(amount):
            with lock:
                spent += min(amount, limit)
                most = max(most, spent)
            with lock:
                spent -= min(amount, limit)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, amounts))
    assert most <= limit
    assert spent == 0


def test_what_fails_gives_back() -> None:
    budget = Budget(1)
    for _ in range(2):
        try:
            with budget.spend(1):
                raise ValueError
        except ValueError:
            continue
    with budget.spend(1):
        pass
