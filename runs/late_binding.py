"""Late binding beside grants alone: utility, and committed tokens per verified token, in virtual time.

    python -m runs.late_binding --pair toy
    python -m runs.late_binding --pair real --folder /tmp/late       (from the repository's root)

toy: drafts whose every token has a confidence of its own, Beta-distributed around the client's acceptance rate, and
is accepted with just that chance. real: hybrid drafts, taught beforehand, on answers that the target has written
(greedy; written once and kept in the folder), a domain for each client. The verifier's core runs in virtual time with
equal gaps behind a barrier, so that everybody is in every batch and the budget binds. Utility is the sum of log mean
committed tokens per round; intervals are 95% over seeds, paired where a difference is shown.
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
from runs.live.written import Texts, WrittenTarget

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
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import VerifierCoreConfig

RATES = (0.85, 0.7, 0.55, 0.4)
REAL_DOMAINS = ("copying", "maths", "coding", "travel")
NUM_LESSONS, NUM_PROMPTS, MAX_TOKENS = 16, 24, 100
WARM_UP_ROUNDS = 100
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Setup:
    """Who drafts, and for whom."""

    engine: Callable[[], TargetEngine | None]  # None: the toy target
    drafts: Callable[[int, int], DraftEngine]  # client, seed
    prompts: Callable[[int, int], Iterator[tuple[tuple[int, ...], int]]]
    """client, seed -> prompts and the lengths of their answers, as many as one likes"""
    min_survival: float


@dataclass(frozen=True)
class Figures:
    """Of one run."""

    utility: float
    committed_per_verified: float
    """Committed tokens / tokens that went through the target (draft tokens, and one a round)."""
    goodputs: tuple[float, ...]
    """Committed tokens per round, by client."""


def run(setup: Setup, config: VerifierCoreConfig, seed: int, num_rounds: int) -> Figures:
    """Everybody has a stream at all times."""
    rng = np.random.default_rng(seed)
    verifier = VirtualVerifier(config, unlimited_info(), lambda _tokens: 0.02, engine=setup.engine())
    for i in range(len(RATES)):
        gap_s = float(rng.uniform(0.001, 0.002))
        drafter = VirtualDrafter(verifier, f"drafter {i}", setup.drafts(i, seed), partial(float, gap_s))
        drafter.min_survival = setup.min_survival
        prompts, streams = setup.prompts(i, seed), itertools.count(1)
        drafter.on_text = partial(_ask, drafter, prompts, streams)
        drafter.on_text(0)
    verifier.run(WARM_UP_ROUNDS * 0.023)
    clients = verifier.core.stats().clients
    before = _counts(clients)
    verifier.run(num_rounds * 0.023)
    rounds, proposed, committed = (_counts(clients) - before).T
    goodputs = committed / rounds
    return Figures(float(np.log(goodputs).sum()), committed.sum() / (proposed + rounds).sum(), tuple(goodputs))


def _ask(
    drafter: VirtualDrafter, prompts: Iterator[tuple[tuple[int, ...], int]], streams: Iterator[int], _done: int
) -> None:
    drafter.open(open_request(next(streams), *next(prompts)))


def _counts(clients: Sequence[Client]) -> Floats:
    """[clients, 3]: rounds, draft tokens verified, tokens committed."""
    return np.array([(c.num_rounds, c.num_proposed, c.num_committed) for c in clients], dtype=np.float64)


def toy_setup(args: argparse.Namespace) -> Setup:
    def prompts(client: int, seed: int) -> Iterator[tuple[tuple[int, ...], int]]:
        return (((1 + client, seed % 250, number % 250), MAX_TOKENS) for number in itertools.count())

    return Setup(
        lambda: None,
        lambda client, seed: VaryingDraft(RATES[client], 100 * seed + client),
        prompts,
        args.min_survival,
    )


def real_setup(args: argparse.Namespace) -> Setup:
    """Loads the target, has it write what is missing, and teaches every client's drafts its own domain."""
    tokenizer = Tokenizer.load(locate(args.target))
    target = load_target(TargetConfig(args.target, threads=2))
    texts = Texts(target, MAX_TOKENS, args.folder)
    asked, taught = [], []
    for domain in REAL_DOMAINS:
        found = itertools.islice(domain_prompts(domain, 7), NUM_LESSONS + NUM_PROMPTS)
        tokens = [tuple(tokenizer.encode_chat([{"role": "user", "content": prompt}])) for prompt in found]
        texts.write(tokens)
        asked.append(tokens[NUM_LESSONS:])
        taught.append(_taught([(prompt, texts.answer(prompt)) for prompt in tokens[:NUM_LESSONS]], target))
    info = replace(target.info, kv_capacity=10**9, tokenizer_fingerprint=toy_info().tokenizer_fingerprint)

    def prompts(client: int, seed: int) -> Iterator[tuple[tuple[int, ...], int]]:
        order = np.random.default_rng([seed, client]).permutation(NUM_PROMPTS)
        return ((asked[client][place], len(texts.answer(asked[client][place]))) for place in itertools.cycle(order))

    return Setup(
        lambda: WrittenTarget(texts, info),
        lambda client, _seed: copy.deepcopy(taught[client]),
        prompts,
        args.min_survival,
    )


def _taught(lessons: Sequence[tuple[Sequence[int], Sequence[int]]], target: TargetEngine) -> DraftEngine:
    engine = draft_engine(DraftConfig(), target.info.vocab_size)
    for key, (prompt, answer) in enumerate(lessons):
        engine.open(-1 - key, prompt, Sampling())
        at = 0
        while at < len(answer):
            tokens = engine.draft([DraftRequest(-1 - key, 6)])[0].tokens
            kept = sum(1 for _ in itertools.takewhile(bool, map(int.__eq__, tokens, answer[at:])))
            engine.commit(-1 - key, answer[at : at + kept + 1])
            at += kept + 1
        engine.close(-1 - key)
    return engine


def arms(args: argparse.Namespace) -> dict[str, VerifierCoreConfig]:
    """The first one is what the others are held against."""
    found = {}
    for estimator in args.estimators:
        kept = {"budget": args.budget, "batching": "barrier", "estimator": estimator, "scheduler": args.scheduler}
        found[f"{estimator}, grants alone"] = VerifierCoreConfig(draft_selection="arrival", **kept)
        for times in args.overcommit:
            late = VerifierCoreConfig(draft_selection="value", time_price=0.0, overcommit=times, **kept)
            found[f"{estimator}, late, x{times:g}"] = late
    return found


def main() -> None:
    args = _parser().parse_args()
    setup = {"toy": toy_setup, "real": real_setup}[args.pair](args)
    figures: dict[str, list[Figures]] = {}
    for name, config in arms(args).items():
        figures[name] = [run(setup, config, seed, args.rounds) for seed in range(args.seeds)]
    alone = next(iter(figures.values()))
    print(f"{args.pair} pair, budget {args.budget}, min_survival {args.min_survival}; gain and ratio beside the first")
    print("| | utility | gain | committed per verified token | ratio | goodputs |")
    print("|---|---|---|---|---|---|")
    for name, values in figures.items():
        gain = [value.utility - other.utility for value, other in zip(values, alone, strict=True)]
        ratio = [v.committed_per_verified / o.committed_per_verified for v, o in zip(values, alone, strict=True)]
        goodputs = " ".join(f"{x:.2f}" for x in np.mean([value.goodputs for value in values], axis=0))
        cells = [shown([v.utility for v in values]), shown(gain)]
        cells += [shown([v.committed_per_verified for v in values]), shown(ratio), goodputs]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def shown(values: Sequence[float]) -> str:
    """Mean and half its 95% interval."""
    found = interval(values)
    return f"{found.mean:.3f} ± {found.high - found.mean:.3f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=("toy", "real"), default="toy")
    parser.add_argument("--folder", type=Path, default=Path("results/late_binding"), help="where answers are kept")
    parser.add_argument("--target", default="smollm2-135m-instruct")
    parser.add_argument("--budget", type=int, default=8)
    parser.add_argument("--scheduler", default="gradient")
    parser.add_argument("--estimators", nargs="+", default=["adaptive", "adaptive_survival"], help="geometric first")
    parser.add_argument("--min-survival", type=float, default=0.0, help="where drafters stop")
    parser.add_argument("--overcommit", type=float, nargs="*", default=[1.5, 2.0])
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=6)
    return parser


if __name__ == "__main__":
    main()
