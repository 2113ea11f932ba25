"""A campaign of live runs: set-ups x seeds x arms on one loaded target. Runs that have a log are not repeated."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from runs.live.draft_warm_up import user_prompts, warm_up, warm_up_answers
from runs.live.live_run import LiveClient, LivePlan, LiveTarget, PersistentThread, run_live
from runs.live.pregenerated_target import PregeneratedAnswers, PregeneratedTarget
from runs.live.run_log import RunLog
from runs.live.run_metrics import time_split
from runs.live.setups import SETUPS, DraftDevice, LiveSetup

from goodspeed.cluster.machine import this_machine
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer

MAX_TOKENS_PER_ROUND = 8
"""Bound on tokens per round, from which the number of prompts to generate together is computed."""


@dataclass(frozen=True, slots=True)
class CampaignRun:
    """One run of a campaign."""

    setup: str
    arm: str
    seed: int

    def path(self, folder: Path) -> Path:
        """The file of its log."""
        return folder / self.setup / self.arm / f"seed{self.seed}.json"


@dataclass(frozen=True, slots=True)
class Campaign:
    """The runs of a campaign and their length."""

    setups: Sequence[str]
    arms: Sequence[str]
    seeds: Sequence[int]
    rounds: int  # per client; 0: limited by time only
    seconds: float  # longest run
    is_pregenerated: bool = False
    """The target replays answers that it generated before (runs/live/pregenerated_target.py)."""

    def runs(self) -> Iterator[CampaignRun]:
        """Seed by seed, so that an interrupted campaign has complete comparisons. The first arm rotates."""
        for seed in self.seeds:
            first = seed % len(self.arms)
            for setup in self.setups:
                for arm in (*self.arms[first:], *self.arms[:first]):
                    yield CampaignRun(setup, arm, seed)


def carry_out(campaign: Campaign, target: TargetConfig, folder: Path, report: Callable[[str], None]) -> None:
    """Run everything that has no log yet. Raises ConfigError for unknown names before the first run."""
    for run in campaign.runs():
        SETUPS[run.setup].core(run.arm, run.seed)
    missing = [run for run in campaign.runs() if not run.path(folder).exists()]
    report(f"{len(missing)} runs to do, {len(list(campaign.runs())) - len(missing)} are complete")
    if not missing:
        return
    logging.getLogger("goodspeed").setLevel(logging.ERROR)  # sessions end with every run
    thread = PersistentThread()
    try:
        runner = CampaignRunner(LiveTarget(thread.submit(load_target, target).result(), thread), target.model, folder)
        for run in missing:
            start_s = time.monotonic()
            run_log = runner.run_once(run, campaign)
            run_log.save(run.path(folder))
            report(_line(run, run_log, time.monotonic() - start_s))
    finally:
        thread.end()


class CampaignRunner:
    """A loaded target and everything else that a run needs."""

    def __init__(self, target: LiveTarget, model: str, folder: Path) -> None:
        self._target = target
        self._folder = folder
        self._tokenizer = Tokenizer.load(locate(model))
        self._warm_up_folder = folder / "warm_up"

    def run_once(self, run: CampaignRun, campaign: Campaign) -> RunLog:
        """Run once. All drafts start cold or warmed up, the same in every run."""
        setup = SETUPS[run.setup]
        clients = [self._client(device, run.seed) for device in setup.devices]
        plan = LivePlan(setup.max_tokens, campaign.rounds, campaign.seconds, run.seed)
        target = self._pregenerated(run, campaign.rounds) if campaign.is_pregenerated else self._target
        run_log = asyncio.run(run_live(target, setup.core(run.arm, run.seed), clients, plan))
        run_log.setup |= {
            "setup": run.setup,
            "arm": run.arm,
            "seed": run.seed,
            "is_pregenerated": campaign.is_pregenerated,
        }
        run_log.setup |= {**_machine(), **_setup_fields(setup)}
        return run_log

    def _pregenerated(self, run: CampaignRun, num_rounds: int) -> LiveTarget:
        setup = SETUPS[run.setup]
        texts = PregeneratedAnswers(self._target.engine, setup.max_tokens, self._folder / "texts")
        num_prompts = MAX_TOKENS_PER_ROUND * num_rounds // setup.max_tokens
        for device in setup.devices:
            texts.expect(
                list(islice(user_prompts(self._tokenizer, device.domain, run.seed, device.num_warm_up), num_prompts))
            )
        return LiveTarget(PregeneratedTarget(texts, self._target.engine.info), self._target.thread)

    def _client(self, device: DraftDevice, seed: int) -> LiveClient:
        engine = draft_engine(DraftConfig(engine=device.draft), self._target.engine.info.vocab_size)
        if device.num_warm_up:
            warm_up(
                engine,
                warm_up_answers(self._target, self._tokenizer, device.domain, device.num_warm_up, self._warm_up_folder),
            )
        prompts = user_prompts(self._tokenizer, device.domain, seed, device.num_warm_up)
        return LiveClient(device.domain, engine, prompts, device.link, device.pace_ms / 1e3)


def _machine() -> dict[str, str | int | float | bool]:
    machine = this_machine()
    return {"cpu": machine.cpu, "num_cores": machine.num_cores, "commit": machine.git_commit}


def _setup_fields(setup: LiveSetup) -> dict[str, str | int | float | bool]:
    drafts = {device.domain: f"{device.draft}, {device.num_warm_up} warm-up answers" for device in setup.devices}
    return {"budget": setup.budget, "batching": setup.batching, **drafts}


def _line(run: CampaignRun, run_log: RunLog, elapsed_s: float) -> str:
    split = time_split(run_log.steps)
    tokens = sum(sum(client.committed) for client in run_log.clients)
    per_client = " ".join(
        f"{client.name} {sum(client.committed) / len(client.committed):.2f}" for client in run_log.clients
    )
    return (
        f"{run.setup} {run.arm} seed {run.seed}: {elapsed_s:.1f} s, {len(run_log.steps.closed_s)} steps of "
        f"{1e3 * split.verification / len(run_log.steps.closed_s):.1f} ms, {tokens / split.total:.1f} tokens/s; "
        f"tokens per verdict: {per_client}"
    )
