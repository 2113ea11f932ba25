"""Runs async tests, each in an event loop of its own and within 30 s. A test fails if anything logs an error."""

import asyncio
import inspect
import logging
from collections.abc import Iterator

import pytest

from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.models.tokenizer import Tokenizer


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine functions; leave all others to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), 30))
    return True


@pytest.fixture(autouse=True)
def no_unexpected_failures(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Servers survive internal failures and log them; a test that provokes one clears caplog."""
    yield
    records = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    assert not [record.getMessage() for record in records if record.levelno >= logging.ERROR]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The toy pair's tokenizer: a token is a byte."""
    folder = tmp_path_factory.mktemp("toy")
    toy_tokenizer(folder)
    return Tokenizer.load(folder)
