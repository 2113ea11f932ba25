"""Weights of every supported family, as transformers saves and loads them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from goodspeed.errors import CheckpointError
from goodspeed.models.checkpoint import read_config, read_weights, tensor_shapes, write_checkpoint

FAMILIES = ["llama", "mistral", "qwen2", "qwen3"]


@pytest.fixture
def llama(random_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(random_checkpoint("llama"), tmp_path / "model"))


def _shard(folder: Path) -> list[Path]:
    """Save the checkpoint again in several files."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="100KB")
    return sorted(folder.glob("*.safetensors"))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_weights_are_those_that_transformers_saved(random_checkpoint: Callable[..., Path], model_type: str) -> None:
    folder = random_checkpoint(model_type)
    expected = transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()
    weights = read_weights(folder)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("model_type", ["llama", "qwen3"])
def test_attention_biases_are_expected_where_transformers_has_them(
    random_checkpoint: Callable[..., Path], model_type: str
) -> None:
    weights = read_weights(random_checkpoint(model_type, attention_bias=True))
    assert weights["model.layers.1.self_attn.o_proj.bias"].shape == (64,)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_written_checkpoint_gives_the_same_logits_in_transformers(
    random_checkpoint: Callable[..., Path], tmp_path: Path, model_type: str
) -> None:
    source = random_checkpoint(model_type)
    write_checkpoint(tmp_path / "copy", read_config(source), read_weights(source))
    tokens = torch.arange(12)[None]
    original, copy = (transformers.AutoModelForCausalLM.from_pretrained(f) for f in (source, tmp_path / "copy"))
    assert torch.equal(copy(tokens).logits, original(tokens).logits)
    assert copy.generation_config.eos_token_id == [0]


def test_written_dtype_is_kept(llama: Path, tmp_path: Path) -> None:
    weights = {name: weight.to(torch.bfloat16) for name, weight in read_weights(llama).items()}
    write_checkpoint(tmp_path / "half", read_config(llama), weights)
    assert {weight.dtype for weight in read_weights(tmp_path / "half").values()} == {torch.bfloat16}
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "half").dtype == torch.bfloat16


def test_shards_together_are_the_whole(llama: Path) -> None:
    expected = read_weights(llama)
    assert len(_shard(llama)) > 1
    weights = read_weights(llama)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_tied_head_is_left_out_even_if_stored(random_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(random_checkpoint("llama", tie_word_embeddings=True), tmp_path / "tied"))
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    save_file(tensors, folder / "model.safetensors")
    assert read_weights(folder).keys() == tensor_shapes(read_config(folder)).keys()
    assert "lm_head.weight" not in read_weights(folder)


@pytest.mark.parametrize("is_sharded", [False, True])
def test_head_that_differs_from_a_tied_embedding_is_kept_as_transformers_does(
    random_checkpoint: Callable[..., Path], is_sharded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """vllm#51063."""
    folder = random_checkpoint("llama", tie_word_embeddings=True)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].flip(0).contiguous()
    name = "shard.safetensors" if is_sharded else "model.safetensors"
    if is_sharded:
        (folder / "model.safetensors").unlink()
        head = {"lm_head.weight": tensors.pop("lm_head.weight")}
        save_file(head, folder / "head.safetensors", metadata={"format": "pt"})
        names = {**dict.fromkeys(tensors, name), **dict.fromkeys(head, "head.safetensors")}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    save_file(tensors, folder / name, metadata={"format": "pt"})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(read_weights(folder)["lm_head.weight"], theirs.lm_head.weight)
    assert not read_config(folder).tie_word_embeddings
    assert "the weights have another head; it is used" in caplog.text


def test_single_file_counts_beside_an_index_as_in_transformers(llama: Path) -> None:
    (llama / "model.safetensors.index.json").write_text('{"weight_map": {"lm_head.weight": "old.safetensors"}}')
    assert read_weights(llama).keys() == tensor_shapes(read_config(llama)).keys()


def test_weights_outlive_their_file(llama: Path) -> None:
    weights = read_weights(llama)
    total = sum(weight.double().abs().sum() for weight in weights.values())
    (llama / "model.safetensors").unlink()
    assert sum(weight.double().abs().sum() for weight in weights.values()) == total


def test_truncated_file_is_named(llama: Path) -> None:
    path = llama / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"cannot read .*model.safetensors"):
        read_weights(llama)


def test_file_that_is_no_safetensors_is_named(llama: Path) -> None:
    (llama / "model.safetensors").write_bytes(b"garbage" * 100)
    with pytest.raises(CheckpointError, match=r"cannot read .*model.safetensors"):
        read_weights(llama)


def test_git_lfs_pointer_is_named(llama: Path) -> None:
    (llama / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match=r"model.safetensors: it is a Git LFS pointer.*git lfs pull"):
        read_weights(llama)


def test_folder_without_weights(llama: Path) -> None:
    (llama / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"neither model.safetensors nor model.safetensors.index.json"):
        read_weights(llama)


def test_missing_shard_is_named(llama: Path) -> None:
    shards = _shard(llama)
    shards[1].unlink()
    with pytest.raises(CheckpointError, match=f"shard {shards[1].name} of {len(shards)} is missing"):
        read_weights(llama)


@pytest.mark.parametrize("weight_map", ["", {}, {"lm_head.weight": "../elsewhere.safetensors"}])
def test_broken_index_is_refused(llama: Path, weight_map: object) -> None:
    (llama / "model.safetensors").unlink()
    (llama / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=r"model.safetensors.index.json: "):
        read_weights(llama)


def test_weights_of_another_model_are_refused(llama: Path, random_checkpoint: Callable[..., Path]) -> None:
    for folder, message in [
        (
            random_checkpoint("llama", intermediate_size=80),
            r"has shape \[64, 80\], expected \[64, 96\] from config.json",
        ),
        (random_checkpoint("llama", num_hidden_layers=3), "which the model in config.json does not have"),
        (random_checkpoint("llama", num_hidden_layers=1), r"lacks .* \(9 of 21 tensors are missing\)"),
    ]:
        shutil.copy(folder / "model.safetensors", llama)
        with pytest.raises(CheckpointError, match=message):
            read_weights(llama)


def test_integer_weights_are_refused(llama: Path) -> None:
    tensors = load_file(llama / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"].to(torch.int8)
    save_file(tensors, llama / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lm_head.weight is torch.int8, expected a float type"):
        read_weights(llama)
