"""GGUF files of the default target in other types of weights, made by llama.cpp."""

from pathlib import Path

from goodspeed.engine.llama_cpp.library import load_library
from goodspeed.models.catalog import locate_gguf

MODEL = "smollm2-135m-instruct"
SHIPPED = "Q4_1"
"""The type of the file in the catalog."""


def quantised(kind: str, folder: Path) -> Path:
    """The default target with weights of the type `kind` (Q4_0, Q8_0, F16), in `folder` unless it is the file's own."""
    source, target = locate_gguf(MODEL), folder / f"{MODEL}.{kind}.gguf"
    if kind == SHIPPED:
        return source
    library = load_library()
    params = library.llama_model_quantize_default_params()
    params.ftype = getattr(library, f"LLAMA_FTYPE_MOSTLY_{kind}")
    params.allow_requantize = True
    if library.llama_model_quantize(str(source).encode(), str(target).encode(), params):
        raise SystemExit(f"llama.cpp cannot make {kind}")
    return target
