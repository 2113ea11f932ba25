"""An n-gram table learned from a data set, with calibrations that were learned as they are used: before the fact.

The answers are replayed as a drafter would see them, so every token is guessed before it is learned, and the evidence
that calibrates a guess is what it would have been live. Nothing is held back, and nothing is judged by what it knows.
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
    """The table of the answers, and a calibration for each of these drafts.

    Raises ConfigError for a draft that has no table, and what draft_engine raises.
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
    """The examples' answers in an order in which sources and temperatures are mixed, always the same."""
    heats = sorted({one.origin.temperature for one in examples})
    rules = {heat: Rule.COUPLED if heat else Rule.GREEDY for heat in heats}
    answers = [answer for heat in heats for answer in scored_answers(examples, heat, rules[heat])]
    return [answers[place] for place in np.random.default_rng(0).permutation(len(answers))]
