"""How good the drafts are that need no training: acceptance, agreement, reliability, and the best place to stop.

The target answers the prompts once (greedy, or coupled at --temperature) and the answers are kept in a file; then the
draft engines are replayed over them, `--streams` at a time, as a drafter would see them. "cold" learns from zero while
it is measured, "warm" has learned from the other answers before. Goodput is estimated for a verifier whose step takes
`--step-ms` and `--token-ms` per token in the batch, beside the target alone in the same batch.

    .venv/bin/python runs/draft_quality.py --answers /tmp/answers.jsonl --prompts spec_bench.jsonl gsm8k.jsonl
"""

import argparse
import copy
import importlib
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from goodspeed.bench.lossless import Pair, Schedule
from goodspeed.bench.prompts import DOMAINS, Prompt, load_prompts
from goodspeed.decoding.reference import Request
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.base import DraftEngine, DraftRequest, TargetEngine
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.torch.config import TargetConfig
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer

ENGINES = ("lookup", "table", "hybrid")
WINDOWS = (2, 4, 6)
SWEEP_WINDOWS = (4, 6, 8, 12)
SWEEP_SURVIVALS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the target said."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    sampling: Sampling


@dataclass(slots=True)
class Replay:
    """What became of the drafts of one engine over some answers."""

    rounds: list[tuple[int, int, int]] = field(default_factory=list)
    """(answer, proposed, accepted)"""
    judged: list[tuple[float, bool]] = field(default_factory=list)
    """(confidence, accepted) of every draft token all before which were accepted"""
    batches: list[tuple[int, int, int]] = field(default_factory=list)
    """(streams, tokens verified, tokens committed)"""
    drafting_s: float = 0.0

    @property
    def accepted_per_round(self) -> float:
        return float(np.mean([accepted for _, _, accepted in self.rounds]))

    @property
    def proposed_per_round(self) -> float:
        return float(np.mean([proposed for _, proposed, _ in self.rounds]))

    @property
    def drafting_us_per_token(self) -> float:
        return 1e6 * self.drafting_s / max(1, sum(proposed for _, proposed, _ in self.rounds))

    @property
    def standard_error(self) -> float:
        """Of accepted_per_round, answers being independent: ratio estimator."""
        of = {answer: [0, 0] for answer, _, _ in self.rounds}
        for answer, _, accepted in self.rounds:
            of[answer][0] += accepted
            of[answer][1] += 1
        sums = np.array(list(of.values()), dtype=float)
        residuals = sums[:, 0] - self.accepted_per_round * sums[:, 1]
        return float(np.sqrt(len(sums)) * residuals.std() / sums[:, 1].sum())

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over ten bins of confidence."""
        confidences, is_accepted = np.array(self.judged).T
        bins = np.minimum((confidences * 10).astype(int), 9)
        return float(sum(abs(np.sum((confidences - is_accepted)[bins == b])) for b in range(10)) / len(bins))

    def speedup(self, step_ms: float, token_ms: float) -> float:
        """Committed tokens per second beside the target alone, over the batches that were full."""
        num_streams = max(streams for streams, _, _ in self.batches)
        full = np.array([batch[1:] for batch in self.batches if batch[0] == num_streams])
        alone = num_streams / (step_ms + token_ms * num_streams)
        return float(full[:, 1].sum() / (step_ms * len(full) + token_ms * full[:, 0].sum()) / alone)


@dataclass(slots=True)
class _Stream:
    key: int
    answer: Answer
    num_committed: int = 1  # round 0 is the target's own token


class Replayer:
    """Shows answers to a draft engine as a verifier would commit them."""

    def __init__(self, engine: DraftEngine, num_streams: int) -> None:
        self._engine = engine
        self._num_streams = num_streams
        self._num_opened = 0

    def replay(self, answers: Sequence[Answer], window: int, min_survival: float = 0.0) -> Replay:
        replay, waiting, active = Replay(), list(reversed(answers)), list[_Stream]()
        while waiting or active:
            while waiting and len(active) < self._num_streams:
                active.append(self._open(waiting.pop()))
            self._round(active, window, min_survival, replay)
            for stream in [stream for stream in active if stream.num_committed >= len(stream.answer.tokens)]:
                active.remove(stream)
                self._engine.close(stream.key)
        return replay

    def agreement(self, answers: Sequence[Answer]) -> float:
        """Share of answer tokens (but the first) that the engine would have drafted, given all before them."""
        num_right = num_tokens = 0
        for answer in answers:
            stream = self._open(answer)
            for token in answer.tokens[1:]:
                num_right += self._engine.draft([DraftRequest(stream.key, 1)])[0].tokens == (token,)
                num_tokens += 1
                self._engine.commit(stream.key, [token])
            self._engine.close(stream.key)
        return num_right / num_tokens

    def _open(self, answer: Answer) -> _Stream:
        self._num_opened += 1
        self._engine.open(self._num_opened, answer.prompt, answer.sampling)
        self._engine.commit(self._num_opened, answer.tokens[:1])
        return _Stream(self._num_opened, answer)

    def _round(self, active: Sequence[_Stream], window: int, min_survival: float, replay: Replay) -> None:
        requests = [
            DraftRequest(
                stream.key, max(0, min(window, len(stream.answer.tokens) - stream.num_committed - 1)), min_survival
            )
            for stream in active
        ]
        begin = time.perf_counter()
        drafts = self._engine.draft(requests)
        replay.drafting_s += time.perf_counter() - begin
        committed = 0
        for stream, draft in zip(active, drafts, strict=True):
            said = stream.answer.tokens[stream.num_committed :]
            accepted = next((i for i, token in enumerate(draft.tokens) if said[i] != token), len(draft.tokens))
            judged = draft.confidences[: accepted + 1]
            replay.judged.extend((confidence, i < accepted) for i, confidence in enumerate(judged))
            replay.rounds.append((stream.key, len(draft.tokens), accepted))
            self._engine.commit(stream.key, said[: accepted + 1])
            stream.num_committed += accepted + 1
            committed += accepted + 1
        replay.batches.append((len(active), sum(len(draft.tokens) + 1 for draft in drafts), committed))


def main() -> None:
    args = _parser().parse_args()
    if not args.answers.exists():
        write_answers(args)
    answers = read_answers(args.answers, args.temperature)
    random.Random(args.seed).shuffle(answers)
    test, warm_up = answers[: args.num_test], answers[args.num_test :]
    num_tokens = sum(len(answer.tokens) for answer in test)
    print(f"{len(test)} answers of {num_tokens} tokens measured, {len(warm_up)} before them when warm\n")
    for row in quality_rows(test, warm_up, args):
        print(row, flush=True)
    for row in sweep_rows(test, warm_up, args):
        print(row, flush=True)


def quality_rows(test: Sequence[Answer], warm_up: Sequence[Answer], args: argparse.Namespace) -> Iterator[str]:
    """A table: every engine, cold and warm."""
    accepted = " | ".join(f"accepted/round w{window}" for window in WINDOWS)
    yield f"| engine | agreement | {accepted} | calibration error w4 | drafting us/token |"
    yield "|---" * (5 + len(WINDOWS)) + "|"
    for name in args.engines:
        cold = draft_engine(
            DraftConfig(engine=name, model=args.draft_model if name == "hybrid" else ""), args.vocab_size
        )
        for state, engine in (("cold", cold), ("warm", warmed(cold, warm_up, args.streams))):
            agreement = replayer(engine, args.streams).agreement(test)
            replays = {window: replayer(engine, args.streams).replay(test, window) for window in WINDOWS}
            cells = [f"{replay.accepted_per_round:.3f} ± {replay.standard_error:.3f}" for replay in replays.values()]
            error, cost = replays[4].calibration_error, replays[4].drafting_us_per_token
            yield f"| {name}, {state} | {agreement:.3f} | {' | '.join(cells)} | {error:.3f} | {cost:.0f} |"


def sweep_rows(test: Sequence[Answer], warm_up: Sequence[Answer], args: argparse.Namespace) -> Iterator[str]:
    """A table: where the warm hybrid should stop; estimated goodput beside the target alone."""
    engine = warmed(draft_engine(DraftConfig(), args.vocab_size), warm_up, args.streams)
    step = f"{args.step_ms} ms + {args.token_ms} ms a token"
    yield f"\nGoodput beside the target alone, a step being {step} (accepted / proposed a round)"
    yield "| window | " + " | ".join(f"min_survival {survival}" for survival in SWEEP_SURVIVALS) + " |"
    yield "|---" * (1 + len(SWEEP_SURVIVALS)) + "|"
    for window in SWEEP_WINDOWS:
        replays = [replayer(engine, args.streams).replay(test, window, survival) for survival in SWEEP_SURVIVALS]
        cells = [
            f"{replay.speedup(args.step_ms, args.token_ms):.3f} "
            f"({replay.accepted_per_round:.2f} / {replay.proposed_per_round:.2f})"
            for replay in replays
        ]
        yield f"| {window} | {' | '.join(cells)} |"


def warmed(engine: DraftEngine, answers: Sequence[Answer], num_streams: int) -> DraftEngine:
    """A copy of the engine that has drafted for these answers before."""
    copied = copy.deepcopy(engine)
    Replayer(copied, num_streams).replay(answers, window=8, min_survival=0.1)
    return copied


def replayer(engine: DraftEngine, num_streams: int) -> Replayer:
    """Over a copy, so that one measurement teaches the next one nothing."""
    return Replayer(copy.deepcopy(engine), num_streams)


def read_answers(path: Path, temperature: float) -> list[Answer]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Answer(tuple(line["prompt"]), tuple(line["answer"]), _sampling(temperature, line.get("seed", 0)))
        for line in lines
        if line.get("temperature", 0.0) == temperature and len(line["answer"]) > 1
    ]


def write_answers(args: argparse.Namespace) -> None:
    """Let the target answer: a JSON line each with prompt and answer in tokens, temperature and seed."""
    # Only this needs PyTorch: who has the answers measures without.
    loading = importlib.import_module("goodspeed.engine.torch.loading")
    tokenizer = Tokenizer.load(locate(args.target))
    target: TargetEngine = loading.load_target(TargetConfig(args.target))
    requests = [
        Request(
            tuple(tokenizer.encode_chat([asdict(message) for message in prompt.messages])),
            args.max_tokens,
            _sampling(args.temperature, seed),
            target.info.end_tokens,
        )
        for seed, prompt in enumerate(in_turns(args.prompts, args.num_answers))
    ]
    requests = [request for request in requests if len(request.prompt) <= args.max_prompt]
    pair = Pair(target, draft_engine(DraftConfig(), target.info.vocab_size))
    done = itertools.count(1)

    def show() -> None:
        print(f"\ranswer {next(done)} of {len(requests)}", end="", file=sys.stderr)

    texts = pair.write(requests, Schedule(windows=(3,), max_streams=16), show)
    with args.answers.open("w", encoding="utf-8") as file:
        for request, text in zip(requests, texts, strict=True):
            sampling = {"temperature": request.sampling.temperature, "seed": request.sampling.seed}
            file.write(json.dumps({"prompt": request.prompt, "answer": text.tokens, **sampling}) + "\n")


def in_turns(sources: Sequence[str], number: int) -> list[Prompt]:
    """So many prompts, shuffled within each source and taken from the sources in turns while they last."""
    shuffled = []
    for source in sources:
        prompts = load_prompts(source)
        random.Random(0).shuffle(prompts)
        shuffled.append(prompts)
    rounds = itertools.zip_longest(*shuffled)
    return [prompt for prompts in rounds for prompt in prompts if prompt is not None][:number]


def _sampling(temperature: float, seed: int) -> Sampling:
    return Sampling(temperature, seed=seed, rule=Rule.COUPLED) if temperature else Sampling()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=Path, required=True, help="JSONL file of answers; made if it is not there")
    parser.add_argument("--prompts", nargs="*", default=list(DOMAINS), help="prompt files or domains, taken in turns")
    parser.add_argument("--target", default="smollm2-135m-instruct")
    parser.add_argument("--num-answers", type=int, default=448, help="answers to make")
    parser.add_argument("--max-prompt", type=int, default=1024, help="longer prompts (in tokens) are left out")
    parser.add_argument("--max-tokens", type=int, default=160, help="longest answer to make")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--num-test", type=int, default=60)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--engines", nargs="*", default=list(ENGINES))
    parser.add_argument("--draft-model", default="", help="a third source for hybrid")
    parser.add_argument("--vocab-size", type=int, default=49_152)
    parser.add_argument("--step-ms", type=float, default=14.0)
    parser.add_argument("--token-ms", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
