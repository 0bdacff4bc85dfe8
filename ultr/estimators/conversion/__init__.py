"""Estimators of conversions: a conversion is seen only after a click, and clicks are no random sample of the impressions."""
