"""Which words mean the same: groups of synonyms and emotion wheels, for rules and metrics."""
