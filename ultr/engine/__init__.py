"""Engines run independent tasks and folds over logs: serial and processes give the same bits."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Dask": "cluster",
        "Engine": "base",
        "Processes": "processes",
        "Serial": "serial",
    },
)
