"""Readers of ratings: every usual layout gives the same log, and whatever is wrong is named with its line."""

import gzip

import numpy as np
import pytest

import ultr
from ultr.errors import ConfigError, FileError, LogError
from ultr.estimators import WMF

RATINGS = [(7, 3, 5), (7, 1, 2), (2, 3, 4), (5, 9, 1), (2, 1, 5)]


def written(path, lines, separator="\t", header=None):
    text = "\n".join([*([header] if header else []), *(separator.join(map(str, line)) for line in lines)]) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def check(log, users=(2, 5, 7), items=(1, 3, 9)):
    assert log.page_columns["user"].tolist() == list(users)
    assert log.items.ids.tolist() == list(items)
    assert log.offsets.tolist() == [0, 2, 2, 3]
    assert log.columns["item"].tolist() == [1, 0, 1]
    assert log.columns["rating"].tolist() == [4, 5, 5]
    assert log.columns["click"].tolist() == [1, 1, 1]
    assert "position" not in log.columns


@pytest.mark.parametrize("separator", ["\t", ",", ";", "::", " "])
@pytest.mark.parametrize("name", ["u.data", "ratings.csv.gz"])
def test_layouts_without_a_header(tmp_path, separator, name):
    with_time = [(*line, 880000000 + i) for i, line in enumerate(RATINGS)]
    check(ultr.load_ratings(written(tmp_path / name, with_time, separator)))
    check(ultr.load_ratings(written(tmp_path / name, RATINGS, separator)))


def test_fields_in_another_order_and_a_header(tmp_path):
    turned = [(rating, user, item) for user, item, rating in RATINGS]
    check(ultr.load_ratings(written(tmp_path / "a.tsv", turned), columns=("rating", "user", "item")))
    file = written(tmp_path / "ratings.csv", [(*line, 1) for line in RATINGS], ",", header="userId,movieId,rating,timestamp")
    check(ultr.load_ratings(file, columns=("userId", "movieId", "rating")))


def test_ids_may_be_words_and_the_bound_is_an_argument(tmp_path):
    file = written(tmp_path / "r.tsv", [("ann", "x", 3), ("bob", "y", 1)])
    log = ultr.load_ratings(file, positive=2)
    assert log.page_columns["user"].tolist() == ["ann", "bob"]
    assert log.lengths.tolist() == [1, 0]
    fitted = WMF(training=ultr.Training(steps=3, validation=0)).fit(log)
    assert fitted.score_users(["bob", "ann", "nobody"]).shape == (3, 2)


def test_a_matrix_of_ratings(tmp_path):
    file = tmp_path / "train.ascii"
    file.write_text("0 5 1\n0 0 0\n4 0 5\n")
    log = ultr.load_rating_matrix(file)
    assert log.lengths.tolist() == [1, 0, 2]
    assert log.columns["item"].tolist() == [1, 0, 2]
    assert len(log.items) == 3
    assert np.array_equal(log.page_columns["user"], [0, 1, 2])


@pytest.mark.parametrize(
    ("text", "settings", "error", "message"),
    [
        ("", {}, FileError, "is empty"),
        ("1\t2\t3\n1\t2\tgood\n", {}, FileError, "line 2 has '1', '2', 'good'; 1 of 2 lines"),
        ("1\t2\t3\n1\t\t3\n", {}, FileError, "line 2 has"),
        ("1\t2\n", {}, FileError, "line 1: 2 fields, but columns names 3"),
        ("1\t2\t3\n1\t2\t4\n", {}, LogError, "user 1 has rated item 2 twice; 1 of 2"),
        ("userId,movieId,rating\n1,2,3\n", {}, ConfigError, "its header is userId, movieId, rating. Did you mean 'userId'"),
        ("1\t2\t3\n", {"columns": ("a", "b", "c")}, ConfigError, "it has no header, so they must include 'user'"),
        ("1\t2\t3\n", {"columns": ("user", "item")}, ConfigError, "does not say where"),
        ("1\t2\t3\n", {"positive": "4"}, ConfigError, "positive must be a number"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, settings, error, message):
    file = tmp_path / "r.tsv"
    file.write_text(text)
    with pytest.raises(error, match=message):
        ultr.load_ratings(file, **settings)


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("1 2\n1\n", "is no matrix"), ("1 a\n", "is no matrix")])
def test_a_broken_matrix_is_named(tmp_path, text, message):
    file = tmp_path / "m.ascii"
    file.write_text(text)
    with pytest.raises(FileError, match=message):
        ultr.load_rating_matrix(file)
    with pytest.raises(FileError, match="There is no file"):
        ultr.load_rating_matrix(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="positive must be a number"):
        ultr.load_rating_matrix(file, positive=None)


def test_all_ratings_and_the_items_of_another_file(tmp_path):
    train, test = tmp_path / "train", tmp_path / "test"
    train.write_text("1\t10\t5\n1\t30\t2\n2\t20\t4\n")
    test.write_text("2\t30\t1\n2\t10\t4\n")
    log = ultr.load_ratings(train, rows="all")
    assert log.columns["click"].tolist() == [1, 0, 1]
    assert log.columns["rating"].tolist() == [5, 2, 4]
    own = ultr.load_ratings(test, rows="all")
    assert own.columns["item"].tolist() == [1, 0]
    shared = ultr.load_ratings(test, rows="all", items=log.items)
    assert shared.columns["item"].tolist() == [2, 0]
    assert shared.items is log.items
    with pytest.raises(LogError, match="item 20 is not among the 2 items given; 1 of 3 ratings"):
        ultr.load_ratings(train, items=own.items)
    with pytest.raises(ConfigError, match="rows must be 'positive' or 'all'"):
        ultr.load_ratings(train, rows="every")


def test_all_entries_of_a_matrix(tmp_path):
    path = tmp_path / "train.ascii"
    path.write_text("5 0 1\n0 4 0\n")
    assert ultr.load_rating_matrix(path).columns["rating"].tolist() == [5, 4]
    assert ultr.load_rating_matrix(path, rows="all").columns["rating"].tolist() == [5, 1, 4]


def test_ids_stay_as_they_are_written(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("\ufeffuser,item,rating\n007,0195,5\n7,195,4\nNA,null,5\n\n1e5,x,3\n", encoding="utf-8")
    log = ultr.load_ratings(path, rows="all")
    assert log.page_columns["user"].tolist() == ["007", "1e5", "7", "NA"]
    assert log.items.ids.tolist() == ["0195", "195", "null", "x"]
    path.write_text("user,item,rating\n10,3,5\n9,20,4\n")
    log = ultr.load_ratings(path)
    assert log.page_columns["user"].tolist() == [9, 10]
    assert log.items.ids.tolist() == [3, 20]


def test_lines_are_counted_as_they_stand(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,rating\n\n\n1,2,5\n1,,4\n")
    with pytest.raises(FileError, match=r"line 5 has '1', '', .*1 of 2 lines is wrong"):
        ultr.load_ratings(path)
    path.write_text("user,item,rating\n")
    with pytest.raises(FileError, match="has a header, but no rating"):
        ultr.load_ratings(path)
    for wrong in ({"items": [1, 2]}, {"columns": None}):
        with pytest.raises(ConfigError, match=r"load_ratings: (items must be the Items|columns must be a list)"):
            ultr.load_ratings(path, **wrong)


def test_a_matrix_without_numbers_says_so(tmp_path):
    path = tmp_path / "train.ascii"
    path.write_text("5 0 1\n0 nan 0\n")
    with pytest.raises(FileError, match="line 2 has nan for item 1; 1 entries are wrong"):
        ultr.load_rating_matrix(path)
    path.write_text("5,0,1\n")
    with pytest.raises(FileError, match="numbers separated by blanks and one line a user"):
        ultr.load_rating_matrix(path)
