"""The errors that bad input raises. Each one is a ValueError, so that users need to know no other name."""


class UltrError(ValueError):
    """Base of every error that bad input raises: what was wrong, where, how many times, what to do."""


class LogError(UltrError):
    """A click log, table or frame breaks its contract (columns, clicks, positions, grades, features)."""


class FileError(UltrError):
    """A file is missing, truncated, malformed, or written by a newer version of ultr."""


class ConfigError(UltrError):
    """A config file or a setting names something that does not exist or has an impossible value."""


class PropensityError(UltrError):
    """A propensity lies outside (0, 1] or has the wrong shape."""


class ContractError(UltrError):
    """A plug-in (model, metric, estimator, click model) breaks the contract of its room."""


class UltrWarning(UserWarning):
    """Base of the warnings: the answer stands, but not in the way a reader may expect."""


class IdentifiabilityWarning(UltrWarning):
    """Swaps of items over positions do not identify the propensities."""


class CompressionWarning(UltrWarning):
    """Merging pages gains nothing, or drops columns that differ on merged pages."""
