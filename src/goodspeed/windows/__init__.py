"""Window policies: the choice of how many tokens a drafter proposes (gamma in the papers)."""
