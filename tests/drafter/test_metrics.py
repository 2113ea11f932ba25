"""What the metrics of both servers say of the same rounds."""

import asyncio
import logging
from collections.abc import Iterable

import pytest
from prometheus_client.metrics_core import Metric
from tests.drafter.live import LiveVerifier, drafter_at, read

from goodspeed.decoding.mode import Mode
from goodspeed.drafter.core.outbox import Round, TokensCommitted
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.metrics import DrafterMetrics
from goodspeed.protocol.messages import FinishReason, RoundMode
from goodspeed.verifier.core.core_config import VerifierCoreConfig

PROMPT = tuple(b"the quick brown")
SWITCHING = VerifierCoreConfig(scheduler="random", budget=1)
"""Grants are 0 or 1, so that some rounds are local."""


def values(metrics: Iterable[Metric]) -> dict[str, float]:
    """By metric, and by metric and mode ("..._total remote"); those of histograms left out."""
    samples = [sample for metric in metrics for sample in metric.samples if metric.type != "histogram"]
    return {" ".join([sample.name, *filter(None, [sample.labels.get("mode")])]): sample.value for sample in samples}


def committed(num_tokens: int, mode: RoundMode | None, **more: int) -> TokensCommitted:
    measured = Round(
        num_proposed=more.get("proposed", 0),
        num_accepted=more.get("accepted", 0),
        grant=0,
        queue_s=0.0,
        verify_s=0.0,
        mode=mode,
        num_co_located=more.get("co_located", 0),
        num_co_located_accepted=more.get("co_located_accepted", 0),
    )
    return TokensCommitted(1, (5,) * num_tokens, (), FinishReason.NONE, measured, 0)


def test_rounds_and_tokens_are_counted_by_mode_and_those_of_prompts_are_not() -> None:
    metrics = DrafterMetrics()
    before = values(metrics.registry.collect())
    assert all(before[f"goodspeed_drafter_rounds_by_mode_total {mode.label}"] == 0.0 for mode in RoundMode)
    for event in (
        committed(1, None),
        committed(4, RoundMode.REMOTE, proposed=5, accepted=1, co_located=2, co_located_accepted=2),
        committed(3, RoundMode.CO_LOCATED, co_located=6, co_located_accepted=2),
        committed(1, RoundMode.CO_LOCATED, co_located=6),
        committed(1, RoundMode.TARGET_ONLY),
    ):
        metrics.observe(event)
    found = values(metrics.registry.collect())
    assert found["goodspeed_drafter_rounds_total"] == 5
    assert found["goodspeed_drafter_committed_tokens_total"] == 10
    by_mode = {
        mode.label: (
            found[f"goodspeed_drafter_rounds_by_mode_total {mode.label}"],
            found[f"goodspeed_drafter_committed_tokens_by_mode_total {mode.label}"],
        )
        for mode in RoundMode
    }
    assert by_mode == {"remote": (1, 4), "co_located": (2, 4), "target_only": (1, 1)}
    assert found["goodspeed_drafter_co_located_tokens_total"] == 14
    assert found["goodspeed_drafter_co_located_accepted_tokens_total"] == 4
    assert found["goodspeed_drafter_acceptance_rate"] == pytest.approx(0.2)


def test_both_ends_count_the_same_rounds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def run() -> tuple[dict[str, float], dict[str, float]]:
        async with (
            LiveVerifier(config=SWITCHING).running() as verifier,
            drafter_at([verifier]) as drafter,
        ):
            for mode in (Mode.DISTRIBUTED, Mode.TARGET_ONLY):
                assert len(await read(drafter, GenerationRequest(PROMPT, 80, mode=mode))) == 80
            return values(verifier.server.collect_metrics()), values(drafter.metrics.registry.collect())

    theirs, ours = asyncio.run(run())
    names = ["rounds_total", "proposed_tokens_total", "committed_tokens_total"]
    names += [f"rounds_by_mode_total {mode.label}" for mode in RoundMode]
    assert {name: ours[f"goodspeed_drafter_{name}"] for name in names} == {
        name: theirs[f"goodspeed_{name}"] for name in names
    }
    assert ours["goodspeed_drafter_rounds_by_mode_total remote"] > 0
    assert ours["goodspeed_drafter_rounds_by_mode_total target_only"] > 79
    assert ours["goodspeed_drafter_rounds_total"] == 2 + sum(
        ours[f"goodspeed_drafter_rounds_by_mode_total {mode.label}"] for mode in RoundMode
    )
    num_sent = ours["goodspeed_drafter_shadow_drafts_total"]
    assert num_sent >= theirs["goodspeed_shadow_drafts_total"]
    assert ours["goodspeed_drafter_shadow_tokens_total"] >= num_sent > 0
    lines = [vars(record)["ids"] for record in caplog.records if record.getMessage() == "stream finished"]
    counts = [{mode: ids[f"{mode.label}_rounds"] for mode in RoundMode} for ids in lines]
    assert len(counts) == 4, "a line of each server for each stream"
    for first in counts:
        assert counts.count(first) == 2
