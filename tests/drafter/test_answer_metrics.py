"""Times and tokens of answers, as the metrics count them."""

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.drafter.live import LiveVerifier, api_of, drafter_at, until

from goodspeed.drafter.answer_metrics import FINISHED_REASONS, AnswerMetrics
from goodspeed.drafter.core.outbox import Round, StreamFailed, TokensCommitted
from goodspeed.drafter.server import DrafterServer
from goodspeed.errors import LinkLostError
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.messages import FinishReason

BODY = {"model": "default", "prompt": "the quick brown", "temperature": 0}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def committed(
    stream: int, num_tokens: int, finish: FinishReason = FinishReason.NONE, num_cached: int = 0
) -> TokensCommitted:
    measured = Round(num_proposed=0, num_accepted=0, grant=0, queue_s=0.0, verify_s=0.0, num_cached=num_cached)
    return TokensCommitted(stream, (5,) * num_tokens, (), finish, measured, 0)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(f"goodspeed_drafter_{name}", labels)
    assert found is not None
    return found


def reasons(registry: CollectorRegistry) -> dict[str, float]:
    return {reason: value(registry, "request_success_total", finished_reason=reason) for reason in FINISHED_REASONS}


def test_an_answer_is_timed_from_its_request_to_its_last_tokens() -> None:
    registry, clock = CollectorRegistry(), Clock()
    metrics = AnswerMetrics(registry, clock)
    metrics.on_opened(1, num_prompt=300)
    for at, num_tokens in ((0.5, 1), (0.6, 4), (0.9, 5)):
        clock.now = 100.0 + at
        finish = FinishReason.LENGTH if at == 0.9 else FinishReason.NONE
        metrics.on_event(committed(1, num_tokens, finish, num_cached=256 if at == 0.5 else 0))
    sums = {
        "time_to_first_token_seconds": 0.5,
        "inter_token_latency_seconds": 0.1 + 0.3,
        "request_time_per_output_token_seconds": 0.4 / 9,
        "e2e_request_latency_seconds": 0.9,
        "request_prompt_tokens": 300,
        "request_generation_tokens": 10,
    }
    assert {name: value(registry, f"{name}_sum") for name in sums} == pytest.approx(sums)
    counts = {name: value(registry, f"{name}_count") for name in sums}
    assert counts == {**dict.fromkeys(sums, 1), "inter_token_latency_seconds": 2}
    assert value(registry, "prompt_tokens_total") == 300
    assert value(registry, "prompt_tokens_cached_total") == 256
    assert reasons(registry) == {"stop": 0, "length": 1, "abort": 0, "error": 0}


def test_an_answer_without_tokens_has_no_times() -> None:
    registry = CollectorRegistry()
    metrics = AnswerMetrics(registry, Clock())
    metrics.on_opened(1, 10)
    metrics.on_event(StreamFailed(1, LinkLostError("no verifier")))
    metrics.on_opened(2, 10)
    metrics.on_ended(2, "abort")
    metrics.on_ended(2, "abort")
    metrics.on_event(committed(2, 1))
    assert reasons(registry) == {"stop": 0, "length": 0, "abort": 1, "error": 1}
    assert value(registry, "time_to_first_token_seconds_count") == 0
    assert value(registry, "e2e_request_latency_seconds_count") == 0
    assert value(registry, "prompt_tokens_total") == 0, "the prompts were not read"


def test_an_answer_of_one_token_has_no_time_per_further_token() -> None:
    registry = CollectorRegistry()
    metrics = AnswerMetrics(registry, Clock())
    metrics.on_opened(1, 10)
    metrics.on_event(committed(1, 1, FinishReason.STOP))
    assert value(registry, "request_time_per_output_token_seconds_count") == 0
    assert reasons(registry)["stop"] == 1


async def ended_after(drafter: DrafterServer, url: str, body: dict[str, object]) -> dict[str, float]:
    before = reasons(drafter.metrics.registry)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        try:
            await client.post(
                "/v1/completions", json={**BODY, **body}, timeout=0.5 if body["max_tokens"] == 4000 else 20
            )
        except httpx.ReadTimeout:
            await until(lambda: drafter.num_streams == 0)
    after = reasons(drafter.metrics.registry)
    return {reason: after[reason] - before[reason] for reason in FINISHED_REASONS if after[reason] != before[reason]}


async def test_reasons_are_those_that_the_user_sees(tokenizer: Tokenizer) -> None:
    async with (
        LiveVerifier().running() as verifier,
        drafter_at([verifier], link=LinkConfig(rtt_ms=5)) as drafter,
        api_of(drafter, tokenizer) as url,
    ):
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            text = (await client.post("/v1/completions", json={**BODY, "max_tokens": 40})).json()["choices"][0]["text"]
        assert await ended_after(drafter, url, {"max_tokens": 5, "n": 2}) == {"length": 2}
        assert await ended_after(drafter, url, {"max_tokens": 400, "stop": [text[8:11]]}) == {"stop": 1}
        assert await ended_after(drafter, url, {"max_tokens": 4000}) == {"abort": 1}
