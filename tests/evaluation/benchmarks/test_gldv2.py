"""GLDv2 as a benchmark: answers and scores against loops over all pairs."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from delg.common.errors import InputError
from delg.common.files import read_json, sha256, write_json
from evaluation.benchmarks.table import build_benchmark
from evaluation.data import check
from evaluation.metrics.gldv2 import Prediction, recognition, retrieval
from evaluation.run import pipeline, search
from extraction.store.reader import FeatureStore
from tests import processes
from tests.evaluation.options import Config
from tests.evaluation.run.test_distractors import store, unit

CLASSES, IMAGES, QUERIES, SIZE = 12, 10, 40, 16


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An index of 12 classes, 40 queries of them, four of none; solutions, and what loops would answer."""
    folder, random = tmp_path_factory.mktemp("gldv2"), np.random.default_rng(0)
    centres = unit(random, CLASSES, SIZE)
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    index = centres[labels] + 1.7 * unit(random, len(labels), SIZE)
    shown = random.integers(0, CLASSES, QUERIES)
    queries = centres[shown] + 1.7 * unit(random, QUERIES, SIZE)
    queries[-4:] = unit(random, 4, SIZE)
    index, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (index, queries))
    store(folder, "q", queries.astype(np.float32)), store(folder, "i", index.astype(np.float32))
    (folder / "labels.csv").write_text("id,url,landmark_id\n" + "".join(f"i{n},u,{c}\n" for n, c in enumerate(labels)))
    right = {f"q{q}": [int(c)] if q < QUERIES - 4 else [] for q, c in enumerate(shown)}
    relevant = {f"q{q}": [f"i{n}" for n in np.flatnonzero(labels == shown[q])] for q in range(QUERIES - 4)}
    lines = [f"{q},{' '.join(map(str, c))},Public\n" for q, c in right.items()]
    (folder / "recognition.csv").write_text("id,landmarks,Usage\n" + "".join(lines))
    lines = [f"{q},{' '.join(names)},Private\n" for q, names in relevant.items()]
    lines += [f"q{q},i0,Ignored\n" for q in range(QUERIES - 4, QUERIES)]
    (folder / "retrieval.csv").write_text("id,images,Usage\n" + "".join(lines))
    return folder, queries, index, labels, right, relevant


def run(options):
    return pipeline.benchmark(options, lambda line: None)


def config(folder, output, task, **changes):
    given = {"query_features_dir": str(folder / "q"), "index_features_dir": str(folder / "i")}
    given |= {"solution_file": str(folder / f"{task}.csv")} | changes
    return Config(f"gldv2_{task}", output_dir=str(output), **given)


def test_recognition_is_that_of_loops(world, tmp_path, monkeypatch):
    folder, queries, index, labels, right, _ = world
    monkeypatch.setattr(search, "QUERIES", 7)
    report = run(config(folder, tmp_path, "recognition", labels_file=str(folder / "labels.csv"), neighbours=5))
    expected = {}
    for q, query in enumerate(queries):
        similarity = [float(np.dot(query, image)) for image in index]
        best = sorted(range(len(index)), key=lambda i: -similarity[i])[:5]
        sums = {c: sum(similarity[i] for i in best if labels[i] == c) for c in {int(labels[i]) for i in best}}
        label = max(sums, key=sums.get)
        expected[f"q{q}"] = Prediction(label, sums[label])
    found = report.rows[0].metrics["public"]["GAP"]
    assert found == pytest.approx(recognition(expected, right)["GAP"].value, abs=1e-9) and 20 < found < 99


def test_retrieval_is_that_of_loops(world, tmp_path):
    folder, queries, index, _, _, relevant = world
    report = run(config(folder, tmp_path, "retrieval"))
    expected = {
        f"q{q}": [f"i{i}" for i in sorted(range(len(index)), key=lambda i: -float(np.dot(query, index[i])))[:100]]
        for q, query in enumerate(queries)
    }
    found = report.rows[0].metrics["private"]["mAP@100"]
    assert found == pytest.approx(retrieval(expected, relevant)["mAP@100"].value, abs=1e-9) and 20 < found < 99
    lines = (tmp_path / "predictions" / "global.csv").read_text().splitlines()
    assert lines[0] == "id,images" and lines[1] == f"q0,{' '.join(expected['q0'])}"


def test_the_command_answers_and_scores(world, tmp_path):
    folder = world[0]
    command = ["benchmark", "--benchmark=gldv2_recognition", "--output_dir=out"]
    command += [f"--query_features_dir={folder / 'q'}", f"--index_features_dir={folder / 'i'}"]
    command += [f"--solution_file={folder / 'recognition.csv'}"]
    done = processes.run(*command, cwd=tmp_path)
    assert done.returncode == 1 and "expects --labels_file" in done.stderr and "Traceback" not in done.stderr
    command.append(f"--labels_file={folder / 'labels.csv'}")
    done = processes.run(*command, cwd=tmp_path)
    assert done.returncode == 0 and "GAP" in done.stdout, done.stderr


def test_the_clean_list_gives_the_same_classes(world, tmp_path):
    folder, labels = world[0], world[3]
    lines = [f"{c},{' '.join(f'i{n}' for n in np.flatnonzero(labels == c))}\n" for c in range(CLASSES)]
    (tmp_path / "clean.csv").write_text("landmark_id,images\n" + "".join(lines))
    rows = [
        run(config(folder, tmp_path / name, "recognition", labels_file=str(path))).rows[0].metrics
        for name, path in (("a", folder / "labels.csv"), ("b", tmp_path / "clean.csv"))
    ]
    assert rows[0] == rows[1]


def test_a_reranker_orders_the_vote(world, tmp_path, monkeypatch):
    folder, labels = world[0], str(world[0] / "labels.csv")
    monkeypatch.setattr(search, "QUERIES", 16)
    given = config(folder, tmp_path, "recognition", labels_file=labels, rerank=("alpha_qe",))
    report = run(given)
    predictions = tmp_path / "predictions"
    before = {path.name: path.read_text() for path in predictions.glob("*.csv")}
    assert before.keys() == {"global.csv", "global+alpha_qe.csv"} and len(set(before.values())) == 2
    assert [row.ms_per_query["rerank"] > 0 for row in report.rows] == [False, True]
    assert "public_after_alpha_qe\n" in (tmp_path / "metrics.txt").read_text()
    (predictions / "global.csv").unlink()
    run(given)
    assert {path.name: path.read_text() for path in predictions.glob("*.csv")} == before, "a lost file is made again"
    run(replace(given, neighbours=1))
    assert {path.name: path.read_text() for path in predictions.glob("*.csv")} != before, "another vote, another answer"


def test_features_of_two_protocols_are_refused_or_told(world, tmp_path):
    folder, queries = world[0], world[1]
    store(tmp_path, "other", queries.astype(np.float32))
    other = FeatureStore.open(tmp_path / "other")
    manifest = read_json(tmp_path / "other" / "manifest.json")
    names = {"names": [name.replace("other", "q") for name in other.names]}
    write_json(tmp_path / "other" / "manifest.json", manifest | names | {"settings": {"extractor": "else"}})
    given = config(folder, tmp_path / "out", "retrieval", query_features_dir=str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"different settings: extractor .* --allow_protocol_mismatch"):
        run(given)
    report = run(replace(given, allow_protocol_mismatch=True))
    assert "different settings: extractor" in report.settings["protocol_mismatch"][0]


def test_queries_without_features_are_reported(world, tmp_path):
    folder, queries = world[0], world[1]
    store(tmp_path, "q", queries[:30].astype(np.float32))
    report = run(config(folder, tmp_path / "out", "retrieval", query_features_dir=str(tmp_path / "q")))
    assert report.settings["queries_without_features"] == {"public": 0, "private": 6}
    assert "queries without features, which count as not found: 6" in (tmp_path / "out" / "report.md").read_text()
    assert report.settings["answers_sha256"] == sha256(folder / "retrieval.csv"), "whatever images have features"


def test_submission_files_stay_in_their_folder(world, tmp_path):
    texts = ("alpha_qe(top_k=7)", "alpha_qe(top_k=9)", "superglobal | alpha_qe")
    report = run(config(world[0], tmp_path / "out", "retrieval", rerank=texts))
    files = list((tmp_path / "out" / "predictions").iterdir())
    assert len(report.rows) == len(files) == 4 and all(path.is_file() and path.suffix == ".csv" for path in files)
    said = []
    pipeline.benchmark(config(world[0], tmp_path / "out", "retrieval", rerank=texts), said.append)
    assert sum(line.endswith("(cached)") for line in said) == 4


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The released layout, made by rule: three landmarks of four photos, a query of each, and one of none."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(1)

    def photo(split, name, pixels):
        place = root / split / name[0] / name[1] / name[2] / f"{name}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place, quality=95)

    solution, relevant, classes = ["id,landmarks,Usage"], ["id,images,Usage"], ["id,url,landmark_id"]
    for landmark in range(3):
        wall = random.integers(0, 255, (24, 24, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        names = [f"{landmark}{n}a{landmark}{n}" for n in range(4)]
        for n, name in enumerate(names):
            photo("train", name, wall[3 * n : 150 + 3 * n, 5 * n : 160 + 5 * n])
            photo("index", name, wall[3 * n : 150 + 3 * n, 5 * n : 160 + 5 * n])
            classes.append(f"{name},u,{100 + landmark}")
        photo("test", f"{landmark}q{landmark}q", wall[10:170, 8:180])
        solution.append(f"{landmark}q{landmark}q,{100 + landmark},{('Public', 'Private')[landmark % 2]}")
        relevant.append(f"{landmark}q{landmark}q,{' '.join(names)},Public")
    photo("test", "none0", random.integers(0, 255, (150, 150, 3)).astype(np.uint8))
    solution += ["none0,,Public", "absent,7,Ignored"]
    (root / "recognition_solution_v2.1.csv").write_text("\n".join(solution) + "\n")
    (root / "retrieval_solution_v2.1.csv").write_text("\n".join(relevant) + "\n")
    (root / "train.csv").write_text("\n".join(classes) + "\n")
    return root


def test_recognition_from_images_to_report_with_ransac_before_the_vote(photos, tmp_path):
    command = ["benchmark", "--benchmark=gldv2_recognition", f"--data_dir={photos}", "--model=rootsift"]
    done = processes.run(*command, "--baselines=histogram", "--rerank=ransac", "--output_dir=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = read_json(tmp_path / "out" / "report.json")
    names = ["global", "global+ransac", "histogram", "histogram+ransac"]
    assert [row["method"] for row in report["rows"]] == names
    assert report["rows"][1]["metrics"]["public"] == {"GAP": 100.0, "top-1": 100.0}
    assert report["settings"]["queries"] == 4 and report["settings"]["database"] == 12
    assert report["settings"]["labels_file"] == str(photos / "train.csv")
    assert report["settings"]["labels_file_sha256"] == sha256(photos / "train.csv")
    lines = (tmp_path / "out" / "predictions" / "global+ransac.csv").read_text().splitlines()
    votes = {line.split(",")[0]: line.split(",")[1].split() for line in lines[1:]}
    assert votes["1q1q"][0] == "101" and float(votes["1q1q"][1]) > 3 * float(votes["none0"][1])
    assert "public_after_gv\n  GAP=100.00" in (tmp_path / "out" / "metrics.txt").read_text()


def test_retrieval_from_images(photos, tmp_path):
    given = Config("gldv2_retrieval", str(photos), output_dir=str(tmp_path), model="rootsift", rerank=("ransac",))
    report = run(given)
    rows, page = report.rows, (tmp_path / "report.html").read_text()
    change = report.statistics["paired"]["global+ransac"]["protocols"]["public"]
    gain = rows[1].metrics["public"]["mAP@100"] - rows[0].metrics["public"]["mAP@100"]
    assert change["difference"] == pytest.approx(gain) and change["low"] <= gain <= change["high"]
    assert page.count('<article class="card"') == 3 and 'alt="Query 0/q/0/0q0q"' in page
    first = page[page.index('aria-label="First results of global+ransac for 0/q/0/0q0q"') :]
    assert re.findall(r'<li class="(\w+)"', first)[:5] == ["positive"] * 4 + ["negative"]
    inliers = re.findall(r"<b>(\d+) inliers</b>, (\w+): 0/q/0/0q0q → (\S+)</", page)
    assert [kind for _, kind, _ in inliers] == ["positive", "negative"] and int(inliers[0][0]) > 3 * int(inliers[1][0])
    assert rows[1].metrics["public"]["mAP@100"] == 100 >= rows[0].metrics["public"]["mAP@100"] > 30


def test_pictures_are_of_the_part_that_the_page_shows(photos, tmp_path):
    lines = (photos / "retrieval_solution_v2.1.csv").read_text().splitlines()
    (tmp_path / "both.csv").write_text("\n".join([*lines[:3], lines[3].replace("Public", "Private")]) + "\n")
    given = Config("gldv2_retrieval", str(photos), output_dir=str(tmp_path), model="rootsift", rerank=("ransac",))
    run(replace(given, baselines=(), solution_file=str(tmp_path / "both.csv")))
    page = (tmp_path / "report.html").read_text()
    assert page.count('<article class="card"') == 1 and 'alt="Query 2/q/2/2q2q"' in page
    assert set(re.findall(r"inliers</b>, \w+: (\S+) → ", page)) == {"2/q/2/2q2q"}


def test_missing_images_end_in_a_sentence_before_any_work(photos, tmp_path):
    (tmp_path / "labels.csv").write_text("id,landmark_id\nlost00,1\n00a00,1\n")
    given = Config("gldv2_recognition", str(photos), output_dir=str(tmp_path / "out"), model="rootsift")
    with pytest.raises(InputError, match=r"misses 1 of its 6 images; the first is .*train/l/o/s/lost00\.jpg"):
        run(replace(given, labels_file=str(tmp_path / "labels.csv")))
    with pytest.raises(InputError, match="expects --data_dir with --model"):
        run(
            replace(
                given,
                data_dir=None,
                solution_file=str(photos / "recognition_solution_v2.1.csv"),
                labels_file=str(photos / "train.csv"),
            )
        )
    assert not (tmp_path / "out" / "features").exists()


def test_wrong_files_end_in_a_sentence(world, tmp_path):
    folder = world[0]
    (tmp_path / "some.csv").write_text("id,landmark_id\ni0,1\n")
    (tmp_path / "bad.csv").write_text("id,landmark_id\ni0,x\n")
    recognition = config(folder, tmp_path, "recognition", labels_file=str(tmp_path / "some.csv"))
    with pytest.raises(InputError, match="gives 119 of 120 index images no class, such as i1"):
        run(recognition)
    for changed, message in (
        (config(folder, tmp_path, "recognition", labels_file=str(tmp_path / "bad.csv")), "line 2: expected a whole"),
        (config(folder, tmp_path, "recognition", labels_file="x", neighbours=0), "--neighbours"),
        (
            config(folder, tmp_path, "retrieval", solution_file=str(folder / "recognition.csv")),
            "solution of gldv2_rec",
        ),
        (config(folder, tmp_path, "retrieval", solution_file=None), "expects --solution_file, or --data_dir with it"),
        (
            config(folder, tmp_path, "retrieval", model="rootsift"),
            "either --model, or --index_features_dir",
        ),
        (
            config(folder, tmp_path, "retrieval", query_features_dir=None),
            "--query_features_dir beside --index_features_dir",
        ),
        (
            config(folder, tmp_path, "retrieval", query_features_dir=str(folder / "i")),
            r"retrieval\.csv lacks 120 of the 120 query images, such as 'i0'",
        ),
        (
            config(folder, tmp_path, "retrieval", index_features_dir=str(folder / "q")),
            r"None of the 120 relevant images of .*retrieval\.csv is among the 40 index images, such as q0\.$",
        ),
        (config(folder, tmp_path, "retrieval", baselines=("rootsift",)), "expects --data_dir"),
        (config(folder, tmp_path, "retrieval", rerank=("ransac",)), "matches local features; .* holds none"),
    ):
        with pytest.raises(InputError, match=message):
            run(changed)
    assert not (tmp_path / "predictions").exists(), "a mistake was found after the search"


def test_sums_of_one_task_keep_those_of_the_other(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "gldv2")
    for task in ("recognition", "retrieval"):
        check.write_sums(build_benchmark(f"gldv2_{task}", str(tmp_path / "gldv2")).listed(), str(tmp_path / "gldv2"))
    names = check.read_sums(tmp_path / "gldv2")
    assert "train/0/0/a/00a00.jpg" in names and "index/0/0/a/00a00.jpg" in names and "train.csv" in names


def test_the_folder_is_verified_and_other_flags_are_refused(photos, tmp_path):
    def run(*more):
        return processes.run("benchmark", "--benchmark=gldv2_recognition", *more, cwd=tmp_path)

    done = run("--check", f"--data_dir={photos}")
    assert done.returncode == 0 and "4 queries, 12 database images, 16 files; 0 missing" in done.stdout, done.stderr
    (tmp_path / "labels.csv").write_text("id,landmark_id\nlost00,1\n")
    done = run("--check", f"--data_dir={photos}", "--labels_file=labels.csv")
    assert done.returncode == 1 and "is not whole: 1 files are missing" in done.stderr
    done = run("--model=rootsift", f"--data_dir={photos}", "--output_dir=out", "--queries_dir=x")
    assert done.returncode == 1 and "--queries_dir" in done.stderr


def test_two_runs_of_recognition_are_compared_by_the_command(world, tmp_path):
    folder, labels = world[0], str(world[0] / "labels.csv")
    for name, neighbours in (("few", 1), ("many", 9)):
        report = run(config(folder, tmp_path / name, "recognition", labels_file=labels, neighbours=neighbours))
        interval = report.statistics["intervals"]["global"]["public"]
        assert interval["low"] < interval["mean"] < interval["high"]
        assert interval["mean"] == pytest.approx(report.rows[0].metrics["public"]["GAP"])
    done = processes.run("compare", "few", "many", "--output=c.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("global ")]
    assert [line[1:3] for line in lines] == [["public", "GAP"], ["public", "top-1"]]
    assert float(lines[0][5]) == pytest.approx(float(lines[0][4]) - float(lines[0][3]), abs=0.011)
    assert "neighbours: 1 | 9" in done.stdout and "q39" not in (tmp_path / "c.html").read_text()
