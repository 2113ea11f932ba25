"""Async tests and the toy tokenizer, as for a drafter."""

from tests.drafter.conftest import no_unexpected_failures, pytest_pyfunc_call, tokenizer

__all__ = ["no_unexpected_failures", "pytest_pyfunc_call", "tokenizer"]
