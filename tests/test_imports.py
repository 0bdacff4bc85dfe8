"""`import ultr` stays light, every public name is what it says, and the promised names are there."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import types
import typing

import pytest

import simulators
import ultr
from ultr.imports import nearest

HEAVY = ("torch", "pandas", "scipy.stats", "sklearn", "duckdb", "lightgbm", "matplotlib", "pyarrow", "joblib", "dask", "safetensors")
NUMPY_FLOORS = ("click_models", "attribution", "metrics", "rates", "diagnostics", "engine", "data", "errors", "random")
ROOMS = [ultr.__name__, simulators.__name__] + [
    module.name for root in (ultr, simulators) for module in pkgutil.walk_packages(root.__path__, f"{root.__name__}.") if module.ispkg
]

PROMISED = {
    "ultr": "Batch ClickLog Comparison Fields Items ParquetLog RankingData Training evaluate import_table load"
    " load_baidu_ultr load_ratings load_svmrank read_table synthetic_ranking",
    "ultr.attribution": "FirstTouch LastTouch Linear TimeDecay UShaped Shapley MarkovRemoval",
    "ultr.click_models": "ClickModel PositionBased TrustBias Cascade DependentClick SimplifiedDynamicBayesian DynamicBayesian ClickChain"
    " UserBrowsing Mixture GlobalRate RankRate ItemRate ItemRankRate",
    "ultr.data": "ClickLog ParquetLog all_items count_cells import_table item_counts load_baidu_ultr",
    "ultr.data.filters": "RobotTraffic DoubleClicks ShortDwell Bursts masked masked_pairs summary",
    "ultr.engine": "Engine Serial Processes Dask",
    "ultr.estimators": "Naive IPS DLA Oracle UnbiasedLambdaMART AffineCorrection PolicyAware DoublyRobust CascadeIPS"
    " RegressionEM TwoTower PairDebias WMF ExpoMF RelMF BPR UBPR CJMF DoublyRobustMF BISER RatingMF"
    " NaiveCVR ESMM MultiIPW MultiDR ESCM2 DCMT SharedBottom MMoE PLE HoME NATAL MoAE",
    "ultr.evaluation": "effective_sample_size identifiability overlap off_policy_value",
    "ultr.metrics": "NDCG DCG ERR AveragePrecision ReciprocalRank Precision Recall AverageRelevantPosition RBP"
    " QMeasure INST BPM CWL NUM UMeasure SessionDCG NormalisedSessionDCG ExpectedSessionNDCG SessionRBP RecencySessionDCG RecencySessionRBP"
    " auc group_auc log_loss calibration_ratio expected_calibration_error",
    "ultr.models": "Linear MLP SetTransformer",
    "ultr.propensity": "ByPosition PowerLaw Popularity Harvested Randomised Tower attach",
    "ultr.rates": "unbiased_risk shrink ShrunkRates",
    "ultr.testing": "check_propensity check_click_model check_estimator check_metric",
    "ultr.training": "Batch Training weights",
    "simulators": "ClickSource Conversions LinearPolicy RandomPolicy PlackettLuce SwapPairs GradedRelevance MissingNotAtRandom"
    " RatingsWorld Journeys simulate_sessions simulate_clicks eye_tracking_examination",
}


def loaded_after(code):
    """The modules that a fresh interpreter has loaded after running some code."""
    out = subprocess.run([sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def test_import_ultr_loads_nothing_heavy():
    assert not loaded_after("import ultr, simulators") & set(HEAVY)
    assert not loaded_after("import ultr; dir(ultr); ultr.ClickLog; ultr.Training; ultr.testing; ultr.estimators") & set(HEAVY)


def test_the_numpy_floors_load_no_torch():
    code = "import ultr, importlib\n" + "\n".join(
        f"room = importlib.import_module('ultr.{room}'); [getattr(room, name) for name in getattr(room, '__all__', [])]"
        for room in NUMPY_FLOORS
    )
    assert "torch" not in loaded_after(code)


def test_importing_changes_no_global_generator():
    code = (
        "import random, numpy; random.seed(1); numpy.random.seed(1); import ultr, simulators\n"
        "for room in (ultr.data, ultr.metrics, ultr.click_models, ultr.training, ultr.models, ultr.propensity, ultr.estimators):\n"
        "    [getattr(room, name) for name in room.__all__]\n"
        "a, b = random.random(), numpy.random.random(); random.seed(1); numpy.random.seed(1)\n"
        "assert (a, b) == (random.random(), numpy.random.random())"
    )
    loaded_after(code)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_what_it_says(room):
    module = importlib.import_module(room)
    for info in pkgutil.iter_modules(module.__path__):  # a part must not hide behind the module that defines it
        if info.name != "__main__":
            importlib.import_module(f"{room}.{info.name}")
    for name in getattr(module, "__all__", []):
        value = getattr(module, name)
        if isinstance(value, types.ModuleType):
            assert value.__name__ == f"{room}.{name}"
            defined = [part for part in vars(value).values() if getattr(part, "__name__", "") == name and not inspect.ismodule(part)]
            assert not defined, f"{room}.{name} is a module: its {name} cannot be reached by that name"
        elif inspect.isclass(value) or inspect.isfunction(value):
            assert value.__module__.split(".")[0] in ("ultr", "simulators")
            assert value.__name__ == name
            assert "._lazy" not in value.__module__
            assert inspect.getdoc(value), f"{room}.{name} has no docstring"
        else:
            assert typing.get_origin(value), f"{room}.{name} is neither a class, a function, a room nor a type"
        assert name in dir(module)


@pytest.mark.parametrize("room", PROMISED)
def test_promised_names_are_there(room):
    module = importlib.import_module(room)
    for name in PROMISED[room].split():
        assert getattr(module, name) is getattr(module, name)
        assert name in module.__all__


def test_rooms_are_attributes_of_ultr():
    for room in (
        "attribution",
        "data",
        "metrics",
        "estimators",
        "training",
        "models",
        "propensity",
        "click_models",
        "evaluation",
        "testing",
        "diagnostics",
        "rates",
    ):
        assert getattr(ultr, room).__name__ == f"ultr.{room}"


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match=r"module 'ultr.estimators' has no attribute 'Dla'. It has: .*DLA.*IPS"):
        _ = ultr.estimators.Dla


def test_the_nearest_name_or_the_one_that_is_abbreviated():
    known = ["click", "conversion", "confidence"]
    assert nearest("clik", known) == " Did you mean 'click'?"
    assert nearest("conv", known) == " Did you mean 'conversion'?"
    assert nearest("co", known) == nearest("price", known) == nearest("", known) == ""
