"""A student computes the logits of the embedded engine and of transformers, and so does its checkpoint."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from goodspeed.engine.torch.decoder import Decoder, Segment
from goodspeed.engine.torch.kv import KvPool
from goodspeed.models.assistant import ASSISTANT
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.models.draft_vocab import read_draft_vocab
from goodspeed.tuning.data.example import Example, Origin
from goodspeed.tuning.data.packed_rows import Cutter, batch
from goodspeed.tuning.train.export import export
from goodspeed.tuning.train.student import Student, StudentInit

Checkpoints = Callable[..., Path]


def answered(num_prompt: int, num_answer: int, seed: int) -> Example:
    rng = np.random.default_rng(seed)
    prompt, answer = (rng.integers(0, 320, num, dtype=np.int32) for num in (num_prompt, num_answer))
    logprobs = np.zeros((num_answer, 1), np.float16)
    return Example(Origin("k", "s", ""), prompt, answer, answer[:, None].copy(), logprobs)


def started(folder: Path, draft_vocab: torch.Tensor | None) -> StudentInit:
    return StudentInit(replace(read_config(folder), tie_word_embeddings=False), read_weights(folder), draft_vocab)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_packed_documents_get_the_logits_of_the_engine(random_checkpoint: Checkpoints, family: str) -> None:
    folder = random_checkpoint(family)
    student = Student(started(folder, None), ["model.layers."], torch.float32)
    examples = [answered(5, 9, 1), answered(3, 20, 2), answered(11, 4, 3)]
    cutter = Cutter(64, 32, 320, None)
    documents = [cutter.document(one, None, 1, 1.0) for one in examples]
    with torch.no_grad():
        found = student(batch([documents[:2], documents[2:]], 64)) @ student.head().T
    decoder = Decoder(read_weights(folder), read_config(folder), torch.float32, torch.device("cpu"))
    expected = [_logits(decoder, one) for one in examples]
    torch.testing.assert_close(found, torch.cat(expected), atol=2e-4, rtol=2e-4)


def _exported(start: Path, draft_vocab: torch.Tensor, dtype: torch.dtype, folder: Path) -> None:
    """Export an untrained student of all layers of `start` with these rows of its head."""
    student = Student(started(start, draft_vocab), ["model.layers."], dtype)
    export(folder, student.config, student.export(), draft_vocab, start)


def test_checkpoint_loads_in_transformers_and_keeps_the_argmax_of_the_small_head(
    random_checkpoint: Checkpoints, tmp_path: Path
) -> None:
    draft_vocab = torch.arange(3, 320, 4)
    _exported(random_checkpoint("llama"), draft_vocab, torch.bfloat16, tmp_path)
    found = read_draft_vocab(tmp_path, 320)
    assert found is not None
    assert found.tolist() == draft_vocab.tolist()
    transformers = importlib.import_module("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokens = torch.tensor([answered(40, 1, 5).prompt.tolist()])
    with torch.no_grad():
        logits = model(tokens).logits[0]
    small = logits[:, draft_vocab]
    assert draft_vocab[small.argmax(-1)].tolist() == logits.argmax(-1).tolist()
    dropped = np.setdiff1d(np.arange(320), draft_vocab.numpy())
    # bfloat16 rounds the mean row once
    torch.testing.assert_close(logits[:, dropped], small.mean(-1, keepdim=True).expand(-1, 240), atol=0.05, rtol=0.05)


def test_transformers_takes_the_checkpoint_as_an_assistant_without_settings(
    random_checkpoint: Checkpoints, tmp_path: Path
) -> None:
    folder = random_checkpoint("llama")
    _exported(folder, torch.arange(0, 320, 2), torch.float32, tmp_path)
    load = importlib.import_module("transformers").AutoModelForCausalLM.from_pretrained
    target, draft = load(folder, dtype=torch.float32), load(tmp_path, dtype=torch.float32)
    assert {name: getattr(draft.generation_config, name) for name in ASSISTANT} == ASSISTANT
    arguments = {"inputs": torch.tensor([[7, 8, 9]]), "max_new_tokens": 20, "do_sample": False}
    without_assistant = target.generate(**arguments)
    assert target.generate(**arguments, assistant_model=draft).tolist() == without_assistant.tolist()


def test_only_named_parameters_are_trained(random_checkpoint: Checkpoints) -> None:
    student = Student(started(random_checkpoint("llama"), None), ["model.layers.1."], torch.float32)
    learning = {name.replace("/", ".") for name, one in student.named_parameters() if one.requires_grad}
    assert learning
    assert all(name.startswith("model.layers.1.") for name in learning)


def test_lora_adapters_are_trained_instead_of_matrices_and_merged(random_checkpoint: Checkpoints) -> None:
    start = started(random_checkpoint("llama"), None)
    student = Student(start, ["model.layers."], torch.float32, rank=2)
    for name, weight in student.export().items():
        torch.testing.assert_close(weight, start.weights[name].float())
    learning = {name: one for name, one in student.named_parameters() if one.requires_grad}
    assert all(one.dim() == 1 or 2 in one.shape for one in learning.values())
    key = "model/layers/0/mlp/up_proj/weight"
    with torch.no_grad():
        learning[key + ":outer"].fill_(1.0)
    added = student.export()["model.layers.0.mlp.up_proj.weight"] - start.weights["model.layers.0.mlp.up_proj.weight"]
    torch.testing.assert_close(added, learning[key + ":inner"].detach().sum(0).expand_as(added), atol=1e-5, rtol=1e-4)


def _logits(decoder: Decoder, one: Example) -> torch.Tensor:
    tokens = [*one.prompt.tolist(), *one.answer[:-1].tolist()]
    pool = KvPool(decoder.config, len(tokens), torch.float32, torch.device("cpu"))
    return decoder.forward([Segment(tokens, pool.reserve(len(tokens)), 0, len(one.answer))], pool)
