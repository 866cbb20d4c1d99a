"""Loss terms, each a pure function named after its equation, and the objective that weighs them."""
