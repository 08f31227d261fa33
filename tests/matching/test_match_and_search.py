"""The commands delg-match and delg-search, run as a user runs them, on RootSIFT (no TensorFlow)."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from collection.collection import Collection
from extraction.extractors.table import build_extractor
from extraction.formats.csv_tables import CsvSink
from extraction.formats.table import open_features
from extraction.images import list_images
from extraction.pipeline import extract
from tests import processes

ROOT = Path(__file__).parents[2]
MODEL = "rootsift(max_feature_num=150)"


def picture(seed, turned=False):
    """Discs and bars drawn by a seed; the same scene turned by some degrees and shrunk."""
    rng = np.random.default_rng(seed)
    image = np.full((240, 320, 3), 200, np.uint8)
    for _ in range(60):
        x, y, size = (int(v) for v in rng.integers((0, 0, 4), (320, 240, 25)))
        colour = [int(c) for c in rng.integers(0, 256, 3)]
        cv2.circle(image, (x, y), size, colour, -1)
        cv2.rectangle(image, (y, x), (y + size, x + 7), colour[::-1], -1)
    if turned:
        image = cv2.warpAffine(image, cv2.getRotationMatrix2D((160, 120), 12, 0.9), (320, 240))
    return image


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Six database images, a query that shows the fourth from elsewhere, and the store of the six."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "jpg").mkdir()
    for i in range(6):
        cv2.imwrite(str(folder / "jpg" / f"image{i}.png"), picture(i))
    cv2.imwrite(str(folder / "query.png"), picture(3, turned=True))
    (folder / "text.jpg").write_text("no image")
    extract(build_extractor(MODEL), list_images(folder / "jpg"), folder / "store", progress=False)
    return folder


def delg(place, *arguments):
    return processes.run(*arguments, cwd=place)


def alone(place, *arguments):
    """In a process that knows nothing of ours but the path."""
    return subprocess.run(
        [sys.executable, "-m", "delg", *arguments],
        cwd=place,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_match_obeys_the_orientation_unless_asked_otherwise(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(1)).save(tmp_path / "stored.png", exif=exif)
    for policy, size in (("apply", (240, 320)), ("ignore", (320, 240))):
        flag = [] if policy == "apply" else [f"--exif={policy}"]
        done = delg(tmp_path, "match", "stored.png", "stored.png", f"--model={MODEL}", "--output=m.png", *flag)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / "m.png") as drawn:
            assert drawn.size == (2 * size[0] + 8, size[1])


def refused(done, *words):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_match_prints_the_counts_and_draws(place):
    done = alone(place, "match", "query.png", "jpg/image3.png", "--output=out/picture.png")
    assert done.returncode == 0, done.stderr
    numbers = {line.split(":")[0]: line.split(":")[1].strip() for line in done.stdout.splitlines()}
    assert int(numbers["inliers"]) > 25
    assert int(numbers["tentative matches"]) > int(numbers["inliers"])
    image = cv2.imread(str(place / "out" / "picture.png"))
    assert image.shape == (240, 320 + 8 + 320, 3)
    other = delg(place, "match", "query.png", "jpg/image0.png")
    assert int(other.stdout.split("inliers:")[1].split()[0]) < int(numbers["inliers"]) / 3


def test_match_gives_the_verdict_of_a_collection_in_every_format(place):
    pair = ["query.png", "jpg/image3.png"]
    model = f'pair(global="histogram", local="{MODEL}")'
    document = json.loads(delg(place, "match", *pair, f"--model={model}", "--format=json").stdout)
    with Collection.open(place / "jpg", model, state=place / "state") as collection:
        collection.sync()
        match = collection.match(place / pair[0], "image3.png")
    assert document["verdict"] == match.verdict == "same" and document["probability"] > 0.9
    assert (document["inliers"], document["pairs"]) == (match.inliers, match.pairs.tolist())
    assert document["similarity"] == pytest.approx(match.similarity, abs=1e-6)
    (row,) = csv.DictReader(delg(place, "match", *pair, f"--model={model}", "--format=csv").stdout.splitlines())
    assert (row["first"], row["second"], row["verdict"], int(row["inliers"])) == (*pair, "same", match.inliers)
    other = delg(place, "match", "query.png", "jpg/image0.png").stdout.splitlines()[0]
    assert "different" in other and "probability" in other


def test_match_by_other_rules(place):
    match = ["match", "query.png", "jpg/image3.png"]
    counts = {}
    for flags in ("", "--ratio=0.8 --mutual", "--crop=80,60,240,180"):
        done = delg(place, *match, *flags.split(), "--output=out/crop.png")
        assert done.returncode == 0, done.stderr
        counts[flags] = [int(number) for number in re.findall(r"\d+", done.stdout.partition("local features")[2])]
    features, _, tentative, inliers = counts[""]
    strict = counts["--ratio=0.8 --mutual"]
    assert strict[0] == features and strict[2] < tentative and strict[3] > 20
    assert counts["--crop=80,60,240,180"][0] < features and 10 < counts["--crop=80,60,240,180"][3] < inliers
    yellow = np.abs(cv2.imread(str(place / "out" / "crop.png"))[61, 90:230].astype(int) - [31, 210, 255]).sum(-1) < 9
    assert yellow.mean() > 0.5, "the crop is outlined"


def test_match_refuses_in_one_sentence(place):
    refused(delg(place, "match", "query.png"), "two image files", "Received: 1")
    refused(delg(place, "match", "query.png", "text.jpg"), "text.jpg", "not an image")
    refused(delg(place, "match", "query.png", "query.png", "--output=picture.txt"), "--output expects", "picture.txt")
    refused(delg(place, "match", "query.png", "query.png", "--model=surf"), "surf", "rootsift")
    refused(delg(place, "match", "query.png", "query.png", "--ratio=1.5"), "ratio expects", "Received: 1.5")
    refused(delg(place, "match", "query.png", "query.png", "--crop=900,900,999,999"), "crop", "holds no pixel")


def search(place, *arguments):
    return delg(place, "search", "--query=query.png", f"--model={MODEL}", "--features_dir=store", *arguments)


def test_search_prints_rank_score_and_path(place):
    done = search(place, "--top_k=3", "--rerank=ransac")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [line[0] for line in lines] == ["1", "2", "3"]
    assert lines[0][2] == "image3.png"
    assert float(lines[0][1]) > 25
    scores = [float(line[1]) for line in lines]
    assert scores == sorted(scores, reverse=True)
    cropped = search(place, "--top_k=1", "--rerank=ransac(residual=5.0)", "--crop=80,60,240,180")
    _, score, name = cropped.stdout.splitlines()[1].split()
    assert name == "image3.png"
    assert float(score) < float(lines[0][1])


def test_search_without_reranking_prints_cosines(place):
    done = search(place)
    scores = [float(line.split()[1]) for line in done.stdout.splitlines()[1:]]
    assert len(scores) == 6
    assert max(scores) <= 1


def test_without_a_model_the_query_is_described_as_the_features_were(place):
    query = ("search", "--query=query.png", "--top_k=3")
    assert delg(place, *query, "--features_dir=store").stdout == search(place, "--top_k=3").stdout
    shutil.copytree(place / "store", place / "of_a_model")
    manifest = place / "of_a_model" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["settings"] |= {"extractor": "delg", "weights_sha256": "0" * 64}
    manifest.write_text(json.dumps(document))
    refused(delg(place, *query, "--features_dir=of_a_model"), "--model is required", "of_a_model")


def test_search_refuses_in_one_sentence(place):
    refused(delg(place, "search", "--query=query.png"), "--features_dir is required")
    refused(search(place, "--model=rootsift(max_feature_num=99)"), "max_feature_num (99 and 150)")
    refused(search(place, "--rerank=asmk"), "ransac, superglobal")
    refused(search(place, "--crop=5,5,1"), "--crop expects")
    refused(search(place, "--crop=900,900,999,999"), "query.png", "crop")
    refused(search(place, "--features_dir=jpg"), "jpg holds no features")
    refused(search(place, "--query=text.jpg"), "text.jpg", "not an image")


def test_search_makes_a_page(place):
    page = ["--rerank=ransac", "--images_dir=jpg", "--output=out/results.html"]
    done = search(place, "--top_k=3", "--crop=80,60,240,180", *page)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "page: out/results.html"
    html = (place / "out" / "results.html").read_text(encoding="utf-8")
    assert html.count('alt="Result ') == 3 and html.count('id="match-1"') == 1
    inliers = int(re.search(r">(\d+) inliers</a>", html)[1])
    assert inliers == float(done.stdout.splitlines()[1].split()[1]) > 10
    for part in ("its crop drawn as a box", "The best 3 of 6 images of store.", "image3.png", "80,60,240,180"):
        assert part in html
    refused(search(place, "--output=r.html"), "--output", "--images_dir")
    refused(search(place, "--images_dir=jpg"), "--output", "--images_dir")
    refused(search(place, *page[:2], "--output=r.txt"), "--output expects a file ending in .html", "r.txt")
    refused(search(place, "--images_dir=nowhere", "--output=r.html"), "nowhere does not exist")


def lines(done):
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()[1:]]


def test_a_reranker_of_local_features_is_refused_without_them(place):
    (place / "csv").mkdir()
    CsvSink().write(open_features(str(place / "store")), place / "csv")
    (place / "csv" / "local.csv").unlink()
    refused(search(place, "--features_dir=csv", "--rerank=ransac"), "--rerank=ransac", "csv holds none")


def test_index_and_search_by_it(place):
    index = ["index", "--features_dir=store"]
    done = alone(place, *index, "--output_dir=exact")
    assert done.returncode == 0, done.stderr
    assert "6 descriptors" in done.stdout
    assert "exact(dtype='float16')" in done.stdout
    assert delg(place, *index, "--output_dir=bits", "--index=binary(rescore=0)").returncode == 0
    expected = lines(search(place))
    query = ["search", "--query=query.png", f"--model={MODEL}"]
    by_index = lines(alone(place, *query, "--index=exact"))
    assert [(rank, name) for rank, _, name in by_index] == [(rank, name) for rank, _, name in expected]
    assert lines(search(place, "--index=exact", "--rerank=ransac", "--top_k=3"))[0][2] == "image3.png"
    assert len(lines(delg(place, *query, "--index=bits"))) == 6
    refused(delg(place, *index, "--output_dir=exact", "--index=binary"), "exact holds an index exact(dtype='float16')")
    refused(delg(place, *index, "--output_dir=jpg"), "jpg holds something else than an index")
    refused(delg(place, *index), "--output_dir is required")
    refused(delg(place, *index, "--output_dir=new", "--index=tree"), "Unknown index 'tree'", "ivf_pq")
    refused(delg(place, *query, "--index=jpg"), "jpg is not an index")
    refused(delg(place, *query, "--index=exact", "--rerank=ransac"), "--rerank=ransac", "--features_dir")
    refused(delg(place, *query, "--index=exact", "--search_options=nprobe=3"), "nprobe of an index exact")
    refused(delg(place, *query, "--index=exact", "--search_options=3"), "--search_options expects name=value")
    refused(search(place, "--search_options=nprobe=3"), "--search_options", "--index")
    refused(delg(place, *query, "--index=exact", "--model=rootsift"), "and those of the index exact", "max_feature_num")
