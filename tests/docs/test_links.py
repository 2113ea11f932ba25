"""Links between pages, and paths that pages name, lead somewhere."""

import re
from pathlib import Path

import pytest
from tests.docs.pages import ROOT, anchors, inline_code, name_of, pages, prose_of

PREFIXES = ("src/", "tests/", "runs/", "scripts/", "configs/", "docs/", "examples/", "drafts/", ".ci/")
PAGE_IN_CODE = re.compile(r"docs/[\w./-]+\.md")
MADE_BY_BUILDS = ("build/", "docs/reference/generated")


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            wrong.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target):
            wrong.append(f"{link}: the page has no such heading")
        elif "docs" in page.relative_to(ROOT).parts[:1] and not target.is_relative_to(ROOT / "docs"):
            wrong.append(f"{link}: leaves docs/, which the site cannot follow; name the path in backticks")
    assert wrong == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    assert [path for path in map(path_in, inline_code(page)) if path and not exists(path)] == []


def test_every_page_that_the_code_names_exists() -> None:
    files = [file for folder in ("src", "tests", "runs", "scripts", "configs") for file in (ROOT / folder).rglob("*")]
    wrong = []
    for file in files:
        if file.suffix in {".py", ".proto", ".toml", ".sh", ""} and file.is_file() and file != Path(__file__):
            named = PAGE_IN_CODE.findall(file.read_text(encoding="utf-8"))
            wrong += [f"{name_of(file)}: {page}" for page in named if not (ROOT / page).exists()]
    assert wrong == []


def path_in(code: str) -> str | None:
    """The path of the repository that this inline code is, or None."""
    is_path = re.fullmatch(r"[\w./-]+", code) is not None
    if is_path and code.startswith(PREFIXES) and not code.startswith(MADE_BY_BUILDS):
        return code
    is_file_of_package = re.fullmatch(r"[\w-]+(/[\w-]+)+\.(py|proto)", code) is not None
    return code if is_file_of_package else None


def exists(path: str) -> bool:
    return (ROOT / path).exists() or (ROOT / "src" / "goodspeed" / path).exists()


def test_a_path_that_does_not_exist_is_found() -> None:
    assert path_in("src/goodspeed/nowhere.py")
    assert not exists("src/goodspeed/nowhere.py")
    assert path_in("scheduling/scheduler.py")
    assert exists("scheduling/scheduler.py")
    assert path_in("goodspeed up") is None
