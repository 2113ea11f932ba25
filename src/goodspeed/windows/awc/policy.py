"""The window policy of AWC: the network's output, clamped, smoothed and rounded, and the mode that follows from it."""

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from goodspeed.config import config_dataclass, option
from goodspeed.decoding.mode import Mode
from goodspeed.errors import ConfigError
from goodspeed.stats.ewma import Ewma
from goodspeed.windows.awc.features import AwcFeatures
from goodspeed.windows.awc.network import AwcManifest
from goodspeed.windows.window_policy import Window, WindowView

LOCAL_MODES: Final = {"target_only": Mode.TARGET_ONLY, "co_located": Mode.CO_LOCATED}
INITIAL_WINDOW: Final = 4
"""The window before the first decision: DSD's static one."""
FUSED_WINDOW: Final = 1
"""A rounded window up to this one asks for the local mode ("fused" in the paper)."""


@config_dataclass
class AwcConfig:
    """AWC (arXiv 2511.21669). The defaults are the paper's, but for `return_window` (docs/measurements/awc.md)."""

    weights: str = option("", "file of `goodspeed awc train`; empty: the packaged one")
    mode: str = option(
        "target_only", 'mode without remote drafts that it switches to ("fused" in the paper)', choices=LOCAL_MODES
    )
    min_window: float = option(1.0, "smallest window that the network can choose", ge=0.0)
    max_window: float = option(12.0, "largest window that the network can choose", ge=1.0)
    smoothing: float = option(0.4, "weight of the latest window in the smoothed one", gt=0.0, le=1.0)
    hysteresis: int = option(2, "decisions in a row after which the mode changes", ge=1)
    return_window: int = option(6, "rounded windows from this one on ask for remote drafts again (paper: 2)", ge=2)

    def __post_init__(self) -> None:
        if self.min_window > self.max_window:
            raise ConfigError(f"min_window is {self.min_window:g}, expected at most max_window, {self.max_window:g}")


class WindowNetwork(Protocol):
    """What AwcNetwork is to the policy."""

    @property
    def manifest(self) -> AwcManifest:
        """Its scaling is that of the features."""

    def window(
        self,
        vector: npt.NDArray[np.float32],  # [15] of AwcFeatures
    ) -> float:
        """The window, before clamping and smoothing."""


class AwcWindow:
    """The paper's controller, with a state for each link (a drafter and a verifier) that all streams of it share.

    Order of a decision, as in the paper: features, network, clamp, smoothing, rounding, hysteresis.
    """

    def __init__(self, max_tokens: int, config: AwcConfig, network: WindowNetwork) -> None:
        self._max_tokens = max_tokens
        self._config = config
        self._network = network
        self._links: dict[int, AwcLink] = {}

    def mode_of(self, verifier: int) -> Mode:
        """That of the latest decision on the link; DISTRIBUTED before the first."""
        link = self._links.get(verifier)
        return link.mode if link else Mode.DISTRIBUTED

    def next_window(self, view: WindowView) -> Window:
        link = self._links.get(view.verifier)
        if link is None:
            link = self._links[view.verifier] = AwcLink(self._config, self._network)
        window = link.next_window(view)
        if link.mode is not Mode.DISTRIBUTED:
            return Window(0, mode=link.mode)
        return Window(min(window, self._max_tokens, view.grant))


class AwcLink:
    """What AWC knows of one link."""

    def __init__(self, config: AwcConfig, network: WindowNetwork) -> None:
        self.mode = Mode.DISTRIBUTED
        """As of the latest decision."""
        self._config = config
        self._network = network
        self._local_mode = LOCAL_MODES[config.mode]
        self._features = AwcFeatures(network.manifest.scaling)
        self._smoothed = Ewma(config.smoothing)
        self._window = INITIAL_WINDOW  # of the latest decision
        self._num_contrary = 0  # decisions in a row that ask for the other mode

    def next_window(self, view: WindowView) -> int:
        """The window of one more decision, whatever the mode; 1 or less asks for the local mode."""
        config = self._config
        self._features.observe(view, self._window)
        chosen = self._network.window(self._features.vector())
        self._smoothed.observe(min(config.max_window, max(config.min_window, chosen)))
        self._window = int(self._smoothed.get() + 0.5)
        self._update_mode()
        return self._window

    def _update_mode(self) -> None:
        """The mode changes once `hysteresis` decisions in a row ask for the other one."""
        is_remote = self.mode is Mode.DISTRIBUTED
        is_contrary = self._window <= FUSED_WINDOW if is_remote else self._window >= self._config.return_window
        self._num_contrary = self._num_contrary + 1 if is_contrary else 0
        if self._num_contrary == self._config.hysteresis:
            self._num_contrary = 0
            self.mode = self._local_mode if is_remote else Mode.DISTRIBUTED
