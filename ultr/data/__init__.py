"""Logs, items and graded sets: the containers and their readers, one reader a file."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ClickLog": "log",
        "Fields": "fields",
        "Items": "items",
        "LogSource": "source",
        "Chunked": "source",
        "all_items": "candidates",
        "item_counts": "popularity",
        "ParquetLog": "parquet",
        "RankingData": "ranking",
        "load_ali_ccp": "ali_ccp",
        "load_criteo_attribution": "criteo_attribution",
        "load_criteo_impressions": "criteo_attribution",
        "load_mac": "mac",
        "load_paths": "paths",
        "load_rating_matrix": "ratings",
        "load_ratings": "ratings",
        "load_svmrank": "svmrank",
        "load_tiangong": "tiangong",
        "read_table": "table",
        "synthetic_ranking": "synthetic",
    },
    rooms=("filters",),
)
