"""The decomposition of the speed-up: every method on the same candidates, and factors that belong together."""

import numpy as np
import pytest
from PIL import Image

from tests.extraction.pictures import picture
from tests.test_commands import run

pytest.importorskip("skimage", reason="the released matching calls scikit-image")
from scripts import speedup


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Four things, three photos of each in the database, shifted, and one more as a query."""
    root = tmp_path_factory.mktemp("speedup")
    for thing in range(4):
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


def test_all_methods_rank_the_same_candidates(places, monkeypatch, capsys):
    stores = next((places / "features").glob("*/queries")).parent
    arguments = [str(places / "database"), str(places / "queries"), str(stores), str(places), "--candidates=8"]
    monkeypatch.setattr("sys.argv", ["speedup", *arguments, "--repeats=1"])
    speedup.main()
    text = (places / "speedup.md").read_text()
    assert text in capsys.readouterr().out
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if line.startswith("| ")}
    quality = {name: float(cells[1]) for name, cells in rows.items() if len(cells) == 2 and cells[1].strip() != "mAP"}
    assert quality["RANSAC, released, 1 thread"] > 99 and quality["RANSAC, ours, 1 thread"] > 99
    assert quality["SuperGlobal, literal, 1 thread"] == quality["SuperGlobal, ours, 1 thread"]
    factor = {name: float(cells[0]) for name, cells in rows.items() if len(cells) == 1 and cells[0].strip()}
    whole, *parts = (factor[name] for name in list(factor)[:3])
    assert np.prod(parts) == pytest.approx(whole, rel=0.1)
    assert any(name.startswith("at equal quality: RANSAC") for name in factor)
