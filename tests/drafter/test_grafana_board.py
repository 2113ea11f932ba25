"""The queries of the Grafana board name metrics and labels that live servers export."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.drafter.live import LiveVerifier, api_of, drafter_at
from tests.verifier.live import connect_drafter, receive_one

from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import Cancel, Error, Propose, Refused
from goodspeed.testing.virtual_verifier import hello
from goodspeed.verifier.metrics import LoopCollector

BOARD = json.loads((Path(__file__).parents[2] / "configs/grafana/goodspeed.json").read_text(encoding="utf-8"))
BODY = {"model": "default", "prompt": "the quick brown", "max_tokens": 60, "temperature": 0}
SCRAPE_LABELS = {"instance", "job"}
"""Added by Prometheus."""
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
FUNCTIONS = {"sum", "min", "max", "avg", "rate", "histogram_quantile", "by", "label_values"}
GROUPING = re.compile(r"\bby \(([^)]*)\)")
MATCHERS = re.compile(r"\{([^}]*)\}")
Labels = dict[str, set[str]]
"""By metric, as Prometheus stores it."""


def queries() -> Iterator[tuple[str, str, str]]:
    """(title, query, legend) of every panel, and of the variables."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"], ""


def metrics_of(query: str) -> set[str]:
    bare = re.sub(r"\[[^\]]*\]", "", MATCHERS.sub("", GROUPING.sub("", query)))
    if inner := re.fullmatch(r"label_values\((.*), \w+\)", query):
        bare = inner[1]
    return {name for name in NAME.findall(bare) if name not in FUNCTIONS}


def labels_of(query: str, legend: str) -> set[str]:
    grouped = {label.strip() for group in GROUPING.findall(query) for label in group.split(",")}
    matched = {re.split(r"[=!]", one)[0].strip() for part in MATCHERS.findall(query) for one in part.split(",")}
    shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
    valued = set(re.findall(r"label_values\(.*, (\w+)\)", query))
    return grouped | matched | shown | valued


def problems(exported: Labels) -> list[str]:
    found = []
    for title, query, legend in queries():
        names = metrics_of(query)
        found += [f"{title}: no metric {name}" for name in sorted(names - exported.keys())]
        known = set().union(*(exported.get(name, set()) for name in names)) | SCRAPE_LABELS
        found += [f"{title}: no label {label}" for label in sorted(labels_of(query, legend) - known)]
    return found


def exported_by(*texts: str) -> Labels:
    found: Labels = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def live_metrics(tokenizer: Tokenizer) -> Labels:
    """What a verifier and a drafter export after an answer, a refused session and a refused stream."""
    async with (
        LiveVerifier().running() as verifier,
        drafter_at([verifier]) as drafter,
        api_of(drafter, tokenizer, api_key="secret") as url,
    ):
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            client.headers["authorization"] = "Bearer secret"
            assert (await client.post("/v1/completions", json=BODY)).status_code == 200
            of_drafter = (await client.get("/metrics")).text
        refused = await verifier.transport.connector()()
        await refused.send([hello("refused", "another tokenizer")])
        await receive_one(refused, Refused)
        other = await connect_drafter(verifier.transport.connector(), "other")
        await other.send([Cancel(1, 0), Propose(1, 0, 1, 1, 1, ())])
        await receive_one(other, Error)
        registry = verifier.server.metrics.registry
        registry.register(LoopCollector(verifier.server.collect_metrics, asyncio.get_running_loop()))
        of_verifier = (await asyncio.to_thread(generate_latest, registry)).decode()
        await other.close()
    return exported_by(of_drafter, of_verifier)


async def test_every_metric_and_label_of_the_board_is_exported(tokenizer: Tokenizer) -> None:
    assert problems(await live_metrics(tokenizer)) == []


def test_a_metric_or_label_that_does_not_exist_is_found() -> None:
    nothing = problems({})
    assert len(nothing) > len(list(queries()))
    assert "Goodput by client: no metric goodspeed_committed_tokens_total" in nothing
    assert "Goodput by client: no label client" in nothing
    assert "client: no metric goodspeed_rounds_total" in nothing


@pytest.mark.parametrize("key", ["id", "title"])
def test_panels_can_be_told_apart(key: str) -> None:
    values: list[Any] = [panel[key] for panel in BOARD["panels"]]
    assert len(values) == len(set(values))


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
