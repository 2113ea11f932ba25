"""How byte-level tokenizers split text before merging. GGUF files name a method after the first model that used it.

The patterns are those of the models' own tokenizer.json.
"""

from dataclasses import dataclass

import tokenizers
from tokenizers import normalizers, pre_tokenizers

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """A method to split text, and what goes with it in the tokenizers that use it."""

    pattern: str = ""
    """A regular expression for the parts; empty: GPT-2's."""
    splits_digits: bool = False
    """Every digit is a part, before the pattern is applied."""
    ignores_merges: bool = False
    """A part that is a token is not built from merges."""
    adds_bos: bool = False
    """A text begins with the token bos unless the file says otherwise."""
    uses_nfc: bool = False
    """Text is brought into normal form C first."""

    def splitter(self) -> pre_tokenizers.PreTokenizer:
        digits = [pre_tokenizers.Digits(individual_digits=True)] if self.splits_digits else []
        split = [pre_tokenizers.Split(tokenizers.Regex(self.pattern), "isolated")] if self.pattern else []
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not self.pattern)
        steps = [*digits, *split, byte_level]
        return steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(steps)

    def normalizer(self) -> normalizers.Normalizer | None:
        return normalizers.NFC() if self.uses_nfc else None


def _words(digits: str, letters: str = r"\p{L}", symbols: str = r"\p{L}\p{N}") -> str:
    """Words with one leading character, groups of digits, runs of symbols, and white space."""
    return rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[{letters}]+|{digits}| ?[^\s{symbols}]+[\r\n]*|{SPACES}"


def _cased_words(digits: str, suffix: str) -> str:
    """Words that are divided where a capital follows a small letter."""
    start = r"[^\r\n\p{L}\p{N}]?"
    words = f"{start}{UPPER}*{LOWER}+{suffix}|{start}{UPPER}+{LOWER}*{suffix}"
    return rf"{words}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{SPACES}"


GPT_2, DIGITS = PreTokenizer(), PreTokenizer(splits_digits=True)
LLAMA_3 = PreTokenizer(_words(r"\p{N}{1,3}"), ignores_merges=True, adds_bos=True)
QWEN_2 = PreTokenizer(_words(r"\p{N}"), uses_nfc=True)
QWEN_3_5 = PreTokenizer(_words(r"\p{N}", r"\p{L}\p{M}", r"\p{L}\p{M}\p{N}"), uses_nfc=True)
GLM_4 = PreTokenizer(_words(r"\p{N}{1,3}"), ignores_merges=True)
TEKKEN = PreTokenizer(_cased_words(r"\p{N}", ""), ignores_merges=True, adds_bos=True)
GPT_4O = PreTokenizer(_cased_words(r"\p{N}{1,3}", f"{CONTRACTIONS}?"))

PRE_TOKENIZERS = {
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "gigachat"), GPT_2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"), DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2"), LLAMA_3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez"), QWEN_2),
    "qwen35": QWEN_3_5,
    **dict.fromkeys(("glm4", "glm5"), GLM_4),
    "tekken": TEKKEN,
    **dict.fromkeys(("gpt-4o", "llama4"), GPT_4O),
}
"""By the name in tokenizer.ggml.pre."""
