"""Builds the shipped draft models of SmolLM2-135M-Instruct: collects data, distils, packs and evaluates.

    python -m runs.shipped_drafts collect --prompts PROMPTS --work WORK
    python -m runs.shipped_drafts distil --work WORK --net smollm2-draft-21m
    python -m runs.shipped_drafts distil --work WORK --net smollm2-draft-12m
    python -m runs.shipped_drafts pack --work WORK
    python -m runs.shipped_drafts evaluate --work WORK --net smollm2-draft-12m

PROMPTS is a folder with spec_bench_dev.jsonl, gsm8k_train.jsonl and humaneval.jsonl.gz; the target generates many more
training prompts itself. An interrupted step resumes. On one quiet core (AVX-512 with bfloat16) `collect` takes 40
minutes, `distil` 16 and 27, `pack` a quarter and `evaluate` 10 per net. The shipped n-gram table is made by
`goodspeed tune table WORK/train`.

Held-out data: four categories of Spec-Bench and all of HumanEval are in the test set only. Of the other sources, every
eighth prompt is for testing and every eighth for validation.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from goodspeed.cli import main as main_of_goodspeed
from goodspeed.engine.target_config import TargetConfig
from goodspeed.models.catalog import locate
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.models.draft_vocab import read_draft_vocab
from goodspeed.models.packing import EMBEDDING, HEAD, UnpackedDraft, pack_draft, pack_embedding
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import load_prompts
from goodspeed.tuning.data.collector import Collector, Progress, Report
from goodspeed.tuning.data.generation import AnswerRequest
from goodspeed.tuning.data.prompt_sources import greedy_requests, sampled_request
from goodspeed.tuning.train.distiller import Distiller
from goodspeed.tuning.tuning_config import CollectConfig, DistilConfig, StudentConfig

DRAFTS = Path(__file__).parents[1] / "drafts" / "src" / "goodspeed_drafts"
TARGET = "smollm2-135m-instruct"
LARGE, SMALL = "smollm2-draft-21m", "smollm2-draft-12m"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one net is trained; everything but the embedding is trained."""

    student: StudentConfig
    steps: int
    decay: int
    """Last updates, over which the learning rate falls."""
    learning_rate: float


NETS = {
    LARGE: Recipe(StudentConfig(layers=(0, 1, 28, 29), vocabulary=12288), 1400, 560, 2e-3),
    SMALL: Recipe(StudentConfig(init=LARGE, vocabulary=8192, mlp_width=640), 3000, 2400, 1e-3),
}
"""The large net starts from layers of the target, the small one from the large net with narrower MLPs."""
HELD_OUT = ("writing", "humanities", "summarization", "math_reasoning")
"""Categories of Spec-Bench that no draft is trained on."""
SPEC_BENCH, GSM8K, HUMANEVAL = "spec_bench_dev.jsonl", "gsm8k_train.jsonl", "humaneval.jsonl.gz"
NUM_GSM8K = 2400
NUM_HELD_OUT_GSM8K = 200  # of the first ones, every eighth is for testing and every eighth for validation
NUM_GENERATED = 2400
NUM_GENERATED_TRAIN = 2300  # the others are for validation
NUM_VALIDATION = 256  # more than the set has
BITS = 5  # bits of layers and heads
EMBEDDING_BITS = (4, 3)  # rows of tokens in a head, and other rows
EMBEDDING_FILE = "smollm2-embedding.safetensors"
SAMPLED_SHARE = 5  # every fifth training prompt is also answered at temperature 1
MAX_TOKENS = 256
SEED = 4


@dataclass(frozen=True, slots=True)
class Build:
    """Folders and resources of a build."""

    prompts: Path
    work: Path
    threads: int
    streams: int
    net: str

    def collect_config(self, split: str) -> CollectConfig:
        return CollectConfig(
            out=str(self.work / split),
            generated_prompts=NUM_GENERATED,
            max_tokens=MAX_TOKENS,
            seed=SEED,
            split=split,
            streams=self.streams,
            target=TargetConfig(threads=self.threads, dtype="bf16"),
        )

    def distil_config(self) -> DistilConfig:
        recipe = NETS[self.net]
        student = recipe.student
        return DistilConfig(
            data=str(self.work / "train"),
            validation=str(self.work / "validation"),
            validation_answers=NUM_VALIDATION,
            out=str(self.work / self.net),
            student=replace(student, init=str(self.work / LARGE)) if student.init == LARGE else student,
            steps=recipe.steps,
            rows=3,
            decay=recipe.decay,
            warmup=100,
            learning_rate=recipe.learning_rate,
            validate_every=200,
            checkpoint_every=100,
            threads=self.threads,
            seed=SEED,
            dtype="bf16",
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--prompts", type=Path, default=Path(), help="folder of prompts, for collect")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--streams", type=int, default=96)
    parser.add_argument("--net", choices=NETS, default=LARGE, help="for distil and evaluate")
    args = parser.parse_args()
    STEPS[args.step](Build(args.prompts, args.work, args.threads, args.streams, args.net))
    return 0


def collect(build: Build) -> None:
    """Collect three data sets: test and validation first, because they are small, then train."""
    train = Collector(build.collect_config("train"))
    report = reporter()
    generated = train.generated_prompt_requests(report)
    requests = {
        split: requests_of_split(split, build.prompts, train.tokenizer) for split in ("test", "validation", "train")
    }
    for request in generated:
        requests[_generated_split(request)].append(request)
    for split, greedy in requests.items():
        collector = Collector(build.collect_config(split))
        collector.collect(with_sampled(split, greedy, collector), [], report)


def distil(build: Build) -> None:
    """Train one net."""
    distiller = Distiller(build.distil_config())
    distiller.run(lambda point: print(point, flush=True), lambda _step: None)
    distiller.export()


def pack(build: Build) -> None:
    """Pack the checkpoints of both nets into the package."""
    heads = []
    for name in NETS:
        shape, weights = read_config(build.work / name), read_weights(build.work / name)
        vocabulary = read_draft_vocab(build.work / name, shape.vocab_size)
        assert vocabulary is not None
        heads.append(vocabulary)
        del weights[EMBEDDING]
        weights[HEAD] = weights[HEAD][torch.from_numpy(vocabulary)]
        pack_draft(DRAFTS / f"{name}.safetensors", UnpackedDraft(shape, weights, vocabulary), BITS)
    embedding = read_weights(locate(TARGET))[EMBEDDING]
    pack_embedding(DRAFTS / EMBEDDING_FILE, embedding, np.unique(np.concatenate(heads)), EMBEDDING_BITS)
    for path in sorted(DRAFTS.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def evaluate(build: Build) -> None:
    """Evaluate one packed net as a draft model and in a hybrid, and its untrained start: metrics and model cards."""
    untrained = replace(build.distil_config(), out=str(build.work / f"{build.net}-untrained"))
    Distiller(untrained).export()
    drafts = [f"torch:{untrained.out}", f"torch:{build.net}", f"hybrid:{build.net}"]
    out = ["--json", str(build.work / f"{build.net}.json"), "--cards", str(build.work / "cards")]
    data = ["--data", str(build.work / "test"), "--trained-on", str(build.work / "train"), "--num-prompts", "0"]
    threads = ["--draft.threads", str(build.threads), "--target.threads", str(build.threads)]
    main_of_goodspeed(["tune", "evaluate", *data, "--engine", "torch", *threads, *out, "--drafts", *drafts])


def with_sampled(split: str, greedy: list[AnswerRequest], collector: Collector) -> list[AnswerRequest]:
    """Requests in random order: all prompts greedy; at temperature 1 all test and some training prompts."""
    share = {"train": SAMPLED_SHARE, "validation": len(greedy), "test": 1}[split]
    sampled = [sampled_request(request, 1.0, SEED << 32 | i) for i, request in enumerate(greedy[::share])]
    return collector.shuffled([*greedy, *sampled])


def requests_of_split(split: str, folder: Path, tokenizer: Tokenizer) -> list[AnswerRequest]:
    """The greedy requests of a split, from the prompt files."""
    files: Mapping[str, Callable[[AnswerRequest], str | None]] = {
        SPEC_BENCH: _spec_bench_split,
        GSM8K: _gsm8k_split,
        HUMANEVAL: _humaneval_split,
    }
    return [
        request
        for name, split_of in files.items()
        for request in greedy_requests(load_prompts(str(folder / name)), tokenizer, name, MAX_TOKENS)
        if split_of(request) == split
    ]


def _spec_bench_split(request: AnswerRequest) -> str | None:
    if request.origin.category not in HELD_OUT:
        return _eighths(request)
    is_small = request.origin.category in ("writing", "humanities")  # 8 prompts each; of 64 every other one
    return "test" if is_small or _number(request) % 2 else None


def _gsm8k_split(request: AnswerRequest) -> str | None:
    number = _number(request)
    if number >= NUM_GSM8K:
        return None
    return _eighths(request) if number < NUM_HELD_OUT_GSM8K else "train"


def _humaneval_split(request: AnswerRequest) -> str | None:
    return "test" if _number(request) % 4 == 0 else None


def _generated_split(request: AnswerRequest) -> str:
    number = _number(request)
    return "train" if number < NUM_GENERATED_TRAIN and number % 128 else "validation"


def _eighths(request: AnswerRequest) -> str:
    return {0: "test", 4: "validation"}.get(_number(request) % 8, "train")


def _number(request: AnswerRequest) -> int:
    """The index of the prompt in its source."""
    return int(request.origin.key.removeprefix(request.origin.source).lstrip("#"))


def reporter() -> Report:
    """A report function that prints a line every half minute."""
    start_s = last = time.monotonic()

    def report(now: Progress) -> None:
        nonlocal last
        if time.monotonic() - last > 30 or now.num_done == now.num_requests:
            last = time.monotonic()
            text = f"{now.stage} {now.num_done}/{now.num_requests}, {now.num_tokens:,} tokens"
            print(f"{last - start_s:6.0f} s  {text}", flush=True)

    return report


STEPS: Mapping[str, Callable[[Build], None]] = {
    "collect": collect,
    "distil": distil,
    "pack": pack,
    "evaluate": evaluate,
}

if __name__ == "__main__":
    sys.exit(main())
