"""Commands on the pages are commands that exist, with flags that exist."""

import argparse
import functools
import re
import shlex
from collections.abc import Iterator

import pytest
from tests.docs.pages import ROOT, blocks, current_pages, inline_code, name_of

from goodspeed.commands.parser import complete_parser

GOODSPEED = complete_parser()


def commands() -> Iterator[tuple[str, str]]:
    """(where, command line) of all shell blocks, indented blocks excluded, and of inline code."""
    for block in blocks("bash"):
        joined = block.code.replace("\\\n", " ")
        for line in joined.splitlines():
            yield str(block), line
    for page in current_pages():
        for code in inline_code(page):
            yield name_of(page), code


def lines_that_start_with(prefix: str) -> list[tuple[str, str]]:
    found = {(where, line.strip().removeprefix("$ ")) for where, line in commands()}
    return sorted((where, line) for where, line in found if line.startswith(prefix))


@pytest.mark.parametrize(("where", "line"), lines_that_start_with("goodspeed "))
def test_goodspeed_takes_the_command(where: str, line: str) -> None:
    problem = problem_of(line)
    assert problem is None, f"{where}: {line}: {problem}"


@pytest.mark.parametrize(("where", "line"), lines_that_start_with("python -m runs."))
def test_a_run_exists_and_has_the_flags(where: str, line: str) -> None:
    module, *words = shlex.split(line.removeprefix("python -m "), comments=True)
    if module == "runs.NAME":
        return
    file = ROOT / (module.replace(".", "/") + ".py")
    sources = [file] if file.exists() else list((ROOT / module.replace(".", "/")).glob("*.py"))
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    assert text, f"{where}: there is no {module}"
    flags = [word for word in words if word.startswith("--") and word != "--help"]
    assert [flag for flag in flags if flag not in text and flag[2:] not in text] == [], f"{where}: {line}"


@pytest.mark.parametrize(("where", "line"), lines_that_start_with("./scripts/") + lines_that_start_with("scripts/"))
def test_a_script_exists(where: str, line: str) -> None:
    script = shlex.split(line, comments=True)[0]
    assert (ROOT / script).exists(), f"{where}: there is no {script}"


@pytest.mark.parametrize(("where", "line"), lines_that_start_with("--"))
def test_a_flag_that_prose_names_exists(where: str, line: str) -> None:
    flags = re.findall(r"(?<!\S)--[a-z][\w.-]*", line)
    assert [flag for flag in flags if flag not in known_flags()] == [], f"{where}: {line}"


@functools.cache
def known_flags() -> set[str]:
    """Of all commands and runs, and the few of other programs."""
    found = {"--build", "--no-deps", "--quick"}
    for parser in parsers(GOODSPEED):
        found |= flags_of(parser)
    for run in (ROOT / "runs").rglob("*.py"):
        found |= set(re.findall(r'"(--[\w-]+)"', run.read_text(encoding="utf-8")))
    return found


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Without former names, which the parser knows in order to refuse them."""
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    return {flag for action in shown for flag in action.option_strings}


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


def problem_of(line: str) -> str | None:
    """Why `goodspeed` would not take this command line, or None. A flag without its value is a name in prose."""
    words = shlex.split(re.split(r" [|>&]", line)[0], comments=True)[1:]
    parser, words = _leaf(GOODSPEED, words)
    if parser is None:
        return "no such command"
    flags = flags_of(parser)
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in flags]
    if unknown:
        return f"unknown flags {unknown}"
    is_name = not words or words[-1].startswith("--") or "..." in words
    return None if is_name else _parse(parser, words)


def _leaf(parser: argparse.ArgumentParser, words: list[str]) -> tuple[argparse.ArgumentParser | None, list[str]]:
    """The parser of the innermost command, and the words after it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and words and not words[0].startswith("-"):
            return _leaf(action.choices[words[0]], words[1:]) if words[0] in action.choices else (None, words)
    return parser, words


def _parse(parser: argparse.ArgumentParser, words: list[str]) -> str | None:
    """Options only: positional arguments may be left out in prose."""
    taken = [word for word in words if word != "--help"]
    try:
        parser.parse_known_args(taken)
    except SystemExit:
        return "the arguments are wrong" if _is_complete(parser, taken) else None
    return None


def _is_complete(parser: argparse.ArgumentParser, words: list[str]) -> bool:
    needs_positional = any(not action.option_strings and action.nargs != "*" for action in parser._actions)
    return not needs_positional or bool(words and not words[0].startswith("--"))


@pytest.mark.parametrize(
    "line",
    [
        "goodspeed serve",
        "goodspeed verifier --core.bugdet 3",
        "goodspeed up --clients many",
        "goodspeed drafter --record x",
        "goodspeed tune fix",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    assert problem_of(line)
