"""Checks of single messages, independent of earlier ones: they must be within the limits of the verifier's Welcome."""

from collections.abc import Sequence

import numpy as np

from goodspeed.decoding.logprobs import MAX_TOP_LOGPROBS
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello, Open, Propose, ShadowDraft, Welcome

MAX_LOGPROBS_BYTES = 1_000_000
"""Of the prompt, in one verdict, whose frame may have 1 MiB."""
LOGPROB_BYTES = 4
TOP_BYTES, TOP_TOKEN_BYTES = 8, 8
"""At most, of one TopTokens: the message itself, and a token with its log-probability."""


def check_hello(hello: Hello, welcome: Welcome, tokenizer_fingerprint: str) -> None:
    """Raises ProtocolError (session) if a verifier with this Welcome cannot serve the drafter."""
    if hello.version != PROTOCOL_VERSION:
        raise ProtocolError(
            ErrorCode.VERSION, f"the drafter has protocol version {hello.version}, this verifier has {welcome.version}"
        )
    if not 0 < len(hello.drafter) <= 128 or not hello.drafter.isprintable():
        raise ProtocolError(
            ErrorCode.BAD_REQUEST, f"drafter name is {hello.drafter[:128]!r}, expected 1 to 128 printable characters"
        )
    if hello.tokenizer_fingerprint != tokenizer_fingerprint:
        raise ProtocolError(
            ErrorCode.TOKENIZER_MISMATCH,
            f"tokenizer fingerprint is {hello.tokenizer_fingerprint!r}, {welcome.model} has {tokenizer_fingerprint!r}",
        )


def check_open(request: Open, welcome: Welcome) -> None:
    """Raises ProtocolError (stream) if the Open exceeds the verifier's limits."""
    num_tokens = len(request.tokens)
    max_answer = welcome.max_context - request.num_prompt
    wrong = None
    if not 0 < request.num_prompt <= num_tokens:
        wrong = f"num_prompt is {request.num_prompt}, expected 1 to {num_tokens}"
    elif not 0 < request.max_tokens <= max_answer:
        wrong = (
            f"the prompt has {request.num_prompt} tokens and max_tokens is {request.max_tokens}; "
            f"expected at most {welcome.max_context} together"
        )
    elif num_tokens - request.num_prompt >= request.max_tokens:
        wrong = (
            f"the committed answer has {num_tokens - request.num_prompt} tokens, "
            f"expected fewer than max_tokens, which is {request.max_tokens}"
        )
    elif request.sampling.constraint and not request.end_tokens:
        wrong = "the answer is constrained and has no end token, so it could not end where it must"
    wrong = wrong or _wrong_logprobs(request)
    if wrong:
        raise ProtocolError(ErrorCode.BAD_REQUEST, wrong, request.stream)
    changes = request.sampling.logit_changes
    named = (*request.end_tokens, *(changes.tokens() if changes else ()))
    _check_tokens((*request.tokens, *named), welcome.vocab_size, request.stream)


def _wrong_logprobs(request: Open) -> str | None:
    """What is wrong with the log-probabilities that the Open requests."""
    if request.top_logprobs > MAX_TOP_LOGPROBS:
        return f"top_logprobs is {request.top_logprobs}, expected 0 to {MAX_TOP_LOGPROBS}"
    if not request.logprobs and (request.top_logprobs or request.prompt_logprobs):
        return "top_logprobs or prompt_logprobs without logprobs"
    if not request.prompt_logprobs:
        return None
    if len(request.tokens) > request.num_prompt:
        return "prompt_logprobs of a stream that has committed tokens"
    longest = MAX_LOGPROBS_BYTES // (LOGPROB_BYTES + (TOP_BYTES + TOP_TOKEN_BYTES * request.top_logprobs))
    if request.num_prompt > longest:
        return f"prompt_logprobs of {request.num_prompt} tokens, expected at most {longest}"
    return None


def _check_tokens(tokens: Sequence[int], vocab_size: int, stream: int) -> None:
    largest = max(tokens, default=0)
    if largest >= vocab_size:
        raise ProtocolError(ErrorCode.BAD_TOKEN, f"token id is {largest}, the vocabulary has {vocab_size}", stream)


def check_draft(propose: Propose, vocab_size: int) -> None:
    """Raises ProtocolError (stream) if the proposal's tokens, confidences and distributions do not match."""
    num_tokens = len(propose.tokens)
    _check_tokens(propose.tokens, vocab_size, propose.stream)
    if len(propose.confidences) not in {0, num_tokens} or len(propose.draft_probs) not in {0, num_tokens}:
        raise ProtocolError(
            ErrorCode.MALFORMED,
            f"{num_tokens} tokens with {len(propose.confidences)} confidences and {len(propose.draft_probs)} "
            "distributions; expected none or one per token",
            propose.stream,
        )
    for probs, token in zip(propose.draft_probs, propose.tokens, strict=False):
        ids = probs.token_ids
        is_sorted = bool(np.all(ids[1:] > ids[:-1]))
        if not (len(ids) == len(probs.weights) > 0 and is_sorted and np.all(probs.weights) and token in ids):
            raise ProtocolError(
                ErrorCode.MALFORMED, "a draft distribution is unsorted, empty, or lacks its token", propose.stream
            )
        _check_tokens((int(ids[-1]),), vocab_size, propose.stream)


def check_shadow_draft(draft: ShadowDraft, num_requested: int, committed_lengths: range, vocab_size: int) -> None:
    """Raises ProtocolError (stream) if the draft is too long, or does not follow one of these committed lengths."""
    if len(draft.tokens) > num_requested:
        raise ProtocolError(
            ErrorCode.OVER_GRANT,
            f"shadow draft of {len(draft.tokens)} tokens, {num_requested} were requested",
            draft.stream,
        )
    if draft.committed_length not in committed_lengths:
        raise ProtocolError(
            ErrorCode.DIVERGED,
            f"shadow draft after {draft.committed_length} tokens, "
            f"expected {committed_lengths.start} to {committed_lengths.stop - 1}",
            draft.stream,
        )
    _check_tokens(draft.tokens, vocab_size, draft.stream)
