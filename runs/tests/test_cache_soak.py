"""The short form of the run: both kinds of sampling, and everything that it is about happens."""

from collections import Counter

from runs.cache_soak import episode


def test_no_text_differs_and_no_memory_leaks() -> None:
    happened = sum((episode(seed) for seed in range(1, 9)), Counter[str]())
    assert min(happened[what] for what in ("links cut", "answers cancelled", "preemptions", "evictions")) > 0
