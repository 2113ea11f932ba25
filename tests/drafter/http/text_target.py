"""A target that writes given answers to chats, and the draft that knows them."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openai
from tests.drafter.live import LiveVerifier, drafter_at, served

from goodspeed.decoding.sampling import Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.draft_runner import InlineDraftRunner
from goodspeed.drafter.http.service import ApiService
from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.grammar.constrained_engine import ConstrainedDraftEngine
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import END_TOKEN, ToyModel
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.windows.policies import WindowConfig

START = END_TOKEN - 1  # <|im_start|>
HEADER = [START, *b"assistant\n"]
TEMPLATES = {
    "hermes": "For a call write\n<tool_call>\n{'name': ...}\n</tool_call>\n",
    "llama": '{"name": function name, "parameters": dictionary of arguments}\n',
    "mistral": "[TOOL_CALLS][{}]\n",
    "pythonic": "[func_name1(params)]\n",
}
"""What the chat templates of these formats have in them."""


def tool_tokenizer(folder: Path, kind: str) -> Tokenizer:
    """The toy tokenizer with a chat template that takes tools in this format."""
    toy_tokenizer(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    tools = f"{{% if tools %}}{{{{ {TEMPLATES[kind]!r} }}}}{{{{ tools | tojson }}}}\n{{% endif %}}"
    calls = "{% for call in message.tool_calls %}{{ call.function | tojson }}{% endfor %}"
    template = config["chat_template"].replace("<|im_end|>", calls + "<|im_end|>")
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": tools + template}))
    return Tokenizer.load(folder)


class TextModel(ToyModel):
    """At temperature 0 it writes the answer that `answer_to` gives for the text of the prompt, a byte a token."""

    def __init__(self, answer_to: Callable[[str], str]) -> None:
        super().__init__()
        self._answer_to = answer_to

    def top(self, tokens: Sequence[int]) -> int:
        """The next token of the answer after the latest header of an assistant's message."""
        start = _start_of_answer(tokens)
        prompt = bytes(token for token in tokens[:start] if token < 256).decode()
        answer = self._answer_to(prompt).encode()
        num_written = len(tokens) - start
        return answer[num_written] if num_written < len(answer) else END_TOKEN

    def choice(self, tokens: Sequence[int], sampling: Sampling) -> int:
        del sampling
        return self.top(tokens)


class TextTarget(ToyTarget):
    """The target of a TextModel."""

    def __init__(self, tokenizer: Tokenizer, grammars: Grammars, answer_to: Callable[[str], str]) -> None:
        super().__init__(toy_info(tokenizer.fingerprint, max_context=16384), grammars=grammars)
        self.model: TextModel = TextModel(answer_to)

    def _greedy(self, tokens: list[int], draft_tokens: tuple[int, ...]) -> tuple[int, int]:
        for i, token in enumerate(draft_tokens):
            choice = self.model.top([*tokens, *draft_tokens[:i]])
            if choice != token:
                return i, choice
        return len(draft_tokens), self.model.top([*tokens, *draft_tokens])

    def _rows(self, tokens: list[int], draft_tokens: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """A constraint that does not allow the text chooses among the toy model's tokens."""
        rows = super()._rows(tokens, draft_tokens)
        for i in range(len(rows)):
            rows[i, self.model.top([*tokens, *draft_tokens[:i]])] = 20.0
        return rows


def text_draft(answer_to: Callable[[str], str], acceptance_rate: float) -> ToyDraft:
    """A draft for the target; at acceptance rate 1 it drafts the target's own text."""
    return ToyDraft(acceptance_rate, TextModel(answer_to))


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    answer_to: Callable[[str], str],
    kind: str = "hermes",
    window: int = 4,
    target: type[TextTarget] = TextTarget,
) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client of a drafter that proposes `window` tokens of the target's own text."""
    tokenizer = tool_tokenizer(folder, kind)
    config = DrafterCoreConfig(window=WindowConfig(policy="fixed", max_tokens=window))
    grammars = GrammarCompiler(tokenizer.to_json(), tokenizer.vocab_size, tokenizer.end_tokens)
    runner = InlineDraftRunner(ConstrainedDraftEngine(text_draft(answer_to, 1.0), grammars))
    engine = target(tokenizer, grammars, answer_to)
    async with (
        LiveVerifier(engine, fingerprint=tokenizer.fingerprint).running() as at,
        drafter_at([at], config, runner) as drafter,
        served(ApiService(drafter, tokenizer, max_tokens=100, meet_s=5.0, grammars=grammars)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def _start_of_answer(tokens: Sequence[int]) -> int:
    for at in range(len(tokens) - len(HEADER), -1, -1):
        if tokens[at] == START and list(tokens[at : at + len(HEADER)]) == HEADER:
            return at + len(HEADER)
    raise AssertionError("the prompt ends with the header of an assistant's message")
