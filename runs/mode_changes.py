"""Drafting that stops to pay and pays again: time per token beside target-only mode, and rounds until it is used again.

Simulated with target steps of 20 ms. `useless`: no draft token is right and drafting takes 8 ms a token. `drift`: 8 of
10 draft tokens are right, then 1 of 10, then 8 of 10 again, twelve answers each. `vanish`: two of four drafters lose
their network for some seconds, twice. "rounds" are those from a change for the better to the first grant: median and
maximum over clients, changes and seeds, and how many of them are more than 20. A minute per case; no model.

    python -m runs.mode_changes
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from goodspeed.records.event_log import EventSink, NullEventSink
from goodspeed.simulator.result import AnswerRecord
from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate

STEP = {"linear": {"base_s": 0.020, "token_s": 0.00005}}
PHASE = 12
"""Answers of a client in each phase of `drift`."""
GOOD, BAD = 0.8, 0.1
CUT_S, CUTS_AT_S = 3.0, (20.0, 40.0)
LATE = 20
"""Rounds after which a client should draft again."""


@dataclass(frozen=True, slots=True)
class ChangeCase:
    """Clients of one kind, and for how long they run."""

    name: str
    rtts_ms: tuple[float, ...]
    draft_ms: float
    acceptance: Mapping[str, Any]
    seconds: float
    num_cut: int = 0  # clients that lose their network

    def scenario(self, mode: str) -> Scenario:
        tiers = [
            {
                "name": f"client{i}",
                "mode": mode,
                "link": {"rtt_ms": rtt_ms, "jitter": 0.1},
                "latency": {"linear": {"base_s": self.draft_ms / 1e3, "token_s": 0.0}},
                "acceptance": self.acceptance,
                "cuts": [{"start_s": at_s, "duration_s": CUT_S} for at_s in CUTS_AT_S if i < self.num_cut],
                "workload": {
                    "closed": {"think_s": 0.0},
                    "prompt": {"distribution": "fixed", "fixed": {"num_tokens": 50}},
                    "answer": {"distribution": "fixed", "fixed": {"num_tokens": 100}},
                },
            }
            for i, rtt_ms in enumerate(self.rtts_ms)
        ]
        return scenario_of({"duration_s": self.seconds, "drafters": tiers, "verifiers": [{"latency": STEP}]})


USELESS = {"model": "fixed", "fixed": {"rate": 0.0}}
DRIFT = {"model": "drifting", "drifting": {"rates": (GOOD, BAD), "num_answers": PHASE}}
STEADY = {"model": "fixed", "fixed": {"rate": GOOD}}
CASES = (
    ChangeCase("useless, one client, 0 ms", (0.0,), 8.0, USELESS, 120.0),
    ChangeCase("useless, 4 clients, 5 to 80 ms", (5.0, 20.0, 40.0, 80.0), 8.0, USELESS, 120.0),
    ChangeCase("drift, one client, 1 ms", (1.0,), 0.5, DRIFT, 120.0),
    ChangeCase("drift, 4 clients, 1 to 10 ms", (1.0, 3.0, 5.0, 10.0), 0.5, DRIFT, 120.0),
    ChangeCase("drift, 4 clients, slow drafting", (1.0, 3.0, 5.0, 10.0), 4.0, DRIFT, 120.0),
    ChangeCase("vanish, 4 clients, 1 to 10 ms", (1.0, 3.0, 5.0, 10.0), 0.5, STEADY, 60.0, num_cut=2),
)


@dataclass(slots=True)
class GrantedRounds:
    """An event sink of a verifier that keeps when streams were opened and which of their rounds had grants."""

    clients: dict[int, str] = field(default_factory=dict)  # by connection
    opened_at: dict[tuple[str, int, int], float] = field(default_factory=dict)  # by client, stream and epoch
    has_grant: dict[tuple[str, int, int], list[bool]] = field(default_factory=dict)

    def write(self, event: str, now: float, fields: Mapping[str, Any]) -> None:
        if event == "message" and fields["message"]["kind"] == "Hello":
            self.clients[fields["conn"]] = fields["message"]["drafter"]
        for reply in fields.get("replies", ()):
            if reply["kind"] == "Verdict":
                key = self.clients[reply["conn"]], reply["stream"], reply["epoch"]
                self.opened_at.setdefault(key, now)
                self.has_grant.setdefault(key, []).append(reply["grant"] > 0)

    def rounds_to_grant(self, client: str, first: tuple[int, int]) -> int:
        """Rounds without a grant from the start of a stream and epoch on, over later streams of the client too."""
        num_rounds = 0
        for key in sorted(self.has_grant):
            if key[0] == client and key[1:] >= first:
                for is_granted in self.has_grant[key]:
                    if is_granted:
                        return num_rounds
                    num_rounds += 1
        return num_rounds


def sink_of(rounds: GrantedRounds, server: str) -> EventSink:
    """The sink of a server of the scenario."""
    return rounds if server.startswith("verifier") else NullEventSink()


def time_per_token_s(answers: Sequence[AnswerRecord]) -> float:
    return sum(a.finished_s - a.requested_s for a in answers) / sum(a.num_answer_tokens for a in answers)


def phases(case: ChangeCase, answers: Sequence[AnswerRecord]) -> dict[str, list[AnswerRecord]]:
    """The answers by what holds while they are generated; those of the first phase are for learning."""
    if case.acceptance is DRIFT:
        found: dict[str, list[AnswerRecord]] = {"bad": [], "good again": []}
        for answer in answers:
            phase = answer.request // PHASE
            if phase:
                found["bad" if phase % 2 else "good again"].append(answer)
        return found
    if case.num_cut:
        cut = tuple(f"client{i}-" for i in range(case.num_cut))
        apart = [
            a
            for a in answers
            if not any(a.requested_s - 1.0 < at_s + CUT_S and a.finished_s > at_s for at_s in CUTS_AT_S)
        ]
        return {
            "cut": [answer for answer in apart if answer.client.startswith(cut)],
            "others": [answer for answer in answers if not answer.client.startswith(cut)],
        }
    return {
        "first 10 answers": [a for a in answers if a.request < 10],
        "later": [a for a in answers if a.request >= 10],
    }


def rounds_back(case: ChangeCase, rounds: GrantedRounds, num_answers: Mapping[str, int]) -> list[int]:
    """For every change for the better the rounds until a grant."""
    if case.acceptance is DRIFT:
        return [
            rounds.rounds_to_grant(client, (request + 1, 0))
            for client, num in num_answers.items()
            for request in range(2 * PHASE, num, 2 * PHASE)
        ]
    return [
        rounds.rounds_to_grant(
            client, min(key[1:] for key, at in rounds.opened_at.items() if key[0] == client and at > at_s + CUT_S)
        )
        for client in num_answers
        for at_s in CUTS_AT_S
        if int(client.removeprefix("client").split("-")[0]) < case.num_cut
    ]


def run_case(case: ChangeCase, seeds: int) -> None:
    """Print one row for each phase."""
    logs: dict[str, list[float]] = {}
    back: list[int] = []
    for seed in range(seeds):
        base = phases(case, simulate(case.scenario("target_only"), seed).answers)
        rounds = GrantedRounds()
        result = simulate(case.scenario("distributed"), seed, partial(sink_of, rounds))
        for phase, answers in phases(case, result.answers).items():
            logs.setdefault(phase, []).append(time_per_token_s(answers) / time_per_token_s(base[phase]))
        counts: dict[str, int] = {}
        for answer in result.answers:
            counts[answer.client] = counts.get(answer.client, 0) + 1
        back += rounds_back(case, rounds, counts)
    num_late = sum(num_rounds > LATE for num_rounds in back)
    back_text = f"{np.median(back):.0f}, {max(back)}, {num_late} of {len(back)}" if back else ""
    for phase, ratios in logs.items():
        print(
            f"| {case.name} | {phase} | {np.mean(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f}) | {back_text} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)), help="indices from 0")
    args = parser.parse_args()
    print(f"| case | answers | time per token beside target-only | rounds until a grant: median, most, over {LATE} |")
    print("|---|---|---|---|")
    for index in args.cases:
        run_case(CASES[index], args.seeds)


if __name__ == "__main__":
    main()
