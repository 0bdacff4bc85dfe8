"""Estimators of a ranker from logged clicks."""
