"""Evaluation: metrics against labels, and the check that nothing leaked."""
