"""How many tokens a drafter chooses to propose."""
