"""What is done with simulated runs: figures, replications, grids, reports."""
