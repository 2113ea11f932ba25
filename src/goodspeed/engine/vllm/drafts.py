"""The proposer that vLLM's speculation needs: it proposes nothing, because drafts come with every step."""

from collections.abc import Sequence


class NoDrafts:
    """A proposer of vLLM's method `custom_class`, by duck typing."""

    def __init__(self, vllm_config: object) -> None:
        del vllm_config

    def load_model(self, *_args: object, **_kwargs: object) -> None:
        """Nothing to load."""

    def propose(self, sampled_token_ids: Sequence[Sequence[int]], *_args: object, **_kwargs: object) -> list[list[int]]:
        """No draft for any request."""
        return [[] for _ in sampled_token_ids]
