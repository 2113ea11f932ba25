"""EvaluationReport of draft engines on recorded answers."""
