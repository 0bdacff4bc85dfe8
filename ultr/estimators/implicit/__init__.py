"""Estimators for implicit feedback: what was clicked is known, the rest is unlabelled."""
