"""Estimators of the credit of a touch, by several attribution rules at once."""
