"""Training of an n-gram table and of its confidence calibrations from a data set, by replay.

The answers are replayed as a drafter would see them: every token is drafted before it is learned. The calibrations
therefore see the same evidence as in service, and no answers need to be held out for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from goodspeed.decoding.sampling import Rule
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_memory import DraftMemory
from goodspeed.engine.drafts import NO_TABLE, DraftConfig, draft_engine, table_of
from goodspeed.engine.hybrid import HybridDraft
from goodspeed.errors import ConfigError
from goodspeed.tuning.data.example import Example
from goodspeed.tuning.data.scored_answer import ScoredAnswer, scored_answers
from goodspeed.tuning.evaluate.round_replay import RoundReplayer

NUM_STREAMS = 4
WINDOW = 8
MIN_SURVIVAL = 0.1


def learn_table(
    drafts: Sequence[DraftConfig],  # at least one, each with a table
    answers: Sequence[ScoredAnswer],
    vocabulary: tuple[int, str],  # its size, the tokenizer's fingerprint
    on_draft: Callable[[str], object] = lambda _: None,
) -> DraftMemory:
    """The table of the answers, and a calibration for each draft.

    Raises ConfigError for a draft without a table, and the errors of draft_engine.
    """
    calibrations = dict[str, Calibration]()
    for config in drafts:
        on_draft(config.name)
        engine = draft_engine(replace(config, table=NO_TABLE, memory=""), vocabulary[0])
        table = table_of(engine)
        if not isinstance(engine, HybridDraft) or table is None:
            raise ConfigError(f"the draft engine {config.engine} has no table, expected table or hybrid")
        RoundReplayer(engine, NUM_STREAMS).replay(answers, WINDOW, MIN_SURVIVAL)
        calibrations[config.name] = engine.calibration
    assert table is not None
    return DraftMemory(table, *vocabulary, calibrations)


def shuffled(examples: Sequence[Example]) -> list[ScoredAnswer]:
    """The examples' answers in a fixed order that mixes sources and temperatures."""
    temperatures = sorted({example.origin.temperature for example in examples})
    answers = [
        answer
        for temperature in temperatures
        for answer in scored_answers(examples, temperature, Rule.COUPLED if temperature else Rule.GREEDY)
    ]
    return [answers[index] for index in np.random.default_rng(0).permutation(len(answers))]
