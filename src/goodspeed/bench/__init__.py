"""Load, clusters, comparisons and profiles: how the figures in the docs are made."""
