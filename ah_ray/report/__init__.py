"""The report of a run: one page that opens anywhere, made from the run's tables."""
