"""The same content of a text file gives the same result however it is written, in every package that reads text."""

import codecs
import itertools
import json
import shutil
import unicodedata
from dataclasses import replace

import pytest
from PIL import Image

from evaluation.benchmarks import gldv2_files
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.csv_lists import csv_lists
from evaluation.benchmarks.folders import folders
from evaluation.benchmarks.gldv2_votes import read_classes
from evaluation.benchmarks.groundtruth import load, to_json
from evaluation.benchmarks.method import Alignment, Method
from evaluation.benchmarks.revisited import from_dataset
from evaluation.data.check import read_sums
from extraction.formats.csv_tables import CsvFiles
from extraction.formats.official_config import read_request
from extraction.images import list_images, read_image_list
from extraction.pipeline import extract
from protos.configs import read_aggregation_config, read_delf_config
from tests.evaluation.tiny import MeanColour
from training.records.sources import from_csv, from_folders, from_gldv2, relabeled

MARKS = {
    "utf-8": b"",
    "utf-8 marked": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
}
ENDS = ("\n", "\r\n", "\r")
FORMS = ("NFC", "NFD")
FIELDS = {  # a value is anything; what must be in quotes is in every variant
    "plain": lambda value: value,
    "blanks": lambda value: f"  {value} ",
    "quotes": lambda value: value if value.startswith('"') else f'"{value}"',
    "quotes and blanks": lambda value: f" {value}  " if value.startswith('"') else f' " {value} "  ',
}
ROOT = "Füße"


def encoded(text, mark, end, form):
    name = mark.partition(" ")[0]
    return MARKS[mark] + unicodedata.normalize(form, text).replace("\n", end).encode(name)


def texts(text, forms=FORMS):
    """A text in all encodings, line ends, normal forms, with and without a last line end and empty lines."""
    for mark, end, form, last in itertools.product(MARKS, ENDS, forms, ("", "\n", "\n\n  \n")):
        yield encoded(text.strip("\n") + last, mark, end, form)


def csvs(lines, forms=FORMS):
    """Rows of values as CSV files of all variants."""
    for field in FIELDS.values():
        yield from texts("\n".join(",".join(map(field, line)) for line in lines), forms)


def same(path, variants, read):
    """Checks that all variants are read as the first; returns the value that was read and the number of variants."""
    found = []
    for data in variants:
        path.write_bytes(data)
        found.append(read())
        assert found[-1] == found[0], data
    return found[0], len(found)


@pytest.fixture(params=FORMS)
def photos(tmp_path, request):
    """Six photos, their names in either normal form on the disk."""
    names = ("a.jpg", "a.png", "b.jpg", "ü/Å.jpg", "ü/c, d.jpg", "e.JPG")
    for i, name in enumerate(names):
        path = tmp_path / unicodedata.normalize(request.param, f"{ROOT}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (40 * i, 100, 200)).save(path, "PNG" if name.endswith("png") else "JPEG")
    return tmp_path / unicodedata.normalize(request.param, ROOT)


LISTED = [
    ("path", "label"),
    ("a.jpg", "tür"),
    ("a.png", "tür"),
    ("b.jpg", "x"),
    ("ü/Å.jpg", "x"),
    ('"ü/c, d.jpg"', '"two\nlines"'),
    ("e", '"two\nlines"'),
]


def test_labelled_lists_in_benchmark_and_records(photos):
    def both():
        benchmark, source = csv_lists(str(photos)), from_csv(photos / "database.csv", photos)
        images = [(image.name, image.path) for image in benchmark.database]
        assert [str(photo.path) for photo in source.photos] == [path for _, path in images]
        classes = [source.class_names[photo.label] for photo in source.photos]
        for one, label in enumerate(classes):  # right in the benchmark is what has one class in the records
            own = benchmark.protocols["all"][one].positives.tolist()
            assert own == [row for row, other in enumerate(classes) if other == label and row != one]
        return images, classes, source.photos

    (images, classes, _), count = same(photos / "database.csv", csvs(LISTED), both)
    assert count == 5 * 3 * 2 * 3 * 4
    stems = ("a.jpg", "a.png", "b", "ü/Å", "ü/c, d", "e")
    assert [unicodedata.normalize("NFC", name) for name, _ in images] == list(stems)
    assert classes == ["tür", "tür", "x", "x", "two\nlines", "two\nlines"]
    csv_lists(str(photos)).check_images()


def test_a_list_is_of_the_photos_that_a_folder_has(photos):
    """Names of a list are those that the photos have on the disk, so that features of the folder serve the list."""
    (photos / "database.csv").write_bytes(next(csvs(LISTED)))
    assert {i.name for i in csv_lists(str(photos)).database} == {i.name for i in list_images(photos)}


def test_boxes_of_queries(photos):
    (photos / "database.csv").write_bytes(next(csvs(LISTED)))
    rows = [
        ("path", "label", "x1", "y1", "x2", "y2"),
        ("a.jpg", "tür", "", "", "", ""),
        ("a.jpg", "x", "1", "2", "9", "8.5"),
    ]
    asked, _ = same(photos / "queries.csv", csvs(rows), lambda: csv_lists(str(photos)).queries)
    assert [(one.name, one.crop) for one in asked] == [("a", None), ("a.jpg@1.0,2.0,9.0,8.5", (1.0, 2.0, 9.0, 8.5))]


def test_lists_of_an_extraction(photos):
    listed = "\n".join(["a.jpg", "a.png", "", "ü/Å.jpg", "ü/c, d.jpg", "e"])
    refs, count = same(photos / "list.txt", texts(listed), lambda: read_image_list(photos / "list.txt", photos))
    assert count == 5 * 3 * 2 * 3
    known = {image.name: image.path for image in list_images(photos)}
    assert [(ref.name, ref.path) for ref in refs] == [(ref.name, known.get(ref.name)) for ref in refs] and len(
        refs
    ) == 5


def test_configurations(tmp_path):
    text = 'model_path: "modèle"  # comment\nimage_scales: 0.5\nimage_scales: 2\nuse_global_features: true\n'
    text += "delf_local_config { use_pca: false }\ndelf_global_config {\n use_pca: false\n}\n"
    path = tmp_path / "c.pbtxt"
    found, count = same(path, texts(text, ["NFC"]), lambda: (read_delf_config(path), read_request(path).options))
    assert found[0].model_path == "modèle" and found[1]["image_scales"] == [0.5, 2.0] and count == 45
    read, _ = same(path, texts("codebook_size: 7\ntau: 0.5"), lambda: read_aggregation_config(path))
    assert (read.codebook_size, read.tau) == (7, 0.5)


@pytest.mark.parametrize("form", FORMS)
def test_ground_truth(photos, form):
    names = ["a", "b", "ü/Å"]
    gnd = [{"bbx": [0, 0, 9, 9], "easy": [1], "hard": [2], "junk": []}]
    text = json.dumps({"imlist": names, "qimlist": names[2:], "gnd": gnd}, indent=1, ensure_ascii=False)
    path = photos / "gnd_tiny.json"
    found, _ = same(path, texts(text, [form]), lambda: to_json(load(path)))
    assert found["imlist"] == [unicodedata.normalize(form, name) for name in names]
    benchmark = from_dataset(str(path), str(photos))
    benchmark.check_images()
    assert unicodedata.normalize("NFC", benchmark.queries[0].path).endswith(f"{ROOT}/ü/Å.jpg")


SOLUTION = [("id", "images", "Usage"), ("p", "x y", "Private"), ("q", "z", "Public"), ("r", "None", "Ignored")]
ANSWERS = [("id", "images"), ("p", "a y x"), ("r", "z"), ("q", "")]


def test_files_of_landmark_retrieval(tmp_path):
    path = tmp_path / "f.csv"
    solution, _ = same(path, csvs(SOLUTION), lambda: gldv2_files.read_retrieval_solution(path))
    assert solution == gldv2_files.RetrievalSolution({"q": ("z",)}, {"p": ("x", "y")}, frozenset("r"))
    found, _ = same(path, csvs(ANSWERS), lambda: gldv2_files.read_retrieval_predictions(path, solution))
    assert found == ({}, {"p": ("a", "y", "x")})


def test_files_of_landmark_recognition(tmp_path):
    path = tmp_path / "f.csv"
    rows = [("id", "landmarks", "Usage"), ("a", "1 22", "Public"), ("b", "", "Private"), ("c", "5", "Ignored")]
    solution, _ = same(path, csvs(rows), lambda: gldv2_files.read_recognition_solution(path))
    assert solution == gldv2_files.RecognitionSolution({"a": (1, 22)}, {"b": ()}, frozenset("c"))
    rows = [("id", "landmarks"), ("a", "22 0.5"), ("b", ""), ("c", "5 0.1")]
    found, _ = same(path, csvs(rows), lambda: gldv2_files.read_recognition_predictions(path, solution))
    assert found == ({"a": (22, 0.5)}, {})


@pytest.mark.parametrize(
    ("rows", "clean"),
    [
        ([("id", "url", "landmark_id"), ("abc1", "http://x/ü,", "12"), ("abc2", "", "7")], False),
        ([("landmark_id", "images"), ("12", "abc1"), ("7", "abc2")], True),
    ],
)
def test_classes_of_landmarks_in_benchmark_and_records(tmp_path, rows, clean):
    rows = [tuple(f'"{value}"' if "," in value else value for value in row) for row in rows]
    (tmp_path / "abc1.jpg").touch()
    path = tmp_path / "train.csv"

    def both():
        source = from_gldv2(tmp_path, *((None, path) if clean else (path, None)))
        classes = {photo.id: int(source.class_names[photo.label]) for photo in source.photos}
        assert classes == read_classes(str(path))
        return classes

    assert same(path, csvs(rows), both)[0] == {"abc1": 12, "abc2": 7}


def test_relabeling(photos):
    (photos / "database.csv").write_bytes(next(csvs(LISTED)))
    source, path = from_csv(photos / "database.csv"), photos / "relabeling.csv"
    rows = [("new_label", "old_label"), ("0", "x"), ("1", '"two\nlines"'), ("2", "tür")]
    found, _ = same(path, csvs(rows), lambda: relabeled(source, path))
    assert found.class_names == ("x", "two\nlines", "tür") and [p.label for p in found.photos] == [2, 2, 0, 0, 1, 1]


def test_features_as_csv(tmp_path):
    rows = [("name", "width", "height", "d0"), ("ä", "3", "4", "0.5"), ("b c", "5", "6", "1.5")]
    text = "\n".join(",".join(row) for row in rows)
    found, _ = same(
        tmp_path / "global.csv",
        texts(text, ["NFC"]),
        lambda: [
            (f.name, f.image_size, f.global_descriptor.tolist()) for f in map(CsvFiles(tmp_path).features, (0, 1))
        ],
    )
    assert found == [("ä", (3, 4), [0.5]), ("b c", (5, 6), [1.5])]


def test_sums(photos):
    lines = f"{'0' * 64}  ü/Å.jpg\n\n{'1' * 64} *b.jpg"
    found, _ = same(photos / "SHA256SUMS", texts(lines), lambda: read_sums(photos))
    assert all((photos / name).is_file() for name in found) and sorted(found.values()) == ["0" * 64, "1" * 64]


def test_folders_of_either_normal_form_are_one_class(photos, tmp_path):
    for form, photo in zip(FORMS, ("1.jpg", "2.jpg")):
        folder = tmp_path / "classes" / unicodedata.normalize(form, "Grüße")
        folder.mkdir(parents=True)
        shutil.copy(photos / "b.jpg", folder / photo)
    other = tmp_path / "classes" / "other"
    other.mkdir()
    shutil.copy(photos / "a.jpg", other / "1.jpg")
    assert from_folders(tmp_path / "classes").class_names == ("Grüße", "other")
    truths = folders(str(tmp_path / "classes")).protocols["all"]
    assert sorted(len(truth.positives) for truth in truths) == [0, 1, 1]


def test_features_of_the_other_normal_form_serve_a_benchmark(photos, tmp_path):
    known = list_images(photos)
    store = extract(MeanColour(), known, tmp_path / "store", progress=False)
    for form in FORMS:
        images = [replace(image, name=unicodedata.normalize(form, image.name)) for image in reversed(known)]
        benchmark = Benchmark("csv", images, images, {})
        assert Alignment(benchmark, Method("global", store, store)).query_rows.tolist() == [5, 4, 3, 2, 1, 0]
