"""A target that writes given answers to chats, and the draft that knows them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import END_TOKEN, ToyModel
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.models.tokenizer import Tokenizer

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
    """Writes the answer that `answer_to` gives for the text of the prompt; a token is a byte."""

    def __init__(self, answer_to: Callable[[str], str]) -> None:
        super().__init__()
        self._answer_to = answer_to

    def top(self, tokens: Sequence[int]) -> int:
        """The next token of the answer after the latest header of an assistant's message; without one it ends."""
        start = _start_of_answer(tokens)
        if start is None:
            return END_TOKEN
        prompt = bytes(token for token in tokens[:start] if token < 256).decode(errors="replace")
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
            rows[i, self.model.top([*tokens, *draft_tokens[:i]])] = 60.0
        return rows


def text_draft(answer_to: Callable[[str], str], acceptance_rate: float) -> ToyDraft:
    """A draft for the target; at acceptance rate 1 it drafts the target's own text."""
    return ToyDraft(acceptance_rate, TextModel(answer_to))


def _start_of_answer(tokens: Sequence[int]) -> int | None:
    for at in range(len(tokens) - len(HEADER), -1, -1):
        if tokens[at] == START and list(tokens[at : at + len(HEADER)]) == HEADER:
            return at + len(HEADER)
    return None
