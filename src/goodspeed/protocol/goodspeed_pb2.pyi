from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DISTRIBUTED: _ClassVar[Mode]
    TARGET_ONLY: _ClassVar[Mode]
    CO_LOCATED: _ClassVar[Mode]

class ConstraintKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JSON_SCHEMA: _ClassVar[ConstraintKind]
    REGEX: _ClassVar[ConstraintKind]
    GRAMMAR: _ClassVar[ConstraintKind]

class Rule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GREEDY: _ClassVar[Rule]
    COUPLED: _ClassVar[Rule]
    REJECTION: _ClassVar[Rule]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NONE: _ClassVar[FinishReason]
    STOP: _ClassVar[FinishReason]
    LENGTH: _ClassVar[FinishReason]

class ErrorCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTERNAL: _ClassVar[ErrorCode]
    MALFORMED: _ClassVar[ErrorCode]
    VERSION: _ClassVar[ErrorCode]
    UNAUTHENTICATED: _ClassVar[ErrorCode]
    TOKENIZER_MISMATCH: _ClassVar[ErrorCode]
    OUT_OF_ORDER: _ClassVar[ErrorCode]
    UNKNOWN_STREAM: _ClassVar[ErrorCode]
    STALE_EPOCH: _ClassVar[ErrorCode]
    WRONG_ROUND: _ClassVar[ErrorCode]
    DIVERGED: _ClassVar[ErrorCode]
    OVER_GRANT: _ClassVar[ErrorCode]
    BAD_TOKEN: _ClassVar[ErrorCode]
    BAD_REQUEST: _ClassVar[ErrorCode]
    CAPACITY: _ClassVar[ErrorCode]
    LEASE_EXPIRED: _ClassVar[ErrorCode]
    SUPERSEDED: _ClassVar[ErrorCode]
    SHUTTING_DOWN: _ClassVar[ErrorCode]
    UNKNOWN_PREFIX: _ClassVar[ErrorCode]
DISTRIBUTED: Mode
TARGET_ONLY: Mode
CO_LOCATED: Mode
JSON_SCHEMA: ConstraintKind
REGEX: ConstraintKind
GRAMMAR: ConstraintKind
GREEDY: Rule
COUPLED: Rule
REJECTION: Rule
NONE: FinishReason
STOP: FinishReason
LENGTH: FinishReason
INTERNAL: ErrorCode
MALFORMED: ErrorCode
VERSION: ErrorCode
UNAUTHENTICATED: ErrorCode
TOKENIZER_MISMATCH: ErrorCode
OUT_OF_ORDER: ErrorCode
UNKNOWN_STREAM: ErrorCode
STALE_EPOCH: ErrorCode
WRONG_ROUND: ErrorCode
DIVERGED: ErrorCode
OVER_GRANT: ErrorCode
BAD_TOKEN: ErrorCode
BAD_REQUEST: ErrorCode
CAPACITY: ErrorCode
LEASE_EXPIRED: ErrorCode
SUPERSEDED: ErrorCode
SHUTTING_DOWN: ErrorCode
UNKNOWN_PREFIX: ErrorCode

class DrafterFrame(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[DrafterMessage]
    def __init__(self, messages: _Optional[_Iterable[_Union[DrafterMessage, _Mapping]]] = ...) -> None: ...

class VerifierFrame(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[VerifierMessage]
    def __init__(self, messages: _Optional[_Iterable[_Union[VerifierMessage, _Mapping]]] = ...) -> None: ...

class DrafterMessage(_message.Message):
    __slots__ = ("propose", "hello", "open", "cancel", "shadow_draft", "change_mode")
    PROPOSE_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    SHADOW_DRAFT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_MODE_FIELD_NUMBER: _ClassVar[int]
    propose: Propose
    hello: Hello
    open: Open
    cancel: Cancel
    shadow_draft: ShadowDraft
    change_mode: ChangeMode
    def __init__(self, propose: _Optional[_Union[Propose, _Mapping]] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., open: _Optional[_Union[Open, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., shadow_draft: _Optional[_Union[ShadowDraft, _Mapping]] = ..., change_mode: _Optional[_Union[ChangeMode, _Mapping]] = ...) -> None: ...

class VerifierMessage(_message.Message):
    __slots__ = ("verdict", "welcome", "refused", "opened", "load", "error")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    verdict: Verdict
    welcome: Welcome
    refused: Refused
    opened: Opened
    load: Load
    error: Error
    def __init__(self, verdict: _Optional[_Union[Verdict, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., opened: _Optional[_Union[Opened, _Mapping]] = ..., load: _Optional[_Union[Load, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("version", "drafter", "tokenizer_fingerprint", "token")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DRAFTER_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    version: int
    drafter: str
    tokenizer_fingerprint: str
    token: str
    def __init__(self, version: _Optional[int] = ..., drafter: _Optional[str] = ..., tokenizer_fingerprint: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version", "verifier", "model", "model_fingerprint", "vocab_size", "max_context", "max_streams", "max_proposal", "end_tokens", "keeps_prefixes", "grammars")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERIFIER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    VOCAB_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAMS_FIELD_NUMBER: _ClassVar[int]
    MAX_PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    END_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KEEPS_PREFIXES_FIELD_NUMBER: _ClassVar[int]
    GRAMMARS_FIELD_NUMBER: _ClassVar[int]
    version: int
    verifier: str
    model: str
    model_fingerprint: str
    vocab_size: int
    max_context: int
    max_streams: int
    max_proposal: int
    end_tokens: _containers.RepeatedScalarFieldContainer[int]
    keeps_prefixes: bool
    grammars: str
    def __init__(self, version: _Optional[int] = ..., verifier: _Optional[str] = ..., model: _Optional[str] = ..., model_fingerprint: _Optional[str] = ..., vocab_size: _Optional[int] = ..., max_context: _Optional[int] = ..., max_streams: _Optional[int] = ..., max_proposal: _Optional[int] = ..., end_tokens: _Optional[_Iterable[int]] = ..., keeps_prefixes: _Optional[bool] = ..., grammars: _Optional[str] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("code", "reason")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: ErrorCode
    reason: str
    def __init__(self, code: _Optional[_Union[ErrorCode, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("stream", "epoch", "tokens", "num_prompt", "max_tokens", "sampling", "end_tokens", "mode", "logprobs", "top_logprobs", "prompt_logprobs", "known")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_PROMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    END_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    stream: int
    epoch: int
    tokens: _containers.RepeatedScalarFieldContainer[int]
    num_prompt: int
    max_tokens: int
    sampling: Sampling
    end_tokens: _containers.RepeatedScalarFieldContainer[int]
    mode: Mode
    logprobs: bool
    top_logprobs: int
    prompt_logprobs: bool
    known: KnownPrefix
    def __init__(self, stream: _Optional[int] = ..., epoch: _Optional[int] = ..., tokens: _Optional[_Iterable[int]] = ..., num_prompt: _Optional[int] = ..., max_tokens: _Optional[int] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., end_tokens: _Optional[_Iterable[int]] = ..., mode: _Optional[_Union[Mode, str]] = ..., logprobs: _Optional[bool] = ..., top_logprobs: _Optional[int] = ..., prompt_logprobs: _Optional[bool] = ..., known: _Optional[_Union[KnownPrefix, _Mapping]] = ...) -> None: ...

class KnownPrefix(_message.Message):
    __slots__ = ("stream", "length", "digest")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    stream: int
    length: int
    digest: int
    def __init__(self, stream: _Optional[int] = ..., length: _Optional[int] = ..., digest: _Optional[int] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_k", "top_p", "seed", "rule", "min_p", "logit_changes", "constraint")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    LOGIT_CHANGES_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINT_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_k: int
    top_p: float
    seed: int
    rule: Rule
    min_p: float
    logit_changes: LogitChanges
    constraint: Constraint
    def __init__(self, temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., seed: _Optional[int] = ..., rule: _Optional[_Union[Rule, str]] = ..., min_p: _Optional[float] = ..., logit_changes: _Optional[_Union[LogitChanges, _Mapping]] = ..., constraint: _Optional[_Union[Constraint, _Mapping]] = ...) -> None: ...

class Constraint(_message.Message):
    __slots__ = ("kind", "text")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    kind: ConstraintKind
    text: str
    def __init__(self, kind: _Optional[_Union[ConstraintKind, str]] = ..., text: _Optional[str] = ...) -> None: ...

class LogitChanges(_message.Message):
    __slots__ = ("repetition_penalty", "frequency_penalty", "presence_penalty", "logit_bias", "min_tokens", "bad_words", "allowed_tokens")
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_PENALTY_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_PENALTY_FIELD_NUMBER: _ClassVar[int]
    LOGIT_BIAS_FIELD_NUMBER: _ClassVar[int]
    MIN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    BAD_WORDS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    logit_bias: _containers.RepeatedCompositeFieldContainer[TokenBias]
    min_tokens: int
    bad_words: _containers.RepeatedCompositeFieldContainer[BadWord]
    allowed_tokens: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, repetition_penalty: _Optional[float] = ..., frequency_penalty: _Optional[float] = ..., presence_penalty: _Optional[float] = ..., logit_bias: _Optional[_Iterable[_Union[TokenBias, _Mapping]]] = ..., min_tokens: _Optional[int] = ..., bad_words: _Optional[_Iterable[_Union[BadWord, _Mapping]]] = ..., allowed_tokens: _Optional[_Iterable[int]] = ...) -> None: ...

class TokenBias(_message.Message):
    __slots__ = ("token", "bias")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    token: int
    bias: float
    def __init__(self, token: _Optional[int] = ..., bias: _Optional[float] = ...) -> None: ...

class BadWord(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tokens: _Optional[_Iterable[int]] = ...) -> None: ...

class Propose(_message.Message):
    __slots__ = ("stream", "epoch", "round", "committed_length", "committed_crc32", "tokens", "confidences", "draft_probs", "drafting_us")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_LENGTH_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_CRC32_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCES_FIELD_NUMBER: _ClassVar[int]
    DRAFT_PROBS_FIELD_NUMBER: _ClassVar[int]
    DRAFTING_US_FIELD_NUMBER: _ClassVar[int]
    stream: int
    epoch: int
    round: int
    committed_length: int
    committed_crc32: int
    tokens: _containers.RepeatedScalarFieldContainer[int]
    confidences: bytes
    draft_probs: _containers.RepeatedCompositeFieldContainer[SparseProbs]
    drafting_us: int
    def __init__(self, stream: _Optional[int] = ..., epoch: _Optional[int] = ..., round: _Optional[int] = ..., committed_length: _Optional[int] = ..., committed_crc32: _Optional[int] = ..., tokens: _Optional[_Iterable[int]] = ..., confidences: _Optional[bytes] = ..., draft_probs: _Optional[_Iterable[_Union[SparseProbs, _Mapping]]] = ..., drafting_us: _Optional[int] = ...) -> None: ...

class SparseProbs(_message.Message):
    __slots__ = ("id_deltas", "weights")
    ID_DELTAS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    id_deltas: _containers.RepeatedScalarFieldContainer[int]
    weights: bytes
    def __init__(self, id_deltas: _Optional[_Iterable[int]] = ..., weights: _Optional[bytes] = ...) -> None: ...

class ShadowDraft(_message.Message):
    __slots__ = ("stream", "epoch", "round", "committed_length", "tokens", "drafting_us", "saved_us")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_LENGTH_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    DRAFTING_US_FIELD_NUMBER: _ClassVar[int]
    SAVED_US_FIELD_NUMBER: _ClassVar[int]
    stream: int
    epoch: int
    round: int
    committed_length: int
    tokens: _containers.RepeatedScalarFieldContainer[int]
    drafting_us: int
    saved_us: int
    def __init__(self, stream: _Optional[int] = ..., epoch: _Optional[int] = ..., round: _Optional[int] = ..., committed_length: _Optional[int] = ..., tokens: _Optional[_Iterable[int]] = ..., drafting_us: _Optional[int] = ..., saved_us: _Optional[int] = ...) -> None: ...

class ChangeMode(_message.Message):
    __slots__ = ("stream", "epoch", "mode")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    stream: int
    epoch: int
    mode: Mode
    def __init__(self, stream: _Optional[int] = ..., epoch: _Optional[int] = ..., mode: _Optional[_Union[Mode, str]] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("stream", "epoch")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    stream: int
    epoch: int
    def __init__(self, stream: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("stream", "epoch", "cached_tokens")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    stream: int
    epoch: int
    cached_tokens: int
    def __init__(self, stream: _Optional[int] = ..., epoch: _Optional[int] = ..., cached_tokens: _Optional[int] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("stream", "epoch", "round", "num_accepted", "next_token", "committed_length", "grant", "finish", "queue_us", "verify_us", "logprobs", "baseline_us", "elapsed_us", "co_located_tokens", "num_co_located", "shadow", "top_logprobs", "prompt_logprobs", "prompt_top_logprobs")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    NUM_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    NEXT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_LENGTH_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    VERIFY_US_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    BASELINE_US_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_US_FIELD_NUMBER: _ClassVar[int]
    CO_LOCATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_CO_LOCATED_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    stream: int
    epoch: int
    round: int
    num_accepted: int
    next_token: int
    committed_length: int
    grant: int
    finish: FinishReason
    queue_us: int
    verify_us: int
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    baseline_us: int
    elapsed_us: int
    co_located_tokens: _containers.RepeatedScalarFieldContainer[int]
    num_co_located: int
    shadow: int
    top_logprobs: _containers.RepeatedCompositeFieldContainer[TopTokens]
    prompt_logprobs: _containers.RepeatedScalarFieldContainer[float]
    prompt_top_logprobs: _containers.RepeatedCompositeFieldContainer[TopTokens]
    def __init__(self, stream: _Optional[int] = ..., epoch: _Optional[int] = ..., round: _Optional[int] = ..., num_accepted: _Optional[int] = ..., next_token: _Optional[int] = ..., committed_length: _Optional[int] = ..., grant: _Optional[int] = ..., finish: _Optional[_Union[FinishReason, str]] = ..., queue_us: _Optional[int] = ..., verify_us: _Optional[int] = ..., logprobs: _Optional[_Iterable[float]] = ..., baseline_us: _Optional[int] = ..., elapsed_us: _Optional[int] = ..., co_located_tokens: _Optional[_Iterable[int]] = ..., num_co_located: _Optional[int] = ..., shadow: _Optional[int] = ..., top_logprobs: _Optional[_Iterable[_Union[TopTokens, _Mapping]]] = ..., prompt_logprobs: _Optional[_Iterable[float]] = ..., prompt_top_logprobs: _Optional[_Iterable[_Union[TopTokens, _Mapping]]] = ...) -> None: ...

class TopTokens(_message.Message):
    __slots__ = ("tokens", "logprobs")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedScalarFieldContainer[int]
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, tokens: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[float]] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("open_streams", "queued_streams", "kv_used", "kv_capacity", "busy_permille", "waiting_streams", "batch_streams", "batch_tokens")
    OPEN_STREAMS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_STREAMS_FIELD_NUMBER: _ClassVar[int]
    KV_USED_FIELD_NUMBER: _ClassVar[int]
    KV_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    BUSY_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    WAITING_STREAMS_FIELD_NUMBER: _ClassVar[int]
    BATCH_STREAMS_FIELD_NUMBER: _ClassVar[int]
    BATCH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    open_streams: int
    queued_streams: int
    kv_used: int
    kv_capacity: int
    busy_permille: int
    waiting_streams: int
    batch_streams: int
    batch_tokens: int
    def __init__(self, open_streams: _Optional[int] = ..., queued_streams: _Optional[int] = ..., kv_used: _Optional[int] = ..., kv_capacity: _Optional[int] = ..., busy_permille: _Optional[int] = ..., waiting_streams: _Optional[int] = ..., batch_streams: _Optional[int] = ..., batch_tokens: _Optional[int] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "reason", "stream", "epoch")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    code: ErrorCode
    reason: str
    stream: int
    epoch: int
    def __init__(self, code: _Optional[_Union[ErrorCode, str]] = ..., reason: _Optional[str] = ..., stream: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...
