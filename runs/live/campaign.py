"""All runs of an experiment: set-ups by seeds by arms, from one loaded target; what is recorded is not run again."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from runs.live.lessons import asked, lessons, teach
from runs.live.live_run import LastingThread, LiveClient, LivePlan, LiveTarget, run_live
from runs.live.measures import time_split
from runs.live.recording import Recording
from runs.live.setups import SETUPS, Device, Setup
from runs.live.written import Texts, WrittenTarget

from goodspeed.cluster.machine import this_machine
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer

MOST_PER_ROUND = 8
"""Tokens per round for which a user's prompts are known ahead, so that answers are written many at a time."""


@dataclass(frozen=True, slots=True)
class Run:
    """One of them."""

    setup: str
    arm: str
    seed: int

    def path(self, folder: Path) -> Path:
        """Where its recording is."""
        return folder / self.setup / self.arm / f"seed{self.seed}.json"


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is to be run, and for how long."""

    setups: Sequence[str]
    arms: Sequence[str]
    seeds: Sequence[int]
    rounds: int  # per client; 0: only time counts
    seconds: float  # per run, at most
    is_written: bool = False
    """Verdicts come from texts that the target wrote before (runs/live/written.py)."""

    def runs(self) -> Iterator[Run]:
        """Seed by seed, so that an unfinished campaign has whole comparisons; each seed begins with the next arm."""
        for seed in self.seeds:
            first = seed % len(self.arms)
            for setup in self.setups:
                for arm in (*self.arms[first:], *self.arms[:first]):
                    yield Run(setup, arm, seed)


def carry_out(campaign: Campaign, target: TargetConfig, folder: Path, say: Callable[[str], None]) -> None:
    """Make the recordings that are not there yet. Raises ConfigError for unknown names before anything is run."""
    for run in campaign.runs():
        SETUPS[run.setup].core(run.arm, run.seed)
    missing = [run for run in campaign.runs() if not run.path(folder).exists()]
    say(f"{len(missing)} runs to make, {len(list(campaign.runs())) - len(missing)} are there")
    if not missing:
        return
    logging.getLogger("goodspeed").setLevel(logging.ERROR)  # sessions that end with their run are no news
    thread = LastingThread()
    try:
        stage = Stage(LiveTarget(thread.submit(load_target, target).result(), thread), target.model, folder)
        for run in missing:
            started = time.monotonic()
            recording = stage.play(run, campaign)
            recording.save(run.path(folder))
            say(_line(run, recording, time.monotonic() - started))
    finally:
        thread.end()


class Stage:
    """A loaded target, and everything that a run needs beside it."""

    def __init__(self, target: LiveTarget, model: str, folder: Path) -> None:
        self._target = target
        self._folder = folder
        self._tokenizer = Tokenizer.load(locate(model))
        self._lessons = folder / "lessons"

    def play(self, run: Run, campaign: Campaign) -> Recording:
        """All drafts begin as untaught, or as taught, as in any other run."""
        setup = SETUPS[run.setup]
        clients = [self._client(device, run.seed) for device in setup.devices]
        plan = LivePlan(setup.max_tokens, campaign.rounds, campaign.seconds, run.seed)
        target = self._written(run, campaign.rounds) if campaign.is_written else self._target
        recording = asyncio.run(run_live(target, setup.core(run.arm, run.seed), clients, plan))
        recording.setup |= {"setup": run.setup, "arm": run.arm, "seed": run.seed, "is_written": campaign.is_written}
        recording.setup |= {**_where(), **_what(setup)}
        return recording

    def _written(self, run: Run, num_rounds: int) -> LiveTarget:
        setup = SETUPS[run.setup]
        texts = Texts(self._target.engine, setup.max_tokens, self._folder / "texts")
        num_prompts = MOST_PER_ROUND * num_rounds // setup.max_tokens
        for device in setup.devices:
            texts.expect(list(islice(asked(self._tokenizer, device.domain, run.seed, device.num_lessons), num_prompts)))
        return LiveTarget(WrittenTarget(texts, self._target.engine.info), self._target.thread)

    def _client(self, device: Device, seed: int) -> LiveClient:
        engine = draft_engine(DraftConfig(engine=device.draft), self._target.engine.info.vocab_size)
        if device.num_lessons:
            teach(engine, lessons(self._target, self._tokenizer, device.domain, device.num_lessons, self._lessons))
        prompts = asked(self._tokenizer, device.domain, seed, device.num_lessons)
        return LiveClient(device.domain, engine, prompts, device.link, device.pace_ms / 1e3)


def _where() -> dict[str, str | int | float | bool]:
    machine = this_machine()
    return {"cpu": machine.cpu, "num_cores": machine.num_cores, "commit": machine.git_commit}


def _what(setup: Setup) -> dict[str, str | int | float | bool]:
    drafts = {device.domain: f"{device.draft}, {device.num_lessons} lessons" for device in setup.devices}
    return {"budget": setup.budget, "batching": setup.batching, **drafts}


def _line(run: Run, recording: Recording, took_s: float) -> str:
    split = time_split(recording.steps)
    tokens = sum(sum(client.committed) for client in recording.clients)
    per_client = " ".join(
        f"{client.name} {sum(client.committed) / len(client.committed):.2f}" for client in recording.clients
    )
    return (
        f"{run.setup} {run.arm} seed {run.seed}: {took_s:.1f} s, {len(recording.steps.closed_s)} steps of "
        f"{1e3 * split.verification / len(recording.steps.closed_s):.1f} ms, {tokens / split.total:.1f} tokens/s; "
        f"tokens per verdict: {per_client}"
    )
