"""ultr: unbiased learning to rank and debiasing. Every room is an attribute, loaded when first used."""

from ultr._lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Batch": "training.batch",
        "ClickLog": "data.log",
        "Comparison": "evaluation.comparison",
        "Fields": "data.fields",
        "Items": "data.items",
        "ParquetLog": "data.parquet",
        "RankingData": "data.ranking",
        "Training": "training.settings",
        "evaluate": "evaluation.evaluate",
        "load": "models.files",
        "load_ali_ccp": "data.ali_ccp",
        "load_criteo_attribution": "data.criteo_attribution",
        "load_criteo_impressions": "data.criteo_attribution",
        "load_mac": "data.mac",
        "load_paths": "data.paths",
        "load_rating_matrix": "data.ratings",
        "load_ratings": "data.ratings",
        "load_svmrank": "data.svmrank",
        "load_tiangong": "data.tiangong",
        "read_table": "data.table",
        "synthetic_ranking": "data.synthetic",
    },
    rooms=(
        "attribution",
        "cli",
        "click_models",
        "config",
        "data",
        "diagnostics",
        "engine",
        "errors",
        "estimators",
        "evaluation",
        "metrics",
        "models",
        "propensity",
        "random",
        "rates",
        "testing",
        "training",
    ),
)
