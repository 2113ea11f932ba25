"""The drafts that the package ships for SmolLM2-135M-Instruct: collected, distilled, judged and packed by one script.

    python -m runs.shipped_drafts collect --prompts PROMPTS --work WORK
    python -m runs.shipped_drafts distil --work WORK --net smollm2-draft-21m
    python -m runs.shipped_drafts distil --work WORK --net smollm2-draft-12m
    python -m runs.shipped_drafts pack --work WORK
    python -m runs.shipped_drafts judge --work WORK --net smollm2-draft-12m

PROMPTS is a folder with spec_bench_dev.jsonl, gsm8k_train.jsonl and humaneval.jsonl.gz; besides, the target writes many
of its training prompts itself. Every step goes on where it was killed. On one core (AVX-512 with bfloat16) that does
nothing else `collect` takes 40 minutes, `distil` 16 and 27, `pack` a quarter and `judge` 10 for each net. The table is
that of `goodspeed tune table WORK/train` (docs/drafts.md).

Held out by source: four categories of Spec-Bench and all of HumanEval are in the test set alone. Of the sources that
are trained on, every eighth prompt is tested and every eighth stops the training.
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
from goodspeed.tuning.data.generation import GenerationRequest
from goodspeed.tuning.data.prompt_sources import greedy_requests, sampled_request
from goodspeed.tuning.train.distiller import Distiller
from goodspeed.tuning.tuning_config import CollectConfig, DistilConfig, StudentConfig

DRAFTS = Path(__file__).parents[1] / "drafts" / "src" / "goodspeed_drafts"
TARGET = "smollm2-135m-instruct"
LARGE, SMALL = "smollm2-draft-21m", "smollm2-draft-12m"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one net is made; it learns all but the embedding."""

    student: StudentConfig
    steps: int
    decay: int
    """Last updates, in which the learning rate falls."""
    learning_rate: float


NETS = {
    LARGE: Recipe(StudentConfig(layers=(0, 1, 28, 29), vocabulary=12288), 1400, 560, 2e-3),
    SMALL: Recipe(StudentConfig(init=LARGE, vocabulary=8192, mlp_width=640), 3000, 2400, 1e-3),
}
"""The large one begins from layers of the target, the small one from the large, narrower."""
HELD_OUT = ("writing", "humanities", "summarization", "math_reasoning")
"""Categories of Spec-Bench that no draft learns from."""
SPEC_BENCH, GSM8K, HUMANEVAL = "spec_bench_dev.jsonl", "gsm8k_train.jsonl", "humaneval.jsonl.gz"
NUM_GSM8K = 2400
NUM_JUDGED_GSM8K = 200  # of whose first, every eighth is tested and every eighth validates
NUM_WRITTEN = 2400
NUM_TAUGHT_WRITTEN = 2300  # the others validate
NUM_VALIDATED = 256  # more than there are
BITS = 5  # of layers and heads
EMBEDDING_BITS = (4, 3)  # rows of tokens that a head has, and others
EMBEDDING_FILE = "smollm2-embedding.safetensors"
SAMPLED_SHARE = 5  # every so manieth training prompt is answered at temperature 1 too
MAX_TOKENS = 256
SEED = 4


@dataclass(frozen=True, slots=True)
class Run:
    """Where things are, and on what the work is done."""

    prompts: Path
    work: Path
    threads: int
    streams: int
    net: str

    def collect_config(self, split: str) -> CollectConfig:
        return CollectConfig(
            out=str(self.work / split),
            generated_prompts=NUM_WRITTEN,
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
            validation_answers=NUM_VALIDATED,
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
    parser.add_argument("--prompts", type=Path, default=Path(), help="needed by collect")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--streams", type=int, default=96)
    parser.add_argument("--net", choices=NETS, default=LARGE, help="for distil and judge")
    args = parser.parse_args()
    STEPS[args.step](Run(args.prompts, args.work, args.threads, args.streams, args.net))
    return 0


def collect(run: Run) -> None:
    """Three data sets: test and validation first, since they are small, then train."""
    train = Collector(run.collect_config("train"))
    report = reporter()
    written = train.generated_prompt_requests(report)
    asks = {split: asked(split, run.prompts, train.tokenizer) for split in ("test", "validation", "train")}
    for ask in written:
        asks[_written_split(ask)].append(ask)
    for split, greedy in asks.items():
        collector = Collector(run.collect_config(split))
        collector.collect(with_sampled(split, greedy, collector), [], report)


def distil(run: Run) -> None:
    """One net, until its steps are done."""
    distiller = Distiller(run.distil_config())
    distiller.run(lambda look: print(look, flush=True), lambda _step: None)
    distiller.export()


def pack(run: Run) -> None:
    """The checkpoints of both nets into the package."""
    heads = []
    for name in NETS:
        shape, weights = read_config(run.work / name), read_weights(run.work / name)
        kept = read_draft_vocab(run.work / name, shape.vocab_size)
        assert kept is not None
        heads.append(kept)
        del weights[EMBEDDING]
        weights[HEAD] = weights[HEAD][torch.from_numpy(kept)]
        pack_draft(DRAFTS / f"{name}.safetensors", UnpackedDraft(shape, weights, kept), BITS)
    embedding = read_weights(locate(TARGET))[EMBEDDING]
    pack_embedding(DRAFTS / EMBEDDING_FILE, embedding, np.unique(np.concatenate(heads)), EMBEDDING_BITS)
    for path in sorted(DRAFTS.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def judge(run: Run) -> None:
    """One net as it is unpacked, alone and in a hybrid, and what it began from: figures and model cards."""
    began = replace(run.distil_config(), out=str(run.work / f"{run.net}-untrained"))
    Distiller(began).export()
    drafts = [f"torch:{began.out}", f"torch:{run.net}", f"hybrid:{run.net}"]
    out = ["--json", str(run.work / f"{run.net}.json"), "--cards", str(run.work / "cards")]
    data = ["--data", str(run.work / "test"), "--trained-on", str(run.work / "train"), "--num-prompts", "0"]
    threads = ["--draft.threads", str(run.threads), "--target.threads", str(run.threads)]
    main_of_goodspeed(["tune", "evaluate", *data, "--engine", "torch", *threads, *out, "--drafts", *drafts])


def with_sampled(split: str, greedy: list[GenerationRequest], collector: Collector) -> list[GenerationRequest]:
    """In the order of asking: greedy, and at temperature 1 all of the test and some of the training prompts."""
    share = {"train": SAMPLED_SHARE, "validation": len(greedy), "test": 1}[split]
    heated = [sampled_request(ask, 1.0, SEED << 32 | i) for i, ask in enumerate(greedy[::share])]
    return collector.shuffled([*greedy, *heated])


def asked(split: str, folder: Path, tokenizer: Tokenizer) -> list[GenerationRequest]:
    """The greedy asks of a split, from the prompts of other people."""
    files: Mapping[str, Callable[[GenerationRequest], str | None]] = {
        SPEC_BENCH: _spec_bench_split,
        GSM8K: _gsm8k_split,
        HUMANEVAL: _humaneval_split,
    }
    return [
        ask
        for name, split_of in files.items()
        for ask in greedy_requests(load_prompts(str(folder / name)), tokenizer, name, MAX_TOKENS)
        if split_of(ask) == split
    ]


def _spec_bench_split(ask: GenerationRequest) -> str | None:
    if ask.origin.category not in HELD_OUT:
        return _eighths(ask)
    is_small = ask.origin.category in ("writing", "humanities")  # 8 prompts each; of 64 every other one
    return "test" if is_small or _number(ask) % 2 else None


def _gsm8k_split(ask: GenerationRequest) -> str | None:
    number = _number(ask)
    if number >= NUM_GSM8K:
        return None
    return _eighths(ask) if number < NUM_JUDGED_GSM8K else "train"


def _humaneval_split(ask: GenerationRequest) -> str | None:
    return "test" if _number(ask) % 4 == 0 else None


def _written_split(ask: GenerationRequest) -> str:
    number = _number(ask)
    return "train" if number < NUM_TAUGHT_WRITTEN and number % 128 else "validation"


def _eighths(ask: GenerationRequest) -> str:
    return {0: "test", 4: "validation"}.get(_number(ask) % 8, "train")


def _number(ask: GenerationRequest) -> int:
    """The place of its prompt in its source."""
    return int(ask.origin.key.removeprefix(ask.origin.source).lstrip("#"))


def reporter() -> Report:
    """Prints a line every half a minute."""
    began = last = time.monotonic()

    def report(now: Progress) -> None:
        nonlocal last
        if time.monotonic() - last > 30 or now.num_done == now.num_requests:
            last = time.monotonic()
            done = f"{now.stage} {now.num_done}/{now.num_requests}, {now.num_tokens:,} tokens"
            print(f"{last - began:6.0f} s  {done}", flush=True)

    return report


STEPS: Mapping[str, Callable[[Run], None]] = {"collect": collect, "distil": distil, "pack": pack, "judge": judge}

if __name__ == "__main__":
    sys.exit(main())
