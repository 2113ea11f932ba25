"""A data set keeps its complete shards when a run is interrupted, and reports damage."""

import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goodspeed.errors import DataError
from goodspeed.tuning.data.dataset import Dataset, DatasetInfo
from goodspeed.tuning.data.example import Example, Origin, Rejected

INFO = DatasetInfo("tiny", "m" * 16, "t" * 16, 320, 4, 16, 0, "train")


def example(number: int, weighted: bool = False, rejected: tuple[Rejected, ...] = ()) -> Example:
    rng = np.random.default_rng(number)
    num_prompt, num_answer = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    return Example(
        Origin(f"file#{number}", "file", "maths", 0.5 * (number % 2), number),
        rng.integers(0, 320, num_prompt, dtype=np.int32),
        rng.integers(0, 320, num_answer, dtype=np.int32),
        rng.integers(0, 320, (num_answer, 4), dtype=np.int32),
        -rng.random((num_answer, 4)).astype(np.float16),
        rng.random(num_answer, dtype=np.float32) if weighted else None,
        rejected,
    )


def assert_equal(found: Example, expected: Example) -> None:
    assert (found.origin, found.rejected) == (expected.origin, expected.rejected)
    for name in ("prompt", "answer", "top_tokens", "top_logprobs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_examples_are_read_as_they_were_written(tmp_path: Path) -> None:
    examples = [example(0), example(1, rejected=(Rejected(0, 7),)), example(2), example(3)]
    dataset = Dataset.open_or_create(tmp_path / "data", INFO)
    dataset.append(examples[:3])
    dataset.append(examples[3:])
    found = Dataset.open(tmp_path / "data")
    for read, expected in zip(found.examples(), examples, strict=True):
        assert_equal(read, expected)
        assert read.weights is None
    assert found.info == INFO
    assert found.keys() == {f"file#{i}" for i in range(4)}
    assert (found.num_answers, found.num_tokens) == (4, sum(len(read.answer) for read in examples))
    assert found.counts == {"file/maths": 4}


def test_weights_are_kept_and_default_to_one(tmp_path: Path) -> None:
    weighted, plain = example(0, weighted=True), example(1)
    Dataset.open_or_create(tmp_path, INFO).append([weighted, plain])
    found = [read.weights for read in Dataset.open(tmp_path).examples()]
    assert found[0] is not None
    assert found[1] is not None
    np.testing.assert_array_equal(found[0], weighted.weights)
    np.testing.assert_array_equal(found[1], np.ones(len(plain.answer), np.float32))


def test_shard_that_the_manifest_does_not_list_is_overwritten(tmp_path: Path) -> None:
    Dataset.open_or_create(tmp_path, INFO).append([example(0)])
    (tmp_path / "shard-00001.safetensors").write_bytes(b"half of a shard")  # killed before it was listed
    dataset = Dataset.open_or_create(tmp_path, INFO)
    dataset.append([example(1)])
    assert Dataset.open(tmp_path).keys() == {"file#0", "file#1"}


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("model_fingerprint", replace(INFO, model_fingerprint="x")),
        ("tokenizer_fingerprint", replace(INFO, tokenizer_fingerprint="x")),
        ("seed", replace(INFO, seed=9)),
    ],
)
def test_run_with_other_properties_is_refused(tmp_path: Path, name: str, other: DatasetInfo) -> None:
    Dataset.open_or_create(tmp_path, INFO).append([example(0)])
    with pytest.raises(DataError, match=f"collected with {name} .* this run has"):
        Dataset.open_or_create(tmp_path, other)


def test_error_names_a_truncated_shard(tmp_path: Path) -> None:
    Dataset.open_or_create(tmp_path, INFO).append([example(0)])
    path = tmp_path / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"shard-00000.safetensors has \d+ bytes, the manifest says \d+"):
        list(Dataset.open(tmp_path).examples())


def test_shard_of_another_data_set_is_refused(tmp_path: Path) -> None:
    for name, examples in (("a", [example(0)]), ("b", [example(1), example(2)])):
        Dataset.open_or_create(tmp_path / name, INFO).append(examples)
    path, manifest = tmp_path / "a" / "shard-00000.safetensors", tmp_path / "a" / "manifest.json"
    path.write_bytes((tmp_path / "b" / path.name).read_bytes())
    values = json.loads(manifest.read_text())
    values["shards"][0]["num_bytes"] = path.stat().st_size
    manifest.write_text(json.dumps(values))
    with pytest.raises(DataError, match="has 2 answers, the manifest says 1: it belongs to another data set"):
        Dataset.open(tmp_path / "a").keys()


@pytest.mark.parametrize("content", ["", "[]", '{"format": 99}', '{"format": 1, "facts": {}}'])
def test_malformed_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json"):
        Dataset.open(tmp_path)


def test_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no data set: manifest\.json is missing"):
        Dataset.open(tmp_path)


def test_tokens_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    dataset = Dataset.open_or_create(tmp_path, INFO)
    dataset.check_tokenizer("t" * 16, "tiny")
    with pytest.raises(DataError, match=r"tokens of tokenizer t+ \(tiny\), huge has u+"):
        dataset.check_tokenizer("u" * 16, "huge")


FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from goodspeed.errors import DataError
from goodspeed.tuning.data.dataset import Dataset
from tests.tuning.data.test_dataset import INFO, example
dataset = Dataset.open_or_create(Path(sys.argv[1]), INFO)
dataset.append([example(0)])
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
try:
    dataset.append([example(1)])
except DataError as error:
    print(error)
"""


def test_full_disk_is_a_data_error_and_earlier_shards_remain(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "shard-00001.safetensors: " in run.stdout
    assert "earlier shards remain" in run.stdout
    assert Dataset.open(tmp_path).keys() == {"file#0"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "shard-00000.safetensors"]
    assert (
        resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    )  # the limit was set in the subprocess only
