"""The demo: four unlike clients, scenes that show what GoodSpeed brings them, and whether it did."""
