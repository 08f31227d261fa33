"""The worked examples of docs/extending.md: the page shows the files whole, and its commands run on them."""

import re
import shlex
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import delg
from delg.common.files import read_json
from extraction.store.reader import FeatureStore
from tests.processes import ROOT, run

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = sorted(Path(__file__).with_name("examples").glob("*.py"))
QUICK = {  # flags that make a command of the page quick
    "delg-train": ["--max_iters=2", "--batch_size=4", "--image_size=32", "--shuffle_buffer=16"],
    "delg-extract --images_dir=photos --model=run/model": ["--image_scales=1.0", "--global_scales_ind=0"],
}
WALLS, VIEWS, NOISE = 4, 3, 0.6  # of the cells of a view
LEARNED = "global+my_reranker:Learned"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(section: str, language: str) -> list[str]:
    (text,) = re.findall(rf"^## {section}$(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    return [code for kind, code in BLOCK.findall(text) if kind == language]


def commands(section: str) -> list[str]:
    return "".join(blocks(section, "sh")).replace("\\\n", "").splitlines()


def follow(section: str, folder: Path) -> None:
    """Runs the commands of a section."""
    for line in commands(section):
        program, *arguments = shlex.split(line)
        if program == "python":
            environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
            command = [sys.executable, *arguments]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        else:
            more = [flag for start, given in QUICK.items() if line.startswith(start) for flag in given]
            done = run(program.removeprefix("delg-"), *arguments, *more, cwd=folder)
        assert done.returncode == 0, (line, done.stderr[-2000:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder: photos of four walls, and the files of the page."""
    place = tmp_path_factory.mktemp("user")
    random = np.random.default_rng(0)
    for wall in range(WALLS):
        texture = random.integers(0, 255, (12, 12, 3))
        (place / "photos" / f"wall{wall}").mkdir(parents=True)
        for view in range(VIEWS):
            other = np.where(
                random.random(texture.shape[:2])[..., None] < NOISE, random.integers(0, 255, (12, 12, 3)), texture
            )
            image = Image.fromarray(other.repeat(8, 0).repeat(8, 1).astype(np.uint8)[8 * view :])
            image.save(place / "photos" / f"wall{wall}" / f"wall{wall}_{view}.jpg", quality=95)
    for example in EXAMPLES:
        shutil.copy(example, place)
    return place


@pytest.fixture(scope="module")
def reranked(folder):
    """The commands of the reranker have run, which also make ``features``."""
    follow("A reranker with weights", folder)


@pytest.fixture(scope="module")
def trained(folder):
    """The model of the backbone is trained, from ``records`` that the head uses too."""
    make_model("A backbone", folder)
    follow("A backbone", folder)


def make_model(section: str, folder: Path) -> None:
    """Runs the Python of a section."""
    (code,) = [code for code in blocks(section, "python") if code.startswith("import delg")]
    with chdir(folder):
        exec(code, {})


def rows(report: dict) -> dict[str, dict[str, float]]:
    return {row["method"]: row["metrics"]["all"] for row in report["rows"]}


def cached(command: str, folder: Path) -> set[str]:
    """Runs a command of the page again; the rows that it does not make anew."""
    done = run(*shlex.split(command.removeprefix("delg-")), cwd=folder)
    return set(re.findall(r"^(global\S*): .*\(cached\)$", done.stdout, re.MULTILINE))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_page_shows_each_file_whole(example):
    text = example.read_text(encoding="utf-8")
    assert f"`{example.name}`:\n\n```python\n{text}```\n" in PAGE
    assert 20 <= len(text.splitlines()) <= 60


def test_backbone(folder, trained):
    with chdir(folder):
        start, model = delg.load("start"), delg.load("run/model")
    assert model.trunk.tokens == "prefix" and list(model.trunk.levels) == ["early", "late"]
    for before, after in zip(start.backbone.trainable_variables, model.backbone.trainable_variables, strict=True):
        assert before.path == after.path and np.ptp(after - before) > 0, before.path
    store = FeatureStore.open(folder / "features_of_model")
    assert len(store) == WALLS * VIEWS and store.local_bytes
    assert len({store.features(i).image_size for i in range(len(store))}) == VIEWS, "positions are interpolated"


def test_head(folder, trained):
    make_model("A head", folder)
    with chdir(folder):
        model = delg.load("start_with_heads")
    outputs = model(model.normalize(np.zeros((2, 48, 64, 3), np.uint8)))
    assert outputs["local_descriptors"].shape == (2, 6, 8, 24)
    assert model.pooling(np.ones((1, 2, 2, 32)), np.zeros((1, 1, 32)))[0, 31:33].numpy().tolist() == [0, 1]
    follow("A head", folder)
    with chdir(folder):
        assert delg.load("run_of_head/model").local_dim == 16


def test_reranker_and_its_weights(folder, reranked):
    (command,) = [line for line in commands("A reranker with weights") if line.startswith("delg-benchmark")]
    before = rows(read_json(folder / "report" / "report.json"))
    assert set(before) == {"global", LEARNED}
    assert cached(command, folder) == {"global", LEARNED}
    with np.load(folder / "weights.npz") as file:
        np.savez(folder / "weights.npz", mean=file["mean"], projection=file["projection"][:, -1:])
    assert cached(command, folder) == {"global"}
    after = rows(read_json(folder / "report" / "report.json"))
    assert after["global"] == before["global"] and after[LEARNED] != before[LEARNED]


def test_benchmark_and_its_metric(folder, reranked):
    follow("A benchmark with its own metric", folder)
    place = folder / "report_of_first_right"
    report = read_json(place / "report.json")
    for row, metrics in rows(report).items():
        values = np.array(report["queries"]["ap"][row]["all"])
        assert set(np.round(100 / values, 6) % 1) == {0} and metrics["MRR"] == pytest.approx(values.mean())
        assert 0 < metrics["R@1"] < metrics["MRR"] < 100
        assert metrics["R@1"] == pytest.approx(100 * (values == 100).mean())
        for statistics, name in ((report["statistics"], "MRR"), (report["statistics"]["hits"]["R@1"], "R@1")):
            interval = statistics["intervals"][row]["all"]
            assert interval["low"] <= metrics[name] <= interval["high"]
    text = (place / "report.md").read_text(encoding="utf-8")
    assert re.search(r"^\| method \| MRR \| R@1 \|$", text, re.MULTILINE)
    assert re.search(r"^\| global \| \d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\] \|", text, re.MULTILINE)
    assert "MRR per query" in (place / "report.html").read_text(encoding="utf-8")


def test_format(folder, reranked):
    follow("A feature format", folder)
    given, back = FeatureStore.open(folder / "features"), FeatureStore.open(folder / "imported")
    assert back.names == given.names and back.settings == given.settings and given.local_bytes
    for i in range(len(given)):
        for name in ("global_descriptor", "keypoints", "descriptors", "scores", "scales"):
            np.testing.assert_array_equal(getattr(back.features(i), name), getattr(given.features(i), name))
    report = rows(read_json(folder / "report_of_format" / "report.json"))
    assert set(report) == {"global", "global+ransac", "global+superglobal"}
    assert report["global"] == rows(read_json(folder / "report" / "report.json"))["global"]
    *_, command = commands("A feature format")
    assert cached(command, folder) == set(report)
    example = folder / "my_format.py"
    example.write_text(example.read_text().replace("np.array(image[name], np.float32)", "np.array(image[name])"))
    assert not cached(command, folder), "other code may read other features"
