"""The short form of the run: both kinds of sampling, and everything that it is about happens."""

from runs.cache_soak import episode


def test_no_text_differs_and_no_memory_leaks() -> None:
    happened = episode(5) + episode(6)
    assert min(happened[what] for what in ("links cut", "answers cancelled", "preemptions", "evictions")) > 0
