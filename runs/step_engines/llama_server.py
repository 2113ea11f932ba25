"""llama.cpp's own server from the package xllamacpp: python llama_server.py GGUF THREADS SLOTS {none,lookup}.

Prints its address and serves until the input ends. `lookup`: its prompt lookup (`ngram_simple`) with the pattern and
draft lengths that GoodSpeed's lookup has; with its defaults (12 and 48) it hardly ever finds a match in chat.
"""

import sys

import xllamacpp

PATTERN_TOKENS, DRAFT_TOKENS = 3, 8


def main() -> None:
    path, threads, slots, speculation = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel, params.kv_unified = slots, True
    params.n_ctx = 2048 * slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.use_jinja = True
    if speculation == "lookup":
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        params.speculative.ngram_simple.size_n = PATTERN_TOKENS
        params.speculative.ngram_simple.size_m = DRAFT_TOKENS
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


main()
