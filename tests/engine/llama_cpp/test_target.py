"""llama.cpp as target: the same bits in every batch, streams that come and go, and errors that name their cause."""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.gguf_files import write_gguf

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import CachedPrefix, Prefill, StreamSpec
from goodspeed.engine.llama_config import LlamaConfig
from goodspeed.engine.target_config import TargetConfig
from goodspeed.errors import CapacityError, CheckpointError, ConfigError

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'goodspeed[llama]'")

from goodspeed.engine.llama_cpp.cells import MAX_STREAMS, Cells
from goodspeed.engine.llama_cpp.context import LlamaContext
from goodspeed.engine.llama_cpp.forward import Forward, Rows, Segment
from goodspeed.engine.llama_cpp.invariance import is_batch_invariant, thread_counts_with_same_bits
from goodspeed.engine.llama_cpp.loading import load_target, make_forward
from goodspeed.engine.llama_cpp.model import load_model

GgufFiles = Callable[..., Path]
FLASH = LlamaConfig(flash_attn="on")
NUM_CELLS = 768


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> GgufFiles:
    def make(architecture: str = "llama", kind: str = "F16") -> Path:
        return write_gguf(tmp_path_factory.mktemp("gguf") / f"{architecture}-{kind}.gguf", architecture, kind)

    return make


@pytest.fixture(scope="module")
def make(gguf_file: GgufFiles) -> Iterator[Callable[..., Forward]]:
    made: list[Forward] = []

    def forward(
        architecture: str = "llama",
        kind: str = "F16",
        config: LlamaConfig = FLASH,
        min_rows: int = 2,
        num_cells: int = NUM_CELLS,
    ) -> Forward:
        model = load_model(gguf_file(architecture, kind), 0)
        made.append(make_forward(model, config, num_cells, threads=2, min_rows=min_rows))
        return made[-1]

    yield forward
    for each in made:
        each.cells.context.close()


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3"])
def test_logits_do_not_depend_on_the_batch(make: Callable[..., Forward], architecture: str, kind: str) -> None:
    forward = make(architecture, kind)
    assert is_batch_invariant(forward)
    assert (forward.cells.num_used, forward.cells.num_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("config", "min_rows"),
    [(FLASH, 1), (replace(FLASH, flash_attn="off"), 2)],
    ids=["one row allowed", "no flash attention"],
)
def test_self_check_notices_settings_under_which_bits_change(
    make: Callable[..., Forward], config: LlamaConfig, min_rows: int
) -> None:
    assert not is_batch_invariant(make(config=config, min_rows=min_rows))


def test_fewer_threads_give_the_same_bits(make: Callable[..., Forward]) -> None:
    assert thread_counts_with_same_bits(make(), [2, 1]) == [2, 1]


class SeesThreads(LlamaContext):
    """The planted bug: sums depend on the number of threads."""

    threads = 2

    def set_threads(self, threads: int) -> None:
        super().set_threads(threads)
        self.threads = threads

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], outputs: Sequence[bool]
    ) -> Rows:
        return super().decode(tokens, positions, sequences, outputs) * np.float32(1 + 2**-7 * (self.threads == 1))


def test_numbers_of_threads_that_change_bits_are_noticed(
    make: Callable[..., Forward], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goodspeed.engine.llama_cpp.loading.LlamaContext", SeesThreads)
    assert thread_counts_with_same_bits(make(), [2, 1]) == [2]


def test_passes_of_64_rows_and_more_round_otherwise(make: Callable[..., Forward]) -> None:
    """Why a pass has at most 63 rows. A prompt of 130 tokens is divided into passes of the size that is asked for."""
    tokens = list(range(2, 132))
    small, large = (_read(make(config=replace(FLASH, n_ubatch=size)), [tokens]) for size in (63, 512))
    assert np.array_equal(small, _read(make(config=replace(FLASH, n_ubatch=7)), [tokens]))
    assert not np.array_equal(small, large)


class FreesInTheMiddle(Cells):
    """The planted bug: cells of a rejected draft become free at once, also before cells of other streams."""

    def truncate(self, sequence: int, num_tokens: int) -> None:
        self.context.remove(sequence, num_tokens)
        self._sequences[sequence].num_tokens = num_tokens


def test_streams_that_come_and_go_leave_bits_alone(make: Callable[..., Forward]) -> None:
    """Some begin with a part of another. The cache is so small that it is compacted again and again."""
    forward = make(num_cells=300)
    assert _num_different(forward, num_steps=400, shares=True) == 0
    assert forward.cells.num_compactions > 10


def test_cells_out_of_order_are_noticed(make: Callable[..., Forward]) -> None:
    forward = make(num_cells=NUM_CELLS)
    wrong = replace(forward, cells=FreesInTheMiddle(forward.cells.context))
    assert _num_different(wrong, num_steps=60) > 0


def test_shared_prefix_counts_once(make: Callable[..., Forward]) -> None:
    """Also after a compaction, and when the sequence that had it first is gone."""
    forward = make(num_cells=256)
    cells = forward.cells
    first, *others = (cells.open() for _ in range(5))
    forward.run([Segment(first, 0, [7] * 100, 0)])
    for number, other in enumerate(others):
        cells.share(first, other, 100 - 20 * number)
    assert cells.num_tokens == 100
    for other, sequence in zip(range(100, 20, -20), others, strict=True):
        forward.run([Segment(sequence, other, [8] * 10, 0)])
    assert cells.num_tokens == 140
    cells.truncate(first, 30)
    cells.close(others[0])
    assert cells.num_tokens == 80 + 30
    forward.run([Segment(others[1], 90, [9] * 125, 0)])
    assert (cells.num_compactions, cells.num_tokens) == (1, 235)
    for sequence in (first, *others[1:]):
        cells.close(sequence)


def test_more_sequences_than_llama_cpp_has_are_refused(make: Callable[..., Forward]) -> None:
    cells = make().cells
    numbers = [cells.open() for _ in range(MAX_STREAMS)]
    with pytest.raises(CapacityError, match="254 sequences are in use"):
        cells.open()
    cells.close(numbers[7])
    assert cells.open() == numbers[7]


def test_full_cache_is_refused(make: Callable[..., Forward]) -> None:
    forward = make(num_cells=256)
    sequence = forward.cells.open()
    forward.run([Segment(sequence, 0, [5] * 250, 0)])
    with pytest.raises(CapacityError, match="9 KV tokens requested, 6 are free"):
        forward.run([Segment(sequence, 250, [5] * 7, 0)])


def test_retained_streams_make_room_for_open_ones(gguf_file: GgufFiles) -> None:
    """The one that was retained first loses its cells; a stream that begins with it reads the tokens again."""
    target = load_target(replace(config(gguf_file()), kv_memory_mb=8))
    prompts = [(3 + key % 200, 5, 6, 7, 8, 9) for key in range(MAX_STREAMS + 1)]

    def answer(key: int, spec: StreamSpec) -> int | None:
        target.open(key, spec)
        return target.step([Prefill(key, len(spec.tokens) - (spec.prefix.num_tokens if spec.prefix else 0))])[
            0
        ].next_token

    for key, prompt in enumerate(prompts):
        answer(key, StreamSpec(prompt, Sampling(), 9))
        target.retain(key, len(prompt))
    longer = [(*prompt, 11, 12) for prompt in prompts]
    for key in (0, 5):  # of which one has lost its cells
        expected = answer(1000 + key, StreamSpec(longer[key], Sampling(), 9))
        prefix = CachedPrefix(key, len(prompts[0]))
        assert answer(2000 + key, StreamSpec(longer[key], Sampling(), 9, prefix=prefix)) == expected
    for key in (*range(len(prompts)), 1000, 1005, 2000, 2005):
        target.close(key)
    assert target.info.max_streams == MAX_STREAMS


def test_end_tokens_and_tokenizer_come_from_the_file(gguf_file: GgufFiles) -> None:
    target = load_target(TargetConfig(model=str(gguf_file()), device="cpu", threads=1, kv_memory_mb=1))
    info = target.info
    assert (info.end_tokens, info.vocab_size, info.num_tokens, info.max_context) == ((0,), 320, 320, 256)
    assert target.is_batch_invariant


def config(path: Path) -> TargetConfig:
    return TargetConfig(model=str(path), device="cpu", threads=1, kv_memory_mb=1)


def test_truncated_file_is_refused(gguf_file: GgufFiles, tmp_path: Path) -> None:
    whole = gguf_file().read_bytes()
    for share in (0.3, 0.9):
        (tmp_path / "cut.gguf").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(CheckpointError, match=r"cannot read .*cut\.gguf"):
            load_target(config(tmp_path / "cut.gguf"))


def test_unknown_architecture_is_named(gguf_file: GgufFiles, tmp_path: Path) -> None:
    content = gguf_file().read_bytes().replace(b"llama", b"lxama")
    (tmp_path / "other.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match="unknown model architecture: 'lxama'"):
        load_target(config(tmp_path / "other.gguf"))


def test_model_whose_state_cannot_be_rolled_back_is_refused(gguf_file: GgufFiles) -> None:
    with pytest.raises(CheckpointError, match="recurrent or hybrid model"):
        load_target(config(gguf_file("mamba", "F32")))


def test_memory_that_is_not_there_is_an_error_before_loading(gguf_file: GgufFiles) -> None:
    with pytest.raises(
        ConfigError, match=r"needs 10,000,000 MB \(weights 0, KV cache 10,000,000\), [\d,]+ MB are free"
    ):
        load_target(replace(config(gguf_file()), kv_memory_mb=10_000_000))


def test_options_of_other_engines_are_refused(gguf_file: GgufFiles) -> None:
    with pytest.raises(ConfigError, match="dtype is 'bf16', expected 'auto'"):
        load_target(replace(config(gguf_file()), dtype="bf16"))
    with pytest.raises(ConfigError, match=r"device is 'cuda', but this build of llama\.cpp supports no GPU"):
        load_target(replace(config(gguf_file()), device="cuda"))


def test_model_that_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no GGUF files; llama\.cpp needs the name of one"):
        load_target(config(tmp_path))


@pytest.mark.parametrize("module", ["llama_cpp", "llama_cpp.llama_cpp"])
def test_missing_package_names_the_extra(module: str) -> None:
    """In another process, where the package cannot be imported."""
    code = f"""
import sys
sys.modules[{module!r}] = None
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
from goodspeed.errors import ConfigError
try:
    target_engine("llama_cpp", TargetConfig(model="missing.gguf"))
except ConfigError as error:
    print(error)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.startswith("the engine llama_cpp needs the extra 'llama': pip install 'goodspeed[llama]'")


def test_engine_runs_without_torch(gguf_file: GgufFiles) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
print(target_engine("llama_cpp", TargetConfig(model={str(gguf_file())!r}, threads=1, kv_memory_mb=1)).info.vocab_size)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "320\n"


def _read(forward: Forward, texts: Sequence[Sequence[int]]) -> Rows:
    """The logits after each of the texts, of which each is read at once."""
    rows = []
    for tokens in texts:
        sequence = forward.cells.open()
        rows.append(forward.run([Segment(sequence, 0, tokens, 1)])[0].copy())
        forward.cells.close(sequence)
    return np.concatenate(rows)


def _num_different(forward: Forward, num_steps: int, *, shares: bool = False) -> int:
    """Runs up to three texts in ragged steps with rollbacks; counts the rows that differ from those of a text alone."""
    rng = random.Random(3)
    texts = [[2 + (7 * place + 31 * i + i * i) % 300 for i in range(60)] for place in range(6)]
    alone = [_read(forward, [text[: i + 1] for i in range(len(text))]) for text in texts]
    active: dict[int, tuple[int, int]] = {}  # the text and the number of its tokens that are cached
    num_different = 0
    for _ in range(num_steps):
        while len(active) < 4 and rng.random() < 0.6:
            _open(forward, active, rng, len(texts), shares=shares)
        batch = [sequence for sequence in active if rng.random() < 0.7]
        segments = []
        for sequence in batch:
            place, done = active[sequence]
            right = texts[place][done : done + rng.randint(1, 12)]
            segments.append((Segment(sequence, done, [*right, 9, 9], len(right) + 2), len(right)))
        logits = forward.run([segment for segment, _ in segments]) if segments else []
        for (segment, num_right), rows in reversed(list(zip(segments, logits, strict=True))):
            place, done = active[segment.sequence]
            num_different += int((rows[:num_right] != alone[place][done : done + num_right]).any(axis=1).sum())
            active[segment.sequence] = place, done + num_right
            forward.cells.truncate(segment.sequence, done + num_right)
            if done + num_right == len(texts[place]) or rng.random() < 0.05:  # complete, or cancelled
                del active[segment.sequence]
                forward.cells.close(segment.sequence)
    for sequence in active:
        forward.cells.close(sequence)
    assert (forward.cells.num_tokens, forward.cells.num_used) == (0, 0)
    return num_different


def _open(
    forward: Forward, active: dict[int, tuple[int, int]], rng: random.Random, num_texts: int, *, shares: bool
) -> None:
    """A new sequence, with nothing or with a part of what another one has of the same text."""
    cells, place, num_shared = forward.cells, rng.randrange(num_texts), 0
    sequence = cells.open()
    if shares and active and rng.random() < 0.6:
        source = rng.choice(list(active))
        place, done = active[source]
        num_shared = rng.randint(0, done)
        cells.share(source, sequence, num_shared)
    active[sequence] = place, num_shared
