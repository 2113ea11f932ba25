"""The acceptance rules in vLLM's workers: they replace its sampler, for every rule and on every rank alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from vllm.v1.outputs import SamplerOutput
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.logits_processor import processed
from goodspeed.decoding.rules import match, verify
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import StreamSpec
from goodspeed.engine.logits_processors import Processors, failure_of, logits_processors
from goodspeed.engine.torch.logprobs import logprobs_of
from goodspeed.engine.vllm.drafts import NoDrafts
from goodspeed.engine.vllm.exchange import REPORTS, SPEC, Report, draft_probs_of
from goodspeed.engine.vllm.grammars import grammar_compiler
from goodspeed.engine.vllm.hooks import WORKER_HOOKS, missing_hooks
from goodspeed.engine.vllm.single_rows import compute_single_rows_twice

NO_TOKEN = -1

# vLLM 0.32 asks every pipeline stage for its proposer when it makes the KV cache, but only the last stage has one.
# Workers import this module before they make their runner.
GPUModelRunner.drafter = NoDrafts(None)


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
        self._execute_model, self._sample_tokens = runner.execute_model, runner.sample_tokens
        self._draft_probs: Mapping[str, tuple[SparseProbs, ...]] = {}
        self._reports: dict[str, Report] = {}
        self._streams: dict[str, _Stream] = {}
        self._grammars: Grammars | None = None
        runner.execute_model, runner.sample_tokens, runner._sample = self._execute, self._report, self._sample

    def _execute(self, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        self._draft_probs = draft_probs_of(scheduler_output)
        for key in scheduler_output.finished_req_ids:
            self._streams.pop(key, None)
        return self._execute_model(scheduler_output, *args, **kwargs)

    def _report(self, *args: Any, **kwargs: Any) -> Any:
        output = self._sample_tokens(*args, **kwargs)
        setattr(output, REPORTS, self._reports)
        return output

    def _sample(self, logits: torch.Tensor, metadata: Any) -> Any:
        """`logits`: [sum of draft tokens + 1 over the requests, vocab]; `metadata`: None if the step has no drafts."""
        keys = self._runner.input_batch.req_ids
        num_drafts = metadata.num_draft_tokens if metadata else [0] * len(keys)
        drafts = metadata.draft_token_ids.split(num_drafts) if metadata else [torch.empty(0)] * len(keys)
        rows = logits.split([number + 1 for number in num_drafts])
        is_partial = self._runner.discard_request_mask.np
        tokens = torch.full((len(keys), max(num_drafts) + 1), NO_TOKEN, dtype=torch.int32)
        self._reports = {}
        for i, key in enumerate(keys):
            if is_partial[i]:  # vLLM discards what is chosen after a chunk of a prompt
                tokens[i, 0] = 0
                continue
            stream = self._stream(key)
            committed = self._choose(key, stream, rows[i], tuple(drafts[i].tolist()))
            tokens[i, : len(committed)] = torch.tensor(committed)
            scores = logprobs_of(rows[i], committed, stream.spec.top_logprobs) if stream.spec.logprobs else ((), ())
            self._reports[key] = Report(*scores, failure_of(stream.processors))
        return SamplerOutput(sampled_token_ids=tokens.to(logits.device), logprobs_tensors=None)

    def _stream(self, key: str) -> _Stream:
        """The request's stream, whose processors know its text so far."""
        state = self._runner.requests[key]
        stream = self._streams.get(key)
        if stream is None:
            spec: StreamSpec = state.sampling_params.extra_args[SPEC]
            grammars = self._grammar_compiler() if spec.sampling.constraint else None
            stream = self._streams[key] = _Stream(spec, logits_processors(spec, grammars), len(spec.tokens))
        answer = state.output_token_ids[stream.num_tokens - len(stream.spec.tokens) :]
        for processor in stream.processors:
            processor.commit(answer)
        stream.num_tokens += len(answer)
        return stream

    def _grammar_compiler(self) -> Grammars:
        """Of this worker, made for the first request with a constraint."""
        if self._grammars is None:
            self._grammars = grammar_compiler(self._runner.model_config)
        return self._grammars

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
