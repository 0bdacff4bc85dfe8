"""Ali-CCP: the two files are joined, every field becomes a column, and whatever is wrong is named with its file and line."""

import gzip
import warnings

import numpy as np
import pytest

from ultr.data.ali_ccp import FIELDS, load_ali_ccp
from ultr.data.fields import Fields
from ultr.errors import ConfigError, FileError, UltrWarning
from ultr.estimators.conversion.esmm import ESMM
from ultr.training.settings import Training


def features(*triples):
    return f"{len(triples)}," + "\x01".join(f"{name}\x02{number}\x03{value}" for name, number, value in triples)


USER_A = "a," + features(("101", 7, 1.0), ("109_14", 31, 0.5), ("109_14", 32, 2.5), ("109_14", 33, 2.5))
USER_B = "b," + features(("101", 8, 1.0), ("999", 5, 1.0))
SKELETON = [
    "1,0,0,b," + features(("205", 50, 1.0), ("301", 9, 1.0)),
    "2,1,0,a," + features(("205", 40, 1.0), ("301", 9, 1.0)),
    "3,1,1,a," + features(("205", 50, 1.0)),
]


def written(folder, skeleton=SKELETON, common=(USER_A, USER_B), end="\n"):
    """Write both files and return their paths."""
    for name, lines in (("skeleton.csv", skeleton), ("common.csv", common)):
        (folder / name).write_text("\n".join(lines) + (end if lines else ""))
    return folder / "skeleton.csv", folder / "common.csv"


def test_the_two_files_are_joined_by_hand(tmp_path):
    log = load_ali_ccp(*written(tmp_path), fields=("101", "109_14", "205", "301"))
    assert log.lengths.tolist() == [1, 1, 1]
    assert {name: values.tolist() for name, values in log.columns.items() if name not in ("109_14", "301")} == {
        "item": [1, 0, 1],
        "click": [0, 1, 1],
        "conversion": [0, 0, 1],
        "101": [8, 7, 7],
        "205": [50, 40, 50],
    }
    assert log.items.ids.tolist() == [40, 50]
    np.testing.assert_array_equal(log.columns["109_14"], [np.nan, 32, 32])  # the largest value, and of equal ones the first
    np.testing.assert_array_equal(log.columns["301"], [9, 9, np.nan])
    assert log.columns["101"].dtype == np.int32


def test_what_the_impression_says_itself_comes_before_what_it_shares(tmp_path):
    own = "4,0,0,a," + features(("205", 50, 1.0), ("101", 99, 1.0))
    log = load_ali_ccp(*written(tmp_path, [*SKELETON, own]), fields=("101",))
    assert log.columns["101"].tolist() == [8, 7, 7, 99]
    assert "205" not in log.columns


def test_all_fields_are_read_unless_others_are_named(tmp_path):
    log = load_ali_ccp(*written(tmp_path))
    assert len(FIELDS) == 23
    assert set(log.columns) == {"item", "click", "conversion", *FIELDS}
    assert np.isnan(log.columns["853"]).all()
    assert load_ali_ccp(*written(tmp_path), fields=["999"]).columns["999"][0] == 5  # unknown, but there


def test_purchases_without_a_click_and_repeated_samples_are_dropped_with_a_warning(tmp_path):
    orphan, again = SKELETON[0].replace("1,0,0,", "9,0,1,"), SKELETON[1]
    with pytest.warns(UltrWarning, match="dropped 1 purchases without a click and 1 samples that were there before, of 5 impressions"):
        log = load_ali_ccp(*written(tmp_path, [*SKELETON, orphan, again]), fields=("101",))
    assert log.columns["click"].tolist() == [0, 1, 1]
    assert log.columns["101"].tolist() == [8, 7, 7]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_ali_ccp(*written(tmp_path), fields=("101",))
    with pytest.raises(FileError, match="no impression is left: all 1"), pytest.warns(UltrWarning):
        load_ali_ccp(*written(tmp_path, [orphan]), fields=("101",))


def test_max_rows_reads_the_first_impressions_and_needs_only_their_common_features(tmp_path):
    log = load_ali_ccp(*written(tmp_path, common=[USER_B]), fields=("101",), max_rows=1)
    assert log.columns["101"].tolist() == [8]
    broken = [*SKELETON[:2], "not read"]
    assert len(load_ali_ccp(*written(tmp_path, broken), max_rows=2)) == 2


def test_packed_files_and_files_without_a_last_line_end(tmp_path):
    paths = written(tmp_path, end="")
    plain = load_ali_ccp(*paths)
    for path in paths:
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = load_ali_ccp(*paths)
    for name in plain.columns:
        np.testing.assert_array_equal(plain.columns[name], packed.columns[name])


@pytest.mark.parametrize(
    ("skeleton", "common", "message"),
    [
        ([], [USER_A], r"skeleton.csv is empty: its lines are sample_id, click"),
        (SKELETON, [], r"common.csv is empty: its lines are common_feature_id"),
        (["sample_id,click,purchase,common,n,features"], [USER_A], r"skeleton.csv, line 1: sample_id must be a whole number"),
        ([SKELETON[0], "2,2,0,a,0,"], [USER_A], r"skeleton.csv, line 2: click must be a whole number in 0..1, not '2'"),
        ([SKELETON[0], "2,1,x,a,0,"], [USER_A], r"line 2: purchase must be a whole number in 0..1, not 'x'"),
        ([SKELETON[0], "2,1,0,a"], [USER_A], r"line 2: 4 fields where sample_id, .* are 6. Is it truncated"),
        ([SKELETON[0], "", SKELETON[1]], [USER_A], r"line 2: 1 fields where"),
        ([SKELETON[0], SKELETON[1].rpartition("\x01")[0]], [USER_A], r"line 2: 1 features, but n_features is 2. It may be truncated"),
        (["1,0,0,a,1,205:40:1.0"], [USER_A], r"line 1: a feature must be field .x02 id .x03 value, not '205:40:1.0'"),
        (["1,0,0,a," + features(("205", "x", 1))], [USER_A], r"line 1: 205 must be a whole number .*, not 'x'"),
        (["1,0,0,a," + features(("205", 2**31, 1))], [USER_A], r"line 1: 205 must be"),
        (
            ["1,0,0,a," + features(("205", 1, 1), ("205", 2, "nan"))],
            [USER_A],
            r"line 1: the value of field 205 must be a number, not 'nan'",
        ),
        (["1,0,0,a,1,205\x0240"], [USER_A], r"line 1: the value of field 205 must be a number, not ''"),
        (SKELETON, [USER_A], r"skeleton.csv, line 1: the common features 'b' are not in .*common.csv; 1 of 2 are missing"),
        (SKELETON, [USER_A, USER_B, "a,0,"], r"common.csv, line 3: 'a' was there before, with other features"),
        ([*SKELETON, "4,0,0,a,0,"], [USER_A, USER_B], r"skeleton.csv, line 4: no item \(field 205\).*so for 1 of 4"),
    ],
)
def test_what_cannot_be_read_is_named_with_file_and_line(tmp_path, skeleton, common, message):
    with pytest.raises(FileError, match=message):
        load_ali_ccp(*written(tmp_path, skeleton, common))


def test_common_features_may_be_repeated_as_they_are(tmp_path):
    assert len(load_ali_ccp(*written(tmp_path, common=[USER_A, USER_B, USER_A]))) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fields": "101"}, "fields must be a list of names"),
        ({"fields": ()}, "fields must be a list of names"),
        ({"fields": ("click",)}, "'click' is no field"),
        ({"fields": ("109_15",)}, "no impression has the field '109_15'. Did you mean '109_14'"),
        ({"max_rows": 0}, "max_rows must be a whole number of at least 1, or None, not 0"),
        ({"max_rows": True}, "max_rows must be"),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        load_ali_ccp(*written(tmp_path), **settings)


def test_a_missing_or_damaged_file_is_named(tmp_path):
    skeleton, common = written(tmp_path)
    with pytest.raises(FileError, match=r"There is no file .*skeleton.tsv.* Did you mean 'skeleton.csv'"):
        load_ali_ccp(tmp_path / "skeleton.tsv", common)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(skeleton.read_bytes())[:-12])
    with pytest.raises(FileError, match=r"cut.csv.gz cannot be read after line"):
        load_ali_ccp(tmp_path / "cut.csv.gz", common)


def test_an_estimator_reads_the_fields(tmp_path):
    rng = np.random.default_rng(0)
    users = [f"u{i}," + features(("101", i, 1.0)) for i in range(20)]
    lines = []
    for sample in range(400):
        click = int(rng.random() < 0.4)
        lines.append(f"{sample},{click},{int(click and rng.random() < 0.4)},u{sample % 20}," + features(("205", sample % 7, 1.0)))
    log = load_ali_ccp(*written(tmp_path, lines, users), fields=("101", "205"))
    fields = Fields(categorical={"101": "vocabulary", "205": "vocabulary"})
    fitted = ESMM(fields=fields, towers=(), training=Training(steps=5, batch_pages=64, validation=0)).fit(log)
    assert fitted.predict(log).shape == (400, 3)
