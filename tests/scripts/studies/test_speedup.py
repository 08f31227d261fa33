"""The decomposition of the speed-up: every method on the same candidates, and factors that belong together."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from delg.common.errors import InputError
from matching.rerankers.ransac import Ransac
from tests.extraction.pictures import picture
from tests.processes import run

pytest.importorskip("skimage", reason="the released matching calls scikit-image")
from scripts.studies import speedup


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Three things, three photos of each in the database, shifted, and one more as a query."""
    root = tmp_path_factory.mktemp("speedup")
    for thing in range(3):
        whole = picture(200, 260, seed=thing)
        for view in range(4):
            part = whole[5 * view : 5 * view + 170, 8 * view : 8 * view + 220]
            folder = root / ("queries" if view == 3 else "database") / str(thing)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part).save(folder / f"{view}.png")
    done = run(
        "benchmark", "--benchmark=folders", f"--data_dir={root / 'database'}", f"--queries_dir={root / 'queries'}",
        "--model=rootsift(max_feature_num=60)", "--rerank=ransac", f"--features_dir={root / 'features'}",
        f"--output_dir={root / 'report'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return root


def tables(text):
    """Cells of the lines of methods, and of those of factors, by their names."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    methods = {name: more for name, *more in rows if len(more) == 6 and name != "method"}
    return methods, {name: more for name, *more in rows if len(more) == 3 and "against" in name}


def test_all_methods_rank_the_same_candidates(places, monkeypatch, capsys):
    stores = str(next((places / "features").glob("*/queries")).parent)
    arguments = [str(places / "database"), stores, stores, str(places), f"--queries_dir={places / 'queries'}"]
    monkeypatch.setattr("sys.argv", ["speedup", *arguments, "--candidates=6", "--repeats=1"])
    speedup.main()
    text = (places / "speedup.md").read_text()
    assert text in capsys.readouterr().out and text.startswith("6 candidates, 3 queries, 2 seeds. RANSAC reaches")
    methods, factors = tables(text)
    quality = {name: float(more[3]) for name, more in methods.items()}
    assert quality["RANSAC, released, 1 thread"] > 99 and quality["RANSAC, ours, 1 thread"] > 99
    assert quality["SuperGlobal, literal, 1 thread"] == quality["SuperGlobal, ours, 1 thread"]
    assert all(float(more[0]) > 0 for more in methods.values()), "a stage without a time"
    for cell in (methods["RANSAC, ours, 1 thread"], factors["released RANSAC against our SuperGlobal"]):
        low, high = map(float, cell[1].strip("[]").split(","))
        assert low <= float(cell[0]) <= high and len(cell[2].split(" / ")) == 2
    whole, *parts = (float(more[0]) for more in list(factors.values())[:3])
    assert np.prod(parts) == pytest.approx(whole, rel=0.02)
    assert any(name.startswith("at equal quality: RANSAC") for name in factors)
    assert "SuperGlobal against RANSAC, 6 candidates each: mAP" in text


def test_equal_quality_that_is_not_reached_is_told(places, tmp_path, monkeypatch):
    stores = str(next((places / "features").glob("*/queries")).parent)
    arguments = [str(places / "database"), stores, str(tmp_path), f"--queries_dir={places / 'queries'}"]
    more = ["--candidates=6", "--repeats=1", "--most_queries=2"]
    monkeypatch.setattr("sys.argv", ["speedup", *arguments, *more])
    real = speedup.fewer
    monkeypatch.setattr(speedup, "fewer", lambda *given: {n: ap / 2 for n, ap in real(*given).items()})
    speedup.main()
    text = (tmp_path / "speedup.md").read_text()
    methods, factors = tables(text)
    assert text.startswith("6 candidates, 2 queries, 1 seed.")
    assert "Equal quality is not reached: RANSAC comes to an mAP of 50.00 at most, with" in text
    assert not any("equal quality" in name for name in factors) and len(methods) == 7
    monkeypatch.setattr("sys.argv", ["speedup", *arguments, "--candidates=0"])
    with pytest.raises(InputError, match="--candidates expects 1 or more"):
        speedup.main()


def test_fewer_candidates_are_those_of_ransac_on_fewer(places):
    options = SimpleNamespace(data_dir=str(places / "database"), queries_dir=str(places / "queries"))
    options.benchmark, options.most_queries = "folders", 100
    case = speedup.read(options, next((places / "features").glob("*/queries")).parent)
    rankings = {
        n: speedup.joined([speedup.one_by_one(case, lambda n=n: Ransac(n))(q) for q in range(3)]) for n in (3, 5, 8)
    }
    found = speedup.fewer(case, rankings[8], 8)
    for n, ranking in rankings.items():
        np.testing.assert_array_equal(found[n], case.quality(ranking))
