"""LightGBM's parameters under LightGBM's own names, checked: what is unknown, set elsewhere, or without effect here is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from ultr.data.checks import within
from ultr.errors import ConfigError
from ultr.imports import nearest

Parameter = bool | int | float | str | Sequence[float] | Sequence[str]

_SET_HERE = {
    "objective": "debias and label choose the objective",
    "lambdarank_norm": "use normalise=",
    "seed": "use fit(log, seed=)",
    "deterministic": "it is always true",
    "metric": "held-out queries are watched by the estimator's own criterion",
    "verbosity": "LightGBM is kept silent",
}
_SETTINGS = {"num_iterations": "rounds", "early_stopping_round": "patience", "num_threads": "threads"}  # of ours, by LightGBM's names
_LAMBDARANK = frozenset(("label_gain", "lambdarank_truncation_level", "sigmoid"))  # read by LightGBM's own objective alone
_POSITION = frozenset(("lambdarank_position_bias_regularization",))
_ELSEWHERE = """
alpha auc_mu_weights boost_from_average config convert_model convert_model_language data early_stopping_min_delta eval_at fair_c
first_metric_only group_column header ignore_column input_model is_provide_training_metric is_unbalance label_column local_listen_port
machine_list_filename machines metric_freq multi_error_top_k neg_bagging_fraction num_class num_iteration_predict num_machines
objective_seed output_model output_result parser_config_file poisson_max_delta_step pos_bagging_fraction pre_partition
precise_float_parser pred_early_stop pred_early_stop_freq pred_early_stop_margin predict_contrib predict_disable_shape_check
predict_leaf_index predict_raw_score refit_decay_rate reg_sqrt save_binary saved_feature_importance_type scale_pos_weight snapshot_freq
start_iteration_predict task time_out tree_learner tweedie_variance_power two_round valid weight_column
"""  # read by LightGBM's command line, by prediction, or by objectives that do not rank
_NO_EFFECT = frozenset(_ELSEWHERE.split())


@lru_cache(maxsize=1)
def _canonical_names() -> dict[str, str]:
    """Every name and alias that LightGBM knows -> the parameter's main name."""
    from lightgbm.basic import _ConfigAliases  # the only list there is in Python; it comes from LightGBM's C interface

    aliases = _ConfigAliases._get_all_param_aliases()
    return {alias: name for name, others in aliases.items() for alias in (name, *others)}


def settings_among(parameters: Mapping[str, Parameter], by: str) -> tuple[dict[str, Parameter], dict[str, Parameter]]:
    """Take out what the estimator has settings for: trees, patience and threads; and a verbosity of 0 or less, as silent as it is anyway.

    Returns:
        The other parameters, and name -> value of the estimator's settings.

    Raises:
        ConfigError: parameters are no mapping, or one stands there under two names.
    """
    if not isinstance(parameters, Mapping):
        raise ConfigError(f"{by}: parameters must be name -> value under LightGBM's names, not {parameters!r}.")
    rest: dict[str, Parameter] = {}
    settings: dict[str, Parameter] = {}
    for name, value in parameters.items():
        main = _canonical_names().get(name, "")
        if main in _SETTINGS:
            if _SETTINGS[main] in settings:
                raise ConfigError(f"{by}: parameters give {main!r} twice, under different names.")
            settings[_SETTINGS[main]] = value
        elif main != "verbosity" or not within(value, "(-inf, 0]"):
            rest[name] = value
    return rest, settings


def checked_parameters(parameters: Mapping[str, Parameter], *, by: str, lambdarank: bool, position: bool) -> dict[str, Parameter]:
    """Return parameters under LightGBM's main names.

    Args:
        parameters: Name or alias -> value; values are LightGBM's to check.
        by: Who asks, for messages.
        lambdarank: Whether LightGBM's own lambdarank is the objective.
        position: Whether it is given positions.

    Raises:
        ConfigError: a name is unknown, stands for a parameter twice, is set by an argument, or has no effect; the message names it.
    """
    found: dict[str, Parameter] = {}
    for name, value in parameters.items():
        known = _canonical_names()
        if name not in known:
            raise ConfigError(f"{by}: LightGBM has no parameter {name!r}.{nearest(str(name), known)}")
        main = known[name]
        alias = "" if main == name else f" (LightGBM's {main})"
        if main in found:
            raise ConfigError(f"{by}: parameters give {main!r} twice, under different names.")
        if main in _SET_HERE:
            raise ConfigError(f"{by}: parameters must not hold {name!r}{alias}: {_SET_HERE[main]}.")
        useless = main in _NO_EFFECT or (main in _LAMBDARANK and not lambdarank) or (main in _POSITION and not position)
        if useless:
            raise ConfigError(f"{by}: the parameter {name!r}{alias} has no effect with this objective; leave it out.")
        found[main] = value
    return found
