"""Draft selection by value against selection by arrival: utility, and committed per verified token, in virtual time.

toy: every draft token has its own confidence, Beta-distributed around the client's acceptance rate, and is accepted
with that probability. real: warm hybrid drafts on the target's greedy answers, one domain for each client; the answers
are generated once and stored in the folder. The verifier's core runs in virtual time with equal turnarounds and a
barrier, so that every batch has all clients and the budget binds. Utility is the sum of log mean committed tokens per
round. Intervals are 95% over seeds, paired for differences. toy: a minute, no model. real: needs the target model.

    python -m runs.draft_selection --pair toy
    python -m runs.draft_selection --pair real
"""

import argparse
import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from runs.live.domains import prompts as domain_prompts
from runs.live.pregenerated_target import PregeneratedAnswers, PregeneratedTarget

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import DraftEngine, TargetEngine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.engine.toy_target import toy_info
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.stats.intervals import interval
from goodspeed.testing.varying_draft import VaryingDraft
from goodspeed.testing.virtual_verifier import (
    VirtualDrafter,
    VirtualEngines,
    VirtualVerifier,
    open_request,
    unlimited_info,
)
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import VerifierCoreConfig

RATES = (0.85, 0.7, 0.55, 0.4)
REAL_DOMAINS = ("copying", "maths", "coding", "travel")
NUM_WARM_UP, NUM_PROMPTS, MAX_TOKENS = 16, 24, 100
WARM_UP_ROUNDS = 100
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairSetup:
    """A pair of engines and the prompts of its clients."""

    engine: Callable[[], TargetEngine | None]  # None: the toy target
    drafts: Callable[[int, int], DraftEngine]  # client, seed
    prompts: Callable[[int, int], Iterator[tuple[tuple[int, ...], int]]]
    """client, seed -> an endless iterator over prompts and the lengths of their answers."""
    min_survival: float


@dataclass(frozen=True)
class SelectionMetrics:
    """The results of one run."""

    utility: float
    committed_per_verified: float
    """Committed tokens / tokens in the target's steps (draft tokens, and one per round)."""
    goodputs: tuple[float, ...]
    """Committed tokens per round, by client."""


def run(setup: PairSetup, config: VerifierCoreConfig, seed: int, num_rounds: int) -> SelectionMetrics:
    """Run with one stream per client at all times."""
    rng = np.random.default_rng(seed)
    engine = setup.engine()
    engines = VirtualEngines(engine) if engine else None
    verifier = VirtualVerifier(config, unlimited_info(), lambda _tokens: 0.02, engines=engines)
    for i in range(len(RATES)):
        turnaround_s = float(rng.uniform(0.001, 0.002))
        drafter = VirtualDrafter(verifier, f"drafter {i}", setup.drafts(i, seed), partial(float, turnaround_s))
        drafter.min_survival = setup.min_survival
        prompts, streams = setup.prompts(i, seed), itertools.count(1)
        drafter.on_text = partial(_open_next, drafter, prompts, streams)
        drafter.on_text(0)
    verifier.run(WARM_UP_ROUNDS * 0.023)
    clients = verifier.core.stats().clients
    before = _counts(clients)
    verifier.run(num_rounds * 0.023)
    rounds, proposed, committed = (_counts(clients) - before).T
    goodputs = committed / rounds
    return SelectionMetrics(float(np.log(goodputs).sum()), committed.sum() / (proposed + rounds).sum(), tuple(goodputs))


def _open_next(
    drafter: VirtualDrafter, prompts: Iterator[tuple[tuple[int, ...], int]], streams: Iterator[int], _done: int
) -> None:
    drafter.open(open_request(next(streams), *next(prompts)))


def _counts(clients: Sequence[Client]) -> Floats:
    """[clients, 3]: rounds, draft tokens verified, tokens committed."""
    return np.array([(c.num_rounds, c.num_proposed, c.num_committed) for c in clients], dtype=np.float64)


def toy_setup(args: argparse.Namespace) -> PairSetup:
    def prompts(client: int, seed: int) -> Iterator[tuple[tuple[int, ...], int]]:
        return (((1 + client, seed % 250, number % 250), MAX_TOKENS) for number in itertools.count())

    return PairSetup(
        lambda: None,
        lambda client, seed: VaryingDraft(RATES[client], 100 * seed + client),
        prompts,
        args.min_survival,
    )


def real_setup(args: argparse.Namespace) -> PairSetup:
    """Load the target, generate missing answers, and warm up every client's draft on its domain."""
    tokenizer = Tokenizer.load(locate(args.target))
    target = load_target(TargetConfig(args.target, threads=2))
    answers = PregeneratedAnswers(target, MAX_TOKENS, args.folder)
    prompt_tokens, warm_drafts = [], []
    for domain in REAL_DOMAINS:
        texts = itertools.islice(domain_prompts(domain, 7), NUM_WARM_UP + NUM_PROMPTS)
        tokens = [tuple(tokenizer.encode_chat([{"role": "user", "content": prompt}])) for prompt in texts]
        answers.generate(tokens)
        prompt_tokens.append(tokens[NUM_WARM_UP:])
        warm_drafts.append(_warm_draft([(prompt, answers.answer(prompt)) for prompt in tokens[:NUM_WARM_UP]], target))
    info = replace(target.info, kv_capacity=10**9, tokenizer_fingerprint=toy_info().tokenizer_fingerprint)

    def prompts(client: int, seed: int) -> Iterator[tuple[tuple[int, ...], int]]:
        order = np.random.default_rng([seed, client]).permutation(NUM_PROMPTS)
        return (
            (prompt, len(answers.answer(prompt)))
            for prompt in (prompt_tokens[client][i] for i in itertools.cycle(order))
        )

    return PairSetup(
        lambda: PregeneratedTarget(answers, info),
        lambda client, _seed: copy.deepcopy(warm_drafts[client]),
        prompts,
        args.min_survival,
    )


def _warm_draft(answers: Sequence[tuple[Sequence[int], Sequence[int]]], target: TargetEngine) -> DraftEngine:
    engine = draft_engine(DraftConfig(), target.info.vocab_size)
    for key, (prompt, answer) in enumerate(answers):
        engine.open(-1 - key, prompt, Sampling())
        num_committed = 0
        while num_committed < len(answer):
            tokens = engine.draft([DraftRequest(-1 - key, 6)])[0].tokens
            num_accepted = sum(1 for _ in itertools.takewhile(bool, map(int.__eq__, tokens, answer[num_committed:])))
            engine.commit(-1 - key, answer[num_committed : num_committed + num_accepted + 1])
            num_committed += num_accepted + 1
        engine.close(-1 - key)
    return engine


def arms(args: argparse.Namespace) -> dict[str, VerifierCoreConfig]:
    """Configs by name; the first is the baseline of the others."""
    configs = {}
    for estimator in args.estimators:
        common = {"budget": args.budget, "batching": "barrier", "estimator": estimator, "scheduler": args.scheduler}
        configs[f"{estimator}, by arrival"] = VerifierCoreConfig(draft_selection="arrival", **common)
        for overcommit in args.overcommit:
            by_value = VerifierCoreConfig(draft_selection="value", time_price=0.0, overcommit=overcommit, **common)
            configs[f"{estimator}, by value, x{overcommit:g}"] = by_value
    return configs


def main() -> None:
    args = _parser().parse_args()
    setup = {"toy": toy_setup, "real": real_setup}[args.pair](args)
    metrics: dict[str, list[SelectionMetrics]] = {}
    for name, config in arms(args).items():
        metrics[name] = [run(setup, config, seed, args.rounds) for seed in range(args.seeds)]
    baseline = next(iter(metrics.values()))
    print(
        f"{args.pair} pair, budget {args.budget}, min_survival {args.min_survival}; "
        "gain and ratio relative to the first row"
    )
    print("| | utility | gain | committed per verified token | ratio | goodputs |")
    print("|---|---|---|---|---|---|")
    for name, values in metrics.items():
        gain = [value.utility - other.utility for value, other in zip(values, baseline, strict=True)]
        ratio = [v.committed_per_verified / o.committed_per_verified for v, o in zip(values, baseline, strict=True)]
        goodputs = " ".join(f"{x:.2f}" for x in np.mean([value.goodputs for value in values], axis=0))
        cells = [shown([v.utility for v in values]), shown(gain)]
        cells += [shown([v.committed_per_verified for v in values]), shown(ratio), goodputs]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def shown(values: Sequence[float]) -> str:
    """Mean and half of its 95% interval."""
    configs = interval(values)
    return f"{configs.mean:.3f} ± {configs.high - configs.mean:.3f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=("toy", "real"), default="toy")
    parser.add_argument(
        "--folder", type=Path, default=Path("results/draft_selection"), help="folder for generated answers"
    )
    parser.add_argument("--target", default="smollm2-135m-instruct")
    parser.add_argument("--budget", type=int, default=8)
    parser.add_argument("--scheduler", default="gradient")
    parser.add_argument(
        "--estimators",
        nargs="+",
        default=["adaptive", "adaptive_survival"],
        help="estimators; the first one gives the baseline",
    )
    parser.add_argument("--min-survival", type=float, default=0.0, help="survival at which drafts end")
    parser.add_argument("--overcommit", type=float, nargs="*", default=[1.5, 2.0])
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=6)
    return parser


if __name__ == "__main__":
    main()
