"""The vector holds five inputs of three decisions, scaled, the latest first."""

import numpy as np
from msgspec.structs import replace

from goodspeed.windows.awc.features import INPUTS, NUM_FEATURES, AwcFeatures, InputScaling
from goodspeed.windows.window_policy import WindowView

VIEW = WindowView(8, 1.0, 0.04, 0.001, 0.02, tpot_s=0.05, queue_utilisation=0.5, link_acceptance=0.75)


def test_the_first_decision_stands_for_those_before_it() -> None:
    features = AwcFeatures(InputScaling())
    features.observe(VIEW, 4)
    vector = features.vector()
    assert vector.shape == (NUM_FEATURES,)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, [0.5, 0.75, 0.04, 0.05, 4.0] * 3, rtol=1e-6)


def test_the_vector_is_that_of_the_last_three_decisions_and_of_nothing_else() -> None:
    features = AwcFeatures(InputScaling())
    for i in range(5):
        features.observe(replace(VIEW, rtt_s=float(i), acceptance_rate=0.1 * i, verify_s=float(i)), 10 + i)
    vector = features.vector().reshape(3, len(INPUTS))
    assert vector[:, INPUTS.index("rtt_s")].tolist() == [4.0, 3.0, 2.0]
    assert vector[:, INPUTS.index("previous_window")].tolist() == [14.0, 13.0, 12.0]
    assert vector[:, INPUTS.index("queue_utilisation")].tolist() == [0.5] * 3


def test_inputs_are_scaled() -> None:
    features = AwcFeatures(InputScaling((0.5, 0.0, 0.04, 0.0, 4.0), (1.0, 0.5, 1.0, 0.025, 2.0)))
    features.observe(VIEW, 6)
    np.testing.assert_allclose(features.vector(), [0.0, 1.5, 0.0, 2.0, 1.0] * 3, atol=1e-6)
