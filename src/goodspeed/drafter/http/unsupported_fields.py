"""Fields of requests that are not supported, and the values at which clients of other servers send them in vain.

A field at its neutral value asks for nothing and is taken. At another value it is refused by name.
"""

from collections.abc import Iterable, Mapping

from goodspeed.drafter.http.errors import ApiError
from goodspeed.registry import did_you_mean

INERT = (
    "cache_prompt",
    "client_metadata",
    "id_slot",
    "keep_alive",
    "metadata",
    "parallel_tool_calls",
    "priority",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "request_id",
    "safety_identifier",
    "service_tier",
    "store",
)
"""Fields that have no effect on the text: they take every value."""

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    # OpenAI
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "modalities": (["text"],),
    "prediction": (),
    "reasoning_effort": ("none",),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
    "web_search_options": (),
    # OpenAI's responses
    "access_programs": (),
    "background_options": (),
    "context_management": ([],),
    "image": (),
    "max_tool_calls": (),
    "moderation": (),
    "prompt": (),
    # vLLM, SGLang
    "add_generation_prompt": (True,),
    "add_special_tokens": (),  # its default differs between the endpoints
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "continue_final_message": (False,),
    "continuous_usage_stats": (False,),
    "documents": ([],),
    "guided_decoding_backend": ("auto", "guidance", "llguidance"),
    "guided_whitespace_pattern": (),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1,),
    "logits_processors": ([],),
    "no_stop_trim": (False,),
    "prompt_logprobs": (),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "truncate_prompt_tokens": (),
    "use_beam_search": (False,),
    # llama.cpp, Ollama, Mistral
    "dry_multiplier": (0,),
    "dynatemp_range": (0,),
    "enable_thinking": (False,),
    "format": ("",),
    "mirostat": (0,),
    "n_predict": (-1,),
    "n_probs": (0,),
    "options": ({},),
    "safe_prompt": (False,),
    "tfs_z": (1,),
    "think": (False,),
    "timings_per_token": (False,),
    "top_a": (0,),
    "typical_p": (1,),
    "xtc_probability": (0,),
}
"""Fields that are not supported, with the values at which they ask for nothing. A null always does."""


def check_unsupported(name: str, value: object, supported: Iterable[str]) -> None:
    """Raises ApiError for an unknown field, and for one that asks for something that is not supported.

    `value` is not null.
    """
    if name in INERT:
        return
    if name in NEUTRAL:
        if not any(_is_same(value, neutral) for neutral in NEUTRAL[name]):
            raise ApiError(400, f"{name} is {value!r:.80}, which is not supported", name, "unsupported_value")
        return
    hint = did_you_mean(name, [*supported, *NEUTRAL])
    raise ApiError(400, f"unknown field {name!r}{'; ' if hint else ''}{hint}", name, "unknown_parameter")


def _is_same(value: object, neutral: object) -> bool:
    """0 is 0.0 but not false."""
    return value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
