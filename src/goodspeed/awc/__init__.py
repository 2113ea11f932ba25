"""AWC's training: random scenarios, sweeps over the window, the network's weights, and their evaluation."""
