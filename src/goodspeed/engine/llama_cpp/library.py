"""The C API of llama.cpp, from the package llama-cpp-python, whose structs always fit the library that it ships."""

import ctypes
import functools
import importlib
import logging
from typing import Any

from goodspeed.errors import ConfigError
from goodspeed.extras import missing_extra

log = logging.getLogger(__name__)

REQUIRED = (
    "llama_decode",
    "llama_get_logits",
    "llama_init_from_model",
    "llama_memory_seq_cp",
    "llama_memory_seq_rm",
    "llama_model_is_hybrid",
    "llama_model_load_from_file",
    "llama_state_seq_set_data",
)
"""Functions that older or much newer releases may lack."""
CONTEXT_FIELDS = ("flash_attn_type", "kv_unified", "swa_full")
TRIED_VERSIONS = "0.3.36"
LOG_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.INFO, 4: logging.WARNING}
"""llama.cpp logs a page at its level info when it loads a model, and warns of what is chosen here on purpose."""
CONTINUED = 5


@functools.cache
def load_library() -> Any:
    """The module with the functions of llama.cpp. Raises ConfigError if it is missing or does not fit."""
    try:
        library = importlib.import_module("llama_cpp.llama_cpp")
    except (ImportError, OSError, RuntimeError) as error:  # the package raises the last two for a broken library
        raise ConfigError(missing_extra("the engine llama_cpp", "llama", error)) from error
    fields = {name for name, *_ in library.llama_context_params._fields_}
    missing = [name for name in REQUIRED if not hasattr(library, name)]
    missing += [f"llama_context_params.{name}" for name in CONTEXT_FIELDS if name not in fields]
    if missing:
        raise ConfigError(f"llama-cpp-python lacks {missing[0]}; tried versions: {TRIED_VERSIONS}")
    _LOG_LINES.attach(library)
    library.llama_backend_init()
    return library


def first_error() -> str:
    """The first error that llama.cpp has logged since the last call: the cause of those after it."""
    return _LOG_LINES.take_first_error()


class _LogLines:
    """Passes the lines of llama.cpp to our logger, and keeps the first error for the text of an exception."""

    def __init__(self) -> None:
        self._callback: Any = None  # ctypes does not keep it alive
        self._level = logging.DEBUG
        self._first_error = ""

    def attach(self, library: Any) -> None:
        self._callback = library.llama_log_callback(self._on_text)
        library.llama_log_set(self._callback, ctypes.c_void_p(0))

    def take_first_error(self) -> str:
        error, self._first_error = self._first_error, ""
        return error

    def _on_text(self, level: int, text: bytes, _user_data: object) -> None:
        line = text.decode(errors="replace").strip()
        if level != CONTINUED:
            self._level = LOG_LEVELS.get(level, logging.DEBUG)
        if not line or set(line) == {"."}:  # dots show the progress of loading
            return
        if self._level == logging.WARNING:
            self._first_error = self._first_error or line
        log.log(self._level, line)


_LOG_LINES = _LogLines()
