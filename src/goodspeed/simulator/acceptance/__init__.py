"""Which draft tokens the target would accept: generators, recordings, fits."""
