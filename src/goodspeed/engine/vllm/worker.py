"""The acceptance rules in vLLM's workers: they replace its sampler, for every rule and on every rank alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from vllm.v1.outputs import LogprobsTensors, SamplerOutput

from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.logits_processor import processed
from goodspeed.decoding.rules import match, verify
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.interface import StreamSpec
from goodspeed.engine.logits_processors import Processors, logits_processors
from goodspeed.engine.vllm.hooks import WORKER_HOOKS, missing_hooks
from goodspeed.engine.vllm.scheduler import DRAFT_PROBS
from goodspeed.engine.vllm.single_rows import compute_single_rows_twice

SPEC = "goodspeed"
"""The key of a request's StreamSpec in SamplingParams.extra_args."""
NO_TOKEN = -1


class RuleWorker:
    """vLLM mixes it into its worker class (`worker_extension_cls`)."""

    model_runner: Any

    def use_goodspeed_rules(self) -> list[str]:
        """Replace the sampler of this worker. Returns the names of hooks that this vLLM does not have."""
        missing = missing_hooks({"model_runner": self.model_runner}, WORKER_HOOKS)
        if not missing:
            RuleSampler(self.model_runner)
            compute_single_rows_twice(self.model_runner.get_model())  # layers on a GPU have no cpu_linear
        return missing


@dataclass(slots=True)
class _Stream:
    spec: StreamSpec
    processors: Processors
    num_tokens: int
    """Tokens of its text that the processors know."""


class RuleSampler:
    """Chooses the tokens of every request from the target's logits, by the rule of its stream."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._execute_model = runner.execute_model
        self._draft_probs: Mapping[str, tuple[SparseProbs, ...]] = {}
        self._streams: dict[str, _Stream] = {}
        runner.execute_model = self._execute
        runner._sample = self._sample

    def _execute(self, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        self._draft_probs = getattr(scheduler_output, DRAFT_PROBS, {})
        for key in scheduler_output.finished_req_ids:
            self._streams.pop(key, None)
        return self._execute_model(scheduler_output, *args, **kwargs)

    def _sample(self, logits: torch.Tensor, metadata: Any) -> Any:
        """`logits`: [sum of draft tokens + 1 over the requests, vocab]; `metadata`: None if the step has no drafts."""
        keys = self._runner.input_batch.req_ids
        num_drafts = metadata.num_draft_tokens if metadata else [0] * len(keys)
        drafts = metadata.draft_token_ids.split(num_drafts) if metadata else [torch.empty(0)] * len(keys)
        rows = logits.split([number + 1 for number in num_drafts])
        is_partial = self._runner.discard_request_mask.np
        tokens = np.full((len(keys), max(num_drafts) + 1), NO_TOKEN, dtype=np.int32)
        logprobs = np.zeros(tokens.shape, dtype=np.float32)
        has_logprobs = False
        for i, key in enumerate(keys):
            if is_partial[i]:  # vLLM discards what is chosen after a chunk of a prompt
                tokens[i, 0] = 0
                continue
            stream = self._stream(key)
            committed = self._choose(key, stream, rows[i], tuple(drafts[i].tolist()))
            tokens[i, : len(committed)] = committed
            if stream.spec.logprobs:
                has_logprobs = True
                logprobs[i, : len(committed)] = _logprobs(rows[i], committed)
        return _sampler_output(tokens, logprobs if has_logprobs else None, logits.device)

    def _stream(self, key: str) -> _Stream:
        """The request's stream, whose processors know its text so far."""
        state = self._runner.requests[key]
        stream = self._streams.get(key)
        if stream is None:
            spec: StreamSpec = state.sampling_params.extra_args[SPEC]
            stream = self._streams[key] = _Stream(spec, logits_processors(spec), len(spec.tokens))
        answer = state.output_token_ids[stream.num_tokens - len(stream.spec.tokens) :]
        for processor in stream.processors:
            processor.commit(answer)
        stream.num_tokens += len(answer)
        return stream

    def _choose(self, key: str, stream: _Stream, rows: torch.Tensor, drafts: tuple[int, ...]) -> tuple[int, ...]:
        """The tokens that the request commits. With plain greedy decoding a GPU sends only the argmax to the host."""
        sampling = stream.spec.sampling
        if sampling.rule is Rule.GREEDY and not stream.processors and rows.device.type != "cpu":
            num_accepted, token = match(rows.argmax(-1).tolist(), drafts)
        else:
            logits = processed(rows.float().cpu().numpy(), drafts, stream.processors)
            probs = self._draft_probs.get(key, ())[: len(drafts)]
            num_accepted, token = verify(logits, drafts, probs, sampling, stream.num_tokens)
        return (*drafts[:num_accepted], token)


def _logprobs(rows: torch.Tensor, committed: Sequence[int]) -> list[float]:
    chosen = rows[: len(committed)].float().log_softmax(-1)
    values: list[float] = chosen[range(len(committed)), list(committed)].tolist()
    return values


def _sampler_output(
    tokens: npt.NDArray[np.int32],  # [requests, longest draft + 1], NO_TOKEN after the last
    logprobs: npt.NDArray[np.float32] | None,  # the same shape
    device: torch.device,
) -> Any:
    sampled = torch.from_numpy(tokens).to(device)
    if logprobs is None:
        return SamplerOutput(sampled_token_ids=sampled, logprobs_tensors=None)
    flat = torch.from_numpy(logprobs.reshape(-1, 1)).to(device)
    ids = sampled.reshape(-1, 1)
    return SamplerOutput(sampled, LogprobsTensors(ids, flat, torch.zeros_like(ids[:, 0])))
