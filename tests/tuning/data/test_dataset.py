"""A data set keeps what was finished, whatever happens to the run, and says what is wrong with it."""

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

FACTS = DatasetInfo("tiny", "m" * 16, "t" * 16, 320, 4, 16, 0, "train")


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


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    examples = [example(0), example(1, rejected=(Rejected(0, 7),)), example(2), example(3)]
    dataset = Dataset.begin(tmp_path / "data", FACTS)
    dataset.append(examples[:3])
    dataset.append(examples[3:])
    found = Dataset.open(tmp_path / "data")
    for one, expected in zip(found.examples(), examples, strict=True):
        assert_equal(one, expected)
        assert one.weights is None
    assert found.facts == FACTS
    assert found.keys() == {f"file#{i}" for i in range(4)}
    assert (found.num_answers, found.num_tokens) == (4, sum(len(one.answer) for one in examples))
    assert found.counts == {"file/maths": 4}


def test_weights_are_kept_and_default_to_one(tmp_path: Path) -> None:
    weighted, plain = example(0, weighted=True), example(1)
    Dataset.begin(tmp_path, FACTS).append([weighted, plain])
    found = [one.weights for one in Dataset.open(tmp_path).examples()]
    assert found[0] is not None
    assert found[1] is not None
    np.testing.assert_array_equal(found[0], weighted.weights)
    np.testing.assert_array_equal(found[1], np.ones(len(plain.answer), np.float32))


def test_shard_that_the_manifest_does_not_list_is_written_again(tmp_path: Path) -> None:
    Dataset.begin(tmp_path, FACTS).append([example(0)])
    (tmp_path / "shard-00001.safetensors").write_bytes(b"half of a shard")  # killed before it was listed
    dataset = Dataset.begin(tmp_path, FACTS)
    dataset.append([example(1)])
    assert Dataset.open(tmp_path).keys() == {"file#0", "file#1"}


@pytest.mark.parametrize(
    ("fact", "other"),
    [
        ("model_fingerprint", replace(FACTS, model_fingerprint="x")),
        ("tokenizer_fingerprint", replace(FACTS, tokenizer_fingerprint="x")),
        ("seed", replace(FACTS, seed=9)),
    ],
)
def test_other_run_may_not_write_into_it(tmp_path: Path, fact: str, other: DatasetInfo) -> None:
    Dataset.begin(tmp_path, FACTS).append([example(0)])
    with pytest.raises(DataError, match=f"collected with {fact} .* this run has"):
        Dataset.begin(tmp_path, other)


def test_truncated_shard_is_named(tmp_path: Path) -> None:
    Dataset.begin(tmp_path, FACTS).append([example(0)])
    path = tmp_path / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"shard-00000.safetensors has \d+ bytes, the manifest says \d+"):
        list(Dataset.open(tmp_path).examples())


def test_shard_of_another_data_set_is_named(tmp_path: Path) -> None:
    for name, examples in (("a", [example(0)]), ("b", [example(1), example(2)])):
        Dataset.begin(tmp_path / name, FACTS).append(examples)
    path, manifest = tmp_path / "a" / "shard-00000.safetensors", tmp_path / "a" / "manifest.json"
    path.write_bytes((tmp_path / "b" / path.name).read_bytes())
    values = json.loads(manifest.read_text())
    values["shards"][0]["num_bytes"] = path.stat().st_size
    manifest.write_text(json.dumps(values))
    with pytest.raises(DataError, match="has 2 answers, the manifest says 1: it is foreign"):
        Dataset.open(tmp_path / "a").keys()


@pytest.mark.parametrize("content", ["", "[]", '{"format": 99}', '{"format": 1, "facts": {}}'])
def test_file_that_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json"):
        Dataset.open(tmp_path)


def test_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no data set: manifest\.json is missing"):
        Dataset.open(tmp_path)


def test_other_tokenizer_is_refused(tmp_path: Path) -> None:
    dataset = Dataset.begin(tmp_path, FACTS)
    dataset.check_tokenizer("t" * 16, "tiny")
    with pytest.raises(DataError, match=r"tokens of tokenizer t+ \(tiny\), huge has u+"):
        dataset.check_tokenizer("u" * 16, "huge")


FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from goodspeed.errors import DataError
from goodspeed.tuning.data.dataset import Dataset
from tests.tuning.data.test_dataset import FACTS, example
dataset = Dataset.begin(Path(sys.argv[1]), FACTS)
dataset.append([example(0)])
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
try:
    dataset.append([example(1)])
except DataError as error:
    print(error)
"""


def test_disk_without_room_is_one_error_and_keeps_what_is_there(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "shard-00001.safetensors: " in run.stdout
    assert "what was finished before is kept" in run.stdout
    assert Dataset.open(tmp_path).keys() == {"file#0"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "shard-00000.safetensors"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY  # of this process
