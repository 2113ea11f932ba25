"""vLLM as a target engine: its engine core runs the model and its memory, the acceptance rules are GoodSpeed's."""
