"""The Markdown pages of the repository, their code blocks, links and inline code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<fence>```+|:::+)(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=fence)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block."""

    page: str  # path from the repository's root
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """All pages: those of the repository's root, and of the folders that have documentation."""
    folders = (ROOT / "docs", ROOT / "runs", ROOT / "examples")
    found = [*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]
    return sorted(page for page in found if "generated" not in page.parts)


def current_pages() -> list[Path]:
    """All pages but the changelog, which names what was there before."""
    return [page for page in pages() if page.name != "CHANGELOG.md"]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> list[Block]:
    """The code blocks in one of these languages, of all pages."""
    return [block for page in pages() for block in _blocks_of(page) if block.language in languages]


def prose_of(page: Path) -> str:
    """The page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    """The contents of backticks, on one line each."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose_of(page))]


def anchors(page: Path) -> set[str]:
    """The names of the page's headings, as GitHub and MyST make them."""
    titles = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def _blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        yield Block(name_of(page), line, match["language"].strip(), match["code"])
