"""One command from a local server to the report beside the published values, in the layout of the real archives."""

import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import delg
from delg.common.errors import InputError
from delg.common.files import read_json, write_json
from delg.presets import RELEASED_EXTRACTION
from evaluation.data.catalogue import CATALOGUE
from evaluation.run.published_protocol import OPTIONS, protocol_of
from evaluation.run.published_values import MODELS, rerankers_of
from extraction.store.reader import FeatureStore
from scripts import published
from tests import processes
from tests.evaluation.data.test_fetch import archive, server  # noqa: F401
from tests.extraction.tensorflow_models import write_tf1

ROOT = Path(__file__).parents[2]


def photo(path, seed, size=(160, 128)):
    """Bright and dark squares of one seed; returns the file's bytes."""
    random = np.random.default_rng(seed)
    squares = random.integers(0, 2, (4, 5, 1)) * np.array([250, 240, 130 + 20 * (seed % 6)]) + 5
    Image.fromarray(squares.astype(np.uint8)).resize(size, Image.Resampling.NEAREST).save(path, quality=95)
    return path.read_bytes()


def serve(server, place, benchmark, *archives):  # noqa: F811
    """A tiny set of a benchmark's name, photos spread over its archives, and its ground truth; the catalogue of it."""
    place.mkdir()
    photos = {
        f"paris/x/{name}.jpg": photo(place / "x.jpg", seed) for name, seed in zip("abcdeqr", (0, 0, 1, 1, 2, 0, 1))
    }
    labels = [{"easy": [0], "hard": [1], "junk": []}, {"easy": [2], "hard": [3], "junk": [4]}]
    truth = {"imlist": [*"abcde"], "qimlist": [*"qr"]}
    truth["gnd"] = [{"bbx": [2.0, 2.0, 155.0, 120.0]} | label for label in labels]
    gnd = f"gnd_{benchmark}.pkl"
    server.files[gnd] = pickle.dumps(truth, 2)
    for i, name in enumerate(archives):
        part = dict(list(photos.items())[i :: len(archives)])
        server.files[name] = archive(**{path.replace("/", "__"): data for path, data in part.items()})
    entries = [{"name": gnd, "urls": [f"{server.url}/{gnd}"], "convert": "ground_truth"}]
    return entries + [{"name": name, "urls": [f"{server.url}/{name}"], "unpack": "jpg"} for name in archives]


def run(tmp_path, *arguments):
    """The command as the shell script starts it, in a folder with names of ours."""
    (tmp_path / "scripts").mkdir(exist_ok=True)
    given = [sys.executable, "-m", "scripts.published", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    """The command in this process; the commands that it starts are forks, which save their imports."""

    def start(command, check):
        done = processes.run(*command[3:])  # after python -m delg
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return done

    def run_here(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(published, "subprocess", SimpleNamespace(run=start))
        monkeypatch.setattr("sys.argv", ["published", *arguments])
        capsys.readouterr()
        published.main()
        return capsys.readouterr().out

    return run_here


def of_the_protocol(report, model):
    """Checks that the features are of the protocol that --published asks for; returns their settings."""
    settings = report["settings"]
    assert "protocol_mismatch" not in settings and settings["published"] == model
    made, wanted = settings["features"]["global"], protocol_of(model).features
    scales = [made["image_scales"][i] for i in made["global_scales_ind"]]
    np.testing.assert_allclose(scales, wanted["global_scales"], atol=1e-3)
    assert {key: made[key] for key in ("max_image_size", "scale_pooling")} == {
        key: wanted[key] for key in ("max_image_size", "scale_pooling")
    }
    assert {key: made[key] for key in OPTIONS[model]} == OPTIONS[model]
    return made


@pytest.mark.slow
def test_a_released_model_gets_its_table(server, tmp_path, run_here):  # noqa: F811
    write_json(
        tmp_path / "own.json", {"roxford5k": serve(server, tmp_path / "x", "roxford5k", "oxbuild_images-v1.tgz")}
    )
    weights = write_tf1(tmp_path / "made" / "r50delg_gld_20200814")
    files = {path.relative_to(tmp_path / "made").as_posix(): path.read_bytes() for path in weights.rglob("*.*")}
    server.files["r50delg_gld_20200814.tar.gz"] = archive(**{name.replace("/", "__"): files[name] for name in files})
    command = ["roxford5k", "delg_r50_gldv1", "out", "--catalogue=own.json", f"--mirror={server.url}"]
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 unexpected. It runs as it is: --model=out/delg_r50_gldv1/r50delg_gld_20200814\n" in done.stdout
    place = tmp_path / "out" / "delg_r50_gldv1-roxford5k"
    report = read_json(place / "report.json")
    made = of_the_protocol(report, "delg_r50_gldv1")
    assert made["extractor"] == "saved_model" and made["signature"] == "tensors"
    store = FeatureStore.open(place / "features" / "global" / "database")
    counts = [len(store.features(row)) for row in range(5)]
    assert min(counts) > 0 and min(store.features(row).scores.min() for row in range(5)) >= 175.0
    assert [row["method"] for row in report["rows"]][:2] == ["global", "global+ransac"]
    found = {(line["row"], line["protocol"]): line for line in report["published"] if "ours" in line}
    assert found.keys() == {(row, part) for row in ("global", "global+ransac") for part in ("medium", "hard")}
    assert found["global+ransac", "hard"]["published"] == 53.72
    asked = len(server.asked)
    again = run_here(*command, "--offline")
    assert len(server.asked) == asked, again
    assert "is already complete" in again
    assert [line for line in again.splitlines() if line.startswith("delg-")] == [
        f"{line} --offline" if line.startswith("delg-fetch") else line
        for line in done.stdout.splitlines()
        if line.startswith("delg-")
    ]


@pytest.mark.slow
def test_converted_weights_get_their_table(server, tmp_path, run_here):  # noqa: F811
    model, archives = "delg_r101_gldv2clean", ("paris_1-v1.tgz", "paris_2-v1.tgz")
    truth, names = serve(server, tmp_path / "x", "rparis6k", *archives), ("config.json", "model.weights.h5")
    entries = [{"name": name, "urls": [f"{server.url}/{name}"]} for name in names]
    write_json(tmp_path / "own.json", {"rparis6k": truth, model: [entries[0], entries[1] | {"convert": "model"}]})
    tiny = {"backbone": "resnet_small(depths=(1,1,1,1), widths=(8,12,16,24))", "embedding_dim": 16}
    made = delg.create("delg_small", seed=3, extraction=RELEASED_EXTRACTION, **tiny)
    delg.save(made, tmp_path / "made")
    server.files |= {name: (tmp_path / "made" / name).read_bytes() for name in names}
    run_here("rparis6k", model, "--catalogue", "own.json")
    report = read_json(tmp_path / "out-published" / f"{model}-rparis6k" / "report.json")
    assert of_the_protocol(report, model)["extractor"] == "delg"
    assert [row["method"] for row in report["rows"] if row["method"].startswith("global")] == ["global"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["roxford5k", "delg_r18"], "Unknown published model 'delg_r18'; the choices are arcface_r101_gldv2clean, "),
        (
            ["instre", "delg_r50_gldv1"],
            "No value of delg_r50_gldv1 on instre is known; there are some on roxford5k, rp",
        ),
        (
            ["roxford5k", "superglobal_r101"],
            "No weights of superglobal_r101 are known to delg-fetch, which has those of",
        ),
        (
            ["roxford5k+r1m", "superglobal_r101"],
            "No photos of roxford5k+r1m are known to delg-fetch, which has those of",
        ),
        (["roxford5k", "delg_r50_gldv1", "--catalogue=none.json"], "none.json cannot be read"),
        (["roxford5k", "delg_r50_gldv1", "--offline"], "is not there, and --offline asks no server"),
    ],
)
def test_what_cannot_be_had_is_told_before_anything_is_brought(tmp_path, arguments, sentence):
    done = run(tmp_path, *arguments)
    assert done.returncode == 1 and sentence in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.rglob("*.part"))


def test_the_shell_script_says_how_it_is_used(tmp_path):
    done = subprocess.run(["sh", ROOT / "scripts" / "published.sh"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2 and b"usage: sh scripts/published.sh BENCHMARK MODEL [DIR]" in done.stderr


def test_weights_are_found_or_missed_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"expects a model folder or one exported model\. Received: 0"):
        published.extractor(tmp_path, "delg_r50_gldv1")
    (tmp_path / "r50" / "x").mkdir(parents=True)
    (tmp_path / "r50" / "saved_model.pb").touch()
    text = published.extractor(tmp_path, "arcface_r101_gldv2clean")
    assert text == f"saved_model(model='{tmp_path}/r50', image_scales=[0.70710677, 1.0, 1.4142135])"
    (tmp_path / "model").mkdir()
    assert published.extractor(tmp_path, "superglobal_r101") == f"delg(model='{tmp_path}/model')"


def test_every_model_with_weights_has_its_released_options():
    assert OPTIONS.keys() == set(MODELS) & CATALOGUE.keys()
    assert rerankers_of("delg_r50_gldv1", "roxford5k") == ["ransac"] and not rerankers_of("delg_r50_gldv1", "rparis6k")
