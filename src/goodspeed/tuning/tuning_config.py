"""What `goodspeed tune collect` and `goodspeed tune distil` are told. No torch here, so that help is quick."""

from dataclasses import dataclass

from goodspeed.config import option, table
from goodspeed.engine.target_config import TargetConfig
from goodspeed.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CollectConfig:
    """Whom to ask, what, and where the answers go."""

    out: str = option("", "folder of the data set; a run that was killed goes on there")
    prompts: tuple[str, ...] = option((), "JSONL files of prompts, or domains of `goodspeed bench`")
    recorded: tuple[str, ...] = option((), "JSONL files of rounds that live traffic recorded, to be scored")
    write: int = option(0, "prompts that the target writes itself, by sampling the user's turn")
    temperatures: tuple[float, ...] = option((), "besides the greedy answer, one sampled at each of these")
    max_tokens: int = option(256, "longest answer")
    max_prompt: int = option(1024, "prompts of more tokens are left out")
    top_k: int = option(64, "log-probabilities kept at every position")
    seed: int = option(0, "of what is sampled, and of the order of asking")
    split: str = option("train", "what the data set is for: train, validation or test")
    streams: int = option(64, "answers in the making at once")
    shard_answers: int = option(32, "answers written together; a kill loses fewer than these")
    target: TargetConfig = table(TargetConfig)

    def __post_init__(self) -> None:
        if not self.out:
            raise ConfigError("out is empty, expected the folder of the data set")
        if not (self.prompts or self.recorded or self.write):
            raise ConfigError("nothing to collect: expected prompts, recorded or write")
        if min(self.max_tokens, self.max_prompt, self.top_k, self.streams, self.shard_answers) < 1:
            raise ConfigError("max_tokens, max_prompt, top_k, streams and shard_answers must be 1 or more")
        if self.seed < 0 or self.write < 0 or any(not 0 < heat <= 100 for heat in self.temperatures):
            raise ConfigError("seed and write must be 0 or more, temperatures more than 0 and at most 100")


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """Where a student begins, and what of it learns."""

    init: str = option("layers", "layers: some of the target's; fresh: random weights of a shape; or a checkpoint")
    layers: tuple[int, ...] = option((0, 1), "the target's layers that it starts from")
    hidden_size: int = option(256, "fresh: width; a multiple of 64")
    intermediate_size: int = option(768, "fresh: width inside")
    num_layers: int = option(4, "fresh: layers")
    vocabulary: int = option(0, "rows of the head: the tokens that answers use most; 0: all of the target's")
    mlp_width: int = option(0, "units of every MLP: those that answers drive hardest; 0: all that it starts with")
    train_head: bool = option(True, "let the head learn too; false: it stays the target's own")
    train_embedding: bool = option(False, "let the embedding learn too")
    lora_rank: int = option(0, "learn additions of this rank to the layers' matrices (LoRA); 0: the matrices")

    def __post_init__(self) -> None:
        if min(self.vocabulary, self.mlp_width, self.lora_rank) < 0 or not self.layers or min(self.layers) < 0:
            raise ConfigError(
                "vocabulary, mlp_width and lora_rank must be 0 or more, layers one or more layers of the target"
            )
        if self.hidden_size < 64 or self.hidden_size % 64 or min(self.num_layers, self.intermediate_size) < 1:
            raise ConfigError("hidden_size must be a multiple of 64, num_layers and intermediate_size 1 or more")


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """How a student learns."""

    data: str = option("", "folder of the data set to learn from")
    validation: str = option("", "folder of the data set whose acceptance is watched")
    out: str = option("", "folder of the run and, at its end, of the checkpoint; a run that was killed goes on there")
    target: str = option("smollm2-135m-instruct", "the target model")
    student: StudentConfig = table(StudentConfig)
    loss: str = option("forward_kl", "forward_kl, reverse_kl, total_variation or likeliest")
    likeliest_share: float = option(0.0, "how much of the loss is the cross-entropy of the target's likeliest token")
    on_policy: float = option(0.0, "share of updates on answers that the student wrote and the target scored")
    on_policy_every: int = option(200, "updates between such answers")
    on_policy_answers: int = option(64, "how many each time")
    on_policy_tokens: int = option(64, "longest of them")
    weights: str = option("uniform", "uniform, or stored: what the data set says that each position counts")
    temperature: float = option(1.0, "of the target's distribution: below 1 is sharper")
    top_k: int = option(32, "likeliest tokens of the target that are taught")
    steps: int = option(1000, "updates; may be changed when a run goes on")
    learning_rate: float = option(1e-3, "the largest")
    warmup: int = option(50, "updates until it is reached")
    decay: int = option(0, "last updates, in which it falls to zero along a cosine; 0: all")
    weight_decay: float = option(0.01, "of AdamW, on matrices")
    length: int = option(512, "tokens of a row, into which several answers are packed")
    max_prompt: int = option(192, "last tokens of a prompt that the student reads")
    rows: int = option(4, "rows of a pass")
    accumulate: int = option(1, "passes of an update")
    validate_every: int = option(200, "updates between looks at the validation set")
    validation_answers: int = option(96, "answers that are looked at")
    checkpoint_every: int = option(200, "updates between states on disk")
    patience: int = option(0, "looks without a new best after which it stops; 0: never")
    seed: int = option(0, "of the order of answers, and of fresh weights")
    dtype: str = option("auto", "of products: bf16, fp32, or auto: bf16 where the hardware multiplies it")
    device: str = option("auto", "cpu, cuda, or auto: cuda where there is one")
    threads: int = option(0, "CPU threads; 0: one per core")

    def __post_init__(self) -> None:
        if not (self.data and self.out):
            raise ConfigError("data and out are the folders of a data set and of the run; one is empty")
        counts = (self.top_k, self.steps, self.length, self.rows, self.accumulate, self.max_prompt)
        if min(*counts, self.validate_every, self.checkpoint_every, self.validation_answers) < 1:
            raise ConfigError("top_k, steps, length, max_prompt, rows, accumulate, *_every must be 1 or more")
        if min(self.warmup, self.decay, self.patience, self.seed, self.threads) < 0:
            raise ConfigError("warmup, decay, patience, seed and threads must be 0 or more")
        if not 0 <= self.on_policy < 1 or min(self.on_policy_every, self.on_policy_answers, self.on_policy_tokens) < 1:
            raise ConfigError("on_policy must be 0 or more and less than 1, on_policy_* 1 or more")
        if self.max_prompt >= self.length:
            raise ConfigError(f"max_prompt is {self.max_prompt}, expected less than length {self.length}")
        if self.weights not in ("uniform", "stored"):
            raise ConfigError(f"weights is {self.weights!r}, expected uniform or stored")
        if not (self.learning_rate > 0 and self.temperature > 0 and 0 <= self.likeliest_share <= 1):
            raise ConfigError("learning_rate and temperature must be more than 0, likeliest_share 0 to 1")
