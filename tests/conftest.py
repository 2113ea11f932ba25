"""Small models for the tests of all packages, and property tests that do not depend on chance or on the clock."""

import importlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from goodspeed.library_environment import set_library_environment

set_library_environment()
os.environ.setdefault("OMP_NUM_THREADS", "1")  # in models this small, threads cost more time than they save
hypothesis.settings.register_profile("goodspeed", deadline=None, derandomize=True)
hypothesis.settings.load_profile("goodspeed")

# A background job of a shell ignores SIGINT, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
CORPUS = ["the quick brown fox jumps over the lazy dog", "how many tokens may a drafter propose in a round?", "12 345"]


@pytest.fixture(autouse=True, scope="module")
def single_torch_thread() -> Iterator[None]:
    """Undoes `torch.set_num_threads` of a module's tests, which is global."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a new, complete model folder with random float32 weights (the same each time), saved by transformers.

    `random_checkpoint("qwen3", num_hidden_layers=3)`: arguments are those of the transformers config. The tokenizer is
    byte-level; token 0 is <|end|>, which ends answers, token 1 <|start|>.
    """

    originals: dict[str, Path] = {}

    def make(model_type: str, sizes: dict[str, object]) -> Path:
        folder = tmp_path_factory.mktemp(model_type)
        # Imported here: the tests of most packages need neither of them.
        torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
        config = transformers.AutoConfig.for_model(model_type, **_sizes(sizes))
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:  # biases and norms would start as zeros and ones, and hide mistakes
                    parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(folder)
        _save_tokenizer(folder, config.vocab_size)
        return folder

    def copy(model_type: str, **sizes: object) -> Path:
        """A copy, which the test may change: making a model takes much longer."""
        key = json.dumps([model_type, sizes], sort_keys=True)
        if key not in originals:
            originals[key] = make(model_type, sizes)
        folder = tmp_path_factory.mktemp(model_type)
        shutil.copytree(originals[key], folder, dirs_exist_ok=True)
        return folder

    return copy


@pytest.fixture(scope="session")
def sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tokenizer of the kind of Llama 2 and Mistral: BPE over characters, bytes for the rest."""
    folder = tmp_path_factory.mktemp("sentencepiece")
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["▁", "▁▁", "a", "b", "c", "é", "▁a", "▁b", "ab", "▁ab", "世"]
    merges = [("▁", "▁"), ("▁", "a"), ("▁", "b"), ("a", "b"), ("▁", "ab")]
    tokenizer = tokenizers.Tokenizer(
        models.BPE({word: i for i, word in enumerate(words)}, merges, unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def _sizes(given: dict[str, object]) -> dict[str, object]:
    return {
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,  # so that logits differ clearly
        "bos_token_id": 1,
        "eos_token_id": 0,
        "pad_token_id": None,
    } | given


def _save_tokenizer(folder: Path, vocab_size: int) -> None:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=1,
        show_progress=False,
        special_tokens=["<|end|>", "<|start|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|start|>",
        "eos_token": "<|end|>",
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
