"""Logs, items and graded sets: the containers and their readers, one reader a file."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Chunked": "source",
        "ClickLog": "log",
        "Fields": "fields",
        "Items": "items",
        "LogSource": "source",
        "ParquetLog": "parquet",
        "RankingData": "ranking",
        "all_items": "candidates",
        "item_counts": "popularity",
        "load_ali_ccp": "ali_ccp",
        "load_aol": "aol",
        "load_criteo_attribution": "criteo_attribution",
        "load_criteo_impressions": "criteo_attribution",
        "load_mac": "mac",
        "load_paths": "paths",
        "load_qrels": "trec",
        "load_rating_matrix": "ratings",
        "load_ratings": "ratings",
        "load_run": "trec",
        "load_svmrank": "svmrank",
        "load_tiangong": "tiangong",
        "load_trec_sessions": "trec_sessions",
        "load_yandex": "yandex",
        "read_table": "table",
        "synthetic_ranking": "synthetic",
        "write_qrels": "trec",
        "write_run": "trec",
    },
    rooms=("filters",),
)
