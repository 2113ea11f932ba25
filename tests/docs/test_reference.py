"""The reference names what is there: metrics, error codes, commands, policies."""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.docs.pages import ROOT, current_pages, inline_code, name_of

from goodspeed.bench.report import ArmMetrics, ArmReport, OptimumReport, Report, RequestRecord
from goodspeed.commands.parser import COMMANDS
from goodspeed.commands.profile import Profile
from goodspeed.config import config_keys
from goodspeed.drafter.core.run_ahead import RunAheadCounts
from goodspeed.drafter.drafter_config import DrafterConfig
from goodspeed.drafter.http.response_body import ResponseStats
from goodspeed.drafter.metrics import DrafterMetrics
from goodspeed.engine.co_located import CoLocatedConfig, co_located_drafts
from goodspeed.engine.drafts import DRAFT_ENGINES
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.toy_target import toy_info
from goodspeed.errors import ErrorCode
from goodspeed.protocol.transport import LinkTraffic
from goodspeed.records.acceptance_trace import TracedAnswer
from goodspeed.routing.policies import ROUTINGS
from goodspeed.scheduling.draft_selection import DRAFT_SELECTIONS
from goodspeed.scheduling.policies import ESTIMATORS, SCHEDULERS
from goodspeed.simulator.acceptance.models import ACCEPTANCES
from goodspeed.simulator.latency.models import LATENCIES
from goodspeed.simulator.scenario import DrafterTier, VerifierTier
from goodspeed.simulator.workload.workloads import WORKLOADS
from goodspeed.tuning.evaluate.quality import Quality
from goodspeed.tuning.evaluate.report import DraftReport
from goodspeed.verifier import metrics as verifier_metrics
from goodspeed.verifier.core.batching.policies import BATCHINGS, ORDERINGS
from goodspeed.verifier.metrics import VerifierMetrics
from goodspeed.verifier.verifier_config import VerifierConfig
from goodspeed.windows.policies import WINDOWS

CONFIGS = (VerifierConfig, DrafterConfig, VerifierTier, DrafterTier)
KEYS = {".".join(key.path) for config in CONFIGS for key in config_keys(config)}
TABLES = {key.rpartition(".")[0] for key in KEYS} - {""}
NO_TABLES = re.compile(r"(verifier|drafter)\.core|bench\.\w+|\w+\.(py|md|toml|json|jsonl|npz|csv|html)")
REFERENCE = ROOT / "docs" / "reference"


def test_every_metric_of_the_page_exists_and_every_metric_is_on_the_page() -> None:
    page = (REFERENCE / "metrics.md").read_text(encoding="utf-8")
    named = {
        name.removesuffix("_total").removesuffix("_sum") for name in re.findall(r"\b(?:goodspeed|process)_\w+", page)
    }
    assert named == metric_names()


@pytest.mark.parametrize("page", current_pages(), ids=name_of)
def test_every_key_of_a_table_exists(page: Path) -> None:
    codes = [code for code in inline_code(page) if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", code)]
    named = [code for code in codes if not NO_TABLES.fullmatch(code) and code.partition(".")[0] in {*map(top, TABLES)}]
    assert [code for code in named if code not in KEYS | TABLES] == []


@pytest.mark.parametrize("config", CONFIGS)
def test_every_former_key_is_in_the_changelog(config: type[VerifierConfig]) -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    keys = list(config_keys(config))
    former = {part for key in keys for path in key.former_paths for part in path if part not in key.path}
    assert [name for name in sorted(former) if not re.search(rf"\b{name}\b", changes)] == []


def top(table: str) -> str:
    return table.partition(".")[0]


def metric_names() -> set[str]:
    """Of both servers, without suffixes."""
    drafter = DrafterMetrics()
    drafter.watch(LinkTraffic, lambda: 0)
    drafter.watch_draft(lambda: ("none", 0))
    drafter.watch_links([], [])
    drafter.watch_run_ahead(RunAheadCounts())
    drafter.watch_model(lambda: None)
    verifier = VerifierMetrics()
    co_located = co_located_drafts(CoLocatedConfig(engine="lookup"), TargetConfig(), toy_info())
    assert co_located
    verifier.watch_co_located(co_located)
    verifier.watch_model(toy_info())
    names = registered(drafter.registry) | registered(verifier.registry)
    names |= {verifier_metrics.ROUNDS_BY_MODE, verifier_metrics.PREFIX_CACHE_TOKENS}
    tables = (
        *verifier_metrics.CLIENT_COUNTERS,
        *verifier_metrics.CLIENT_GAUGES,
        *verifier_metrics.PREFIX_COUNTERS,
    )
    streams = ("open_streams", "queued_streams", "preempted_streams", "preemptions")
    memory = ("kv_used_tokens", "kv_retained_tokens", "kv_capacity_tokens")
    return names | {f"goodspeed_{name}" for name in (*streams, *memory, *(entry[0] for entry in tables))}


def registered(registry: CollectorRegistry) -> set[str]:
    return {metric.name for metric in registry.collect()}


def test_every_field_of_an_acceptance_trace_is_explained() -> None:
    page = (REFERENCE / "event_log.md").read_text(encoding="utf-8")
    assert [field.name for field in dataclasses.fields(TracedAnswer) if f"`{field.name}`" not in page] == []


@pytest.mark.parametrize(
    "report", [ArmMetrics, OptimumReport, ArmReport, RequestRecord, Report, Profile, DraftReport, Quality]
)
def test_every_key_of_a_report_is_explained(report: type[ArmMetrics]) -> None:
    page = (REFERENCE / "reports.md").read_text(encoding="utf-8")
    assert [field.name for field in dataclasses.fields(report) if not re.search(rf"\b{field.name}\b", page)] == []


def test_every_field_of_a_response_is_explained() -> None:
    page = (REFERENCE / "openai_api.md").read_text(encoding="utf-8")
    named = re.findall(r'"(\w+)":', inspect.getsource(ResponseStats.speculation))
    assert len(named) >= 10
    assert [name for name in named if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", ["reference/protocol.md", "guide/troubleshooting.md"])
def test_every_error_code_is_explained(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [code.name for code in ErrorCode if f"`{code.name}`" not in text] == []


def test_the_version_of_the_protocol_is_the_codes() -> None:
    proto = (ROOT / "src" / "goodspeed" / "protocol" / "goodspeed.proto").read_text(encoding="utf-8")
    (version,) = re.findall(r"The GoodSpeed protocol, version (\d+)", proto)
    page = (REFERENCE / "protocol.md").read_text(encoding="utf-8")
    assert f"The protocol has version {version}" in page
    assert f"goodspeed-version: {version}" in page


@pytest.mark.parametrize(
    ("page", "choices"),
    [
        ("guide/schedulers.md", SCHEDULERS),
        ("guide/several_verifiers.md", ROUTINGS),
        ("guide/simulate.md", WORKLOADS),
        ("explain/estimators.md", ESTIMATORS),
        ("explain/batching.md", {**BATCHINGS, **ORDERINGS, **DRAFT_SELECTIONS}),
        ("explain/windows.md", WINDOWS),
        ("explain/drafts.md", DRAFT_ENGINES),
        ("explain/latency_models.md", LATENCIES),
        ("explain/acceptance_models.md", ACCEPTANCES),
    ],
)
def test_every_policy_is_explained(page: str, choices: Mapping[str, object]) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [name for name in choices if f"`{name}`" not in text] == []


def test_every_group_of_entry_points_is_explained() -> None:
    sources = (file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py"))
    groups = {group for source in sources for group in re.findall(r'group="(goodspeed\.\w+)"', source)}
    page = (ROOT / "docs" / "guide" / "custom_policy.md").read_text(encoding="utf-8")
    assert groups == set(re.findall(r"^\| `(goodspeed\.\w+)`", page, re.MULTILINE))


def test_every_command_is_on_some_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    assert [name for name in COMMANDS if f"goodspeed {name.replace('_', '-')}" not in text] == []
