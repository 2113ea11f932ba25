"""Who may propose how much: the policies that share the verification budget, and their estimators."""
