"""The drafter's core: what to propose, and how a stream survives lost links. Pure: facts in, decisions out."""
