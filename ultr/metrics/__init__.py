"""Query metrics, one a file: `metric(log)` gives one value a page, NaN where undefined; and the scores of predicted probabilities."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Among": "among",
        "AveragePrecision": "average_precision",
        "AverageRelevantPosition": "average_relevant_position",
        "DCG": "dcg",
        "ERR": "err",
        "NDCG": "ndcg",
        "Precision": "precision",
        "PredictionError": "prediction_error",
        "RBP": "rbp",
        "Recall": "recall",
        "ReciprocalRank": "reciprocal_rank",
        "UnbiasedAveragePrecision": "unbiased_average_precision",
        "UnbiasedDCG": "unbiased_dcg",
        "UnbiasedRecall": "unbiased_recall",
        "auc": "classification",
        "calibration_ratio": "classification",
        "expected_calibration_error": "classification",
        "group_auc": "classification",
        "log_likelihood": "click_prediction",
        "log_loss": "classification",
        "perplexity": "click_prediction",
    },
)
