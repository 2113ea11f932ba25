"""The target engine that drives vLLM's engine core: one step of the verifier is one step of vLLM."""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vllm.sampling_params import SamplingParams
from vllm.v1.request import Request

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.logprobs import TopTokens
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import CachedPrefix, Outcome, Prefill, StreamSpec, TargetInfo, Verify, Work
from goodspeed.engine.vllm.exchange import SPEC, Report
from goodspeed.engine.vllm.options import MAX_DRAFT
from goodspeed.engine.vllm.scheduler import StepRequest, StepScheduler
from goodspeed.errors import CapacityError


@dataclass(slots=True)
class _Stream:
    request: Any  # vLLM's Request
    spec: StreamSpec
    salt: str
    """Of the hashes of its blocks: streams with one salt share them."""
    num_prefilled: int = 0
    """Prefix tokens that the verifier has had prefilled; vLLM may have more of them in its prefix cache."""

    @property
    def key(self) -> str:
        """The id of vLLM's request."""
        return str(self.request.request_id)


class _Committed(NamedTuple):
    """What a request commits in a step."""

    tokens: Sequence[int]
    report: Report
    prompt_logprobs: Any | None  # vLLM's LogprobsTensors


class VllmTarget:
    """A TargetEngine with an EngineCore of vLLM in this process, whose workers may be others.

    A stream is a request that vLLM never finishes by itself. Between steps it keeps its memory and waits. A violation
    of the TargetEngine contract fails an assertion; an error of vLLM in a step passes through.
    """

    def __init__(self, core: Any, info: TargetInfo, grammars: Grammars | None = None) -> None:
        self.info = info
        self.grammars = grammars
        self.core = core
        self._scheduler: StepScheduler = core.scheduler
        self._streams: dict[StreamKey, _Stream] = {}
        self._retained: dict[StreamKey, _Stream] = {}
        self.shutdown = weakref.finalize(self, core.shutdown)
        """Ends vLLM's workers; at the latest the exit of the process does."""

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        assert stream not in self._streams, f"stream {stream} is open"
        assert 0 < len(spec.tokens) <= spec.capacity, f"{len(spec.tokens)} tokens in a capacity of {spec.capacity}"
        salt = self._source(spec.prefix).salt if spec.prefix else spec.client
        num_cached = spec.prefix.num_tokens if spec.prefix else 0
        params = SamplingParams(
            temperature=0.0,
            max_tokens=spec.capacity + 1,  # never reached: the verifier ends streams
            ignore_eos=True,
            detokenize=False,
            prompt_logprobs=spec.top_logprobs if spec.prompt_logprobs else None,
            extra_args={SPEC: spec},
        )
        request = Request(
            request_id=str(stream),
            prompt_token_ids=list(spec.tokens),
            sampling_params=params,
            pooling_params=None,
            cache_salt=salt or None,
            block_hasher=self.core.request_block_hasher,
        )
        self.core.add_request(request)
        self._streams[stream] = _Stream(request, spec, salt, num_cached)

    def _source(self, prefix: CachedPrefix) -> _Stream:
        return self._streams.get(prefix.source) or self._retained[prefix.source]

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        requests = [self._request(work) for work in batch]
        outputs: dict[str, _Committed] = {}
        for part in self._parts(requests):
            outputs.update(self._run(part))
        return [self._outcome(work, outputs.get(self._streams[work.stream].key)) for work in batch]

    def retain(self, stream: StreamKey, num_tokens: int) -> None:
        """The request keeps its memory, but never runs again: vLLM's prefix cache finds its blocks.

        If memory gets short, vLLM or _release_retained takes it. A later stream then prefills these tokens again.
        """
        ended = self._streams.pop(stream)
        assert num_tokens < ended.request.num_tokens, f"{num_tokens} of {ended.request.num_tokens} tokens to retain"
        self._retained[stream] = ended
        self._scheduler.retained = {retained.key for retained in self._retained.values()}

    def close(self, stream: StreamKey) -> None:
        ended = self._streams.pop(stream, None) or self._retained.pop(stream)
        self.core.abort_requests([ended.key])
        self._scheduler.retained = {retained.key for retained in self._retained.values()}

    def _request(self, work: Work) -> tuple[str, StepRequest]:
        """The request of a work item, and what the step does for it."""
        stream = self._streams[work.stream]
        if isinstance(work, Prefill):
            remaining = len(stream.spec.tokens) - stream.num_prefilled
            assert 0 < work.num_tokens <= remaining, f"prefill of {work.num_tokens}, {remaining} remain"
            return stream.key, StepRequest(stream.num_prefilled + work.num_tokens)
        remaining = len(stream.spec.tokens) - stream.num_prefilled
        assert remaining <= 1, f"stream {work.stream} is not completely prefilled"
        num_tokens = stream.request.num_tokens + len(work.draft_tokens)
        assert num_tokens <= stream.spec.capacity, f"{num_tokens} tokens in a capacity of {stream.spec.capacity}"
        drafted = work.draft_tokens[:MAX_DRAFT]
        return stream.key, StepRequest(stream.request.num_tokens + len(drafted), drafted, work.draft_probs[:MAX_DRAFT])

    def _parts(self, requests: Sequence[tuple[str, StepRequest]]) -> Iterator[dict[str, StepRequest]]:
        """Parts of the batch with no more requests than vLLM has rows."""
        size = self._scheduler.max_requests_per_step
        for start in range(0, len(requests), size):
            yield dict(requests[start : start + size])

    def _run(self, wanted: Mapping[str, StepRequest]) -> dict[str, _Committed]:
        """Step vLLM until every request is where the batch wants it; what those commit that commit tokens.

        It takes one step unless vLLM has preempted a request or has fewer cached tokens than the verifier assumed.
        """
        left, outputs = dict(wanted), dict[str, _Committed]()
        while left:
            self._scheduler.step = left
            num_before = sum(self._num_computed(key) for key in left)
            new = self._step_core()
            outputs |= new
            done = new.keys() | self._scheduler.cached | {key for key in left if self._is_prefilled(key, left)}
            is_moving = done or sum(self._num_computed(key) for key in left) > num_before
            if not is_moving and not self._release_retained():
                raise CapacityError(f"vLLM has no room for {len(left)} requests of the step")
            left = {key: request for key, request in left.items() if key not in done}
        return outputs

    def _step_core(self) -> dict[str, _Committed]:
        """What vLLM's requests commit in one step."""
        by_client, _ = self.core.step()
        outputs = [output for of_client in by_client.values() for output in of_client.outputs]
        return {output.request_id: self._committed(output) for output in outputs}

    def _committed(self, output: Any) -> _Committed:
        report = self._scheduler.reports[output.request_id]
        return _Committed(output.new_token_ids, report, output.new_prompt_logprobs_tensors)

    def _num_computed(self, key: str) -> int:
        return int(self._scheduler.requests[key].num_computed_tokens)

    def _is_prefilled(self, key: str, left: Mapping[str, StepRequest]) -> bool:
        """Whether a chunk of a prompt is done that is not its last one."""
        request = self._scheduler.requests[key]
        wanted = left[key].num_tokens
        return wanted < request.num_tokens and self._num_computed(key) >= wanted

    def _release_retained(self) -> bool:
        """Free the memory of the sequence that was retained first and still has some. False if there is none."""
        for ended in self._retained.values():
            if ended.key in self._scheduler.requests:
                self.core.abort_requests([ended.key])
                return True
        return False

    def _outcome(self, work: Work, committed: _Committed | None) -> Outcome:
        stream = self._streams[work.stream]
        is_prompt_new = stream.num_prefilled < len(stream.spec.tokens)
        stream.num_prefilled += work.num_tokens if isinstance(work, Prefill) else int(is_prompt_new)
        if committed is None:
            return Outcome(work.stream, 0, None)
        *accepted, next_token = committed.tokens
        drafted = work.draft_tokens if isinstance(work, Verify) else ()
        assert tuple(accepted) == drafted[: len(accepted)], "vLLM committed other tokens than the rule"
        report, prompt = committed.report, _prompt_logprobs(committed.prompt_logprobs)
        return Outcome(
            work.stream, len(accepted), next_token, report.logprobs, report.failure, report.top_logprobs, *prompt
        )


def _prompt_logprobs(tensors: Any | None) -> tuple[tuple[float, ...], tuple[TopTokens, ...]]:
    """vLLM's columns are each token of the prompt but the first, and then the most likely ones in order."""
    if tensors is None:
        return (), ()
    logprobs, tokens = tensors.logprobs.tolist(), tensors.logprob_token_ids.tolist()
    top = tuple(TopTokens(tuple(ids[1:]), tuple(row[1:])) for ids, row in zip(tokens, logprobs, strict=True))
    return tuple(row[0] for row in logprobs), top if tensors.logprobs.shape[1] > 1 else ()
