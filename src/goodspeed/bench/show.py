"""The progress of a comparison: a progress bar, and the texts as they stream."""

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from goodspeed.bench.answer import LoadAnswer
from goodspeed.bench.comparison_table import title_of

REFRESH_HZ = 4
SHOWN_CHARACTERS = 150


def _progress(console: Console) -> Progress:
    description, remaining = TextColumn("{task.description}"), (TextColumn("left:"), TimeRemainingColumn())
    columns = description, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), *remaining
    return Progress(*columns, console=console, transient=True, refresh_per_second=REFRESH_HZ)


class ProgressBar:
    """A ComparisonObserver that shows a bar of completed answers; without a terminal, a line per run.

    Use it as a context manager.
    """

    def __init__(self, num_answers: int, console: Console) -> None:
        self._console = console
        self._num_answers = num_answers
        self._num_complete = 0
        self._progress = _progress(console)
        self._task = self._progress.add_task("", total=num_answers)
        self._phase = ""

    def __enter__(self) -> "ProgressBar":
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def on_phase(self, arm: str, repetition: int) -> None:
        self._phase = _phase(arm, repetition)
        self._progress.update(self._task, description=self._phase)
        if not self._console.is_terminal:
            complete = f"{self._num_complete} of {self._num_answers} answers"
            self._console.print(f"{self._phase} ({complete})", highlight=False, markup=False)

    def on_text(self, client: str, text: str) -> None:
        pass

    def on_answer(self, client: str, answer: LoadAnswer) -> None:
        self._num_complete += 1
        last = f"{self._phase} ({client}: {_tokens_per_s(answer):.1f} tokens/s)"
        self._progress.update(self._task, description=last, advance=1)


class LiveTexts:
    """A ComparisonObserver that shows the end of each client's text; without a terminal, a line per client and arm."""

    def __init__(self, captions: Mapping[str, str], num_answers: int, console: Console) -> None:
        self._captions = dict(captions)  # by client
        self._texts = dict.fromkeys(captions, "")
        self._console = console
        self._progress = _progress(console)
        self._task = self._progress.add_task("", total=num_answers)
        self._live = Live(console=console, transient=True, refresh_per_second=REFRESH_HZ, get_renderable=self._view)
        self._arm = ""
        self._printed: set[tuple[str, str]] = set()  # (arm, client)
        self._complete: set[str] = set()  # clients whose text is shown until the next one starts

    def __enter__(self) -> "LiveTexts":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def on_phase(self, arm: str, repetition: int) -> None:
        self._arm = title_of(arm)
        self._texts = dict.fromkeys(self._captions, "")
        self._progress.update(self._task, description=_phase(arm, repetition))
        if not self._console.is_terminal:
            self._console.print(_phase(arm, repetition))

    def on_text(self, client: str, text: str) -> None:
        if client in self._complete:
            self._complete.remove(client)
            self._texts[client] = ""
        self._texts[client] += text

    def on_answer(self, client: str, answer: LoadAnswer) -> None:
        self._progress.advance(self._task)
        self._complete.add(client)
        if not self._console.is_terminal and (self._arm, client) not in self._printed:
            self._printed.add((self._arm, client))
            start = " ".join(answer.text.split())[: SHOWN_CHARACTERS // 2]
            line = f"  {client:<8} {answer.num_tokens:>3} tokens, {_tokens_per_s(answer):>5.1f} tokens/s: {start} ..."
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _view(self) -> Group:
        return Group(*(self._panel(client) for client in self._captions), self._progress)

    def _panel(self, client: str) -> Panel:
        end = " ".join(self._texts[client].split())[-SHOWN_CHARACTERS:]
        return Panel(Text(end, overflow="ellipsis"), title=self._captions[client], title_align="left", height=4)


def _phase(arm: str, repetition: int) -> str:
    return f"{title_of(arm)}, " + ("warm-up" if repetition < 0 else f"repetition {repetition + 1}")


def _tokens_per_s(answer: LoadAnswer) -> float:
    return answer.num_tokens / max(answer.end_s - answer.due_s, 1e-9)
