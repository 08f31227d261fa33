"""Kept graphs: a later process describes photos without Keras, and gives the same features."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

import delg
from delg import saving
from extraction.extractors.delg import DelgExtractor
from extraction.runtimes import kept
from extraction.runtimes.kept import KeptModel
from tests.extraction.pictures import picture
from tests.tiny import BACKBONE

pytest.importorskip("openvino")
OPTIONS = {"runtime": "openvino", "scale_rule": "long_side", "max_image_size": 96, "image_scales": (0.5, 1.0)}
OPTIONS |= {"global_scales_ind": (0, 1)}


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A folder with a model and its kept graph, and a descriptor of the extractor that kept the graph."""
    place = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        extractor = DelgExtractor.from_folder(str(made(place, patch, BACKBONE)), **OPTIONS)
        return place, described(extractor)


@pytest.fixture
def folder(made_once, tmp_path, monkeypatch):
    shutil.copytree(made_once[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("DELG_HOME", str(tmp_path / "home"))
    return tmp_path / "model"


@pytest.fixture
def whole(made_once):
    return made_once[1]


def made(place, monkeypatch, backbone):
    monkeypatch.setenv("DELG_HOME", str(place / "home"))
    delg.save(delg.Delg(backbone=backbone, local_head=None, embedding_dim=16, local_dim=None), place / "model")
    return place / "model"


def described(extractor):
    return extractor(picture(90, 120, 3), "a").global_descriptor


def test_a_kept_graph_gives_the_features_of_the_network(folder, whole):
    again = DelgExtractor.from_folder(str(folder), **OPTIONS)
    plain = DelgExtractor.from_folder(str(folder), **OPTIONS | {"runtime": None})
    assert isinstance(again._model, KeptModel)
    assert np.array_equal(whole, described(again))
    assert described(again) @ described(plain) > 1 - 1e-6
    assert again.settings | {"runtime": ""} == plain.settings | {"runtime": ""}
    assert again.model.get_config() == plain.model.get_config()


def test_a_process_with_a_kept_graph_imports_no_keras(tmp_path, monkeypatch):
    folder = made(tmp_path, monkeypatch, "squeezenet")
    DelgExtractor.from_folder(str(folder), **OPTIONS)
    code = (
        "import sys, numpy as np; from extraction.extractors.table import build_extractor;"
        f"e = build_extractor({str(folder)!r}, **{OPTIONS!r}); e(np.zeros((90, 120, 3), np.uint8), 'a');"
        "print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_damaged_graph_is_made_anew(folder, whole):
    (file,) = kept._place("x").parent.glob("*/graph.bin")
    file.write_bytes(bytes(len(file.read_bytes())))
    assert np.array_equal(described(DelgExtractor.from_folder(str(folder), **OPTIONS)), whole)


def test_where_nothing_can_be_kept_the_network_is_converted(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DELG_HOME", str(tmp_path / "file"))
    extractor = DelgExtractor.from_folder(str(folder), **OPTIONS)
    assert not isinstance(extractor._model, KeptModel)
    assert described(extractor).shape == (16,)


def test_a_model_with_a_local_head_is_not_kept():
    assert kept.key_of("sha", {"backbone": "resnet(depth=50)"}, {}) is None
    assert kept.key_of("sha", {"backbone": "resnet(depth=50)", "local_head": None}, {}) is not None


def test_other_weights_another_configuration_and_switches_have_another_graph():
    config = {"backbone": BACKBONE, "local_head": None}
    cases = (
        ("a", config, {}),
        ("b", config, {}),
        ("a", config | {"embedding_dim": 8}, {}),
        ("a", config, {"relup": 1}),
    )
    assert len({kept.key_of(*case) for case in cases}) == len(cases)


def test_a_newer_graph_of_a_model_replaces_the_old_one(folder, monkeypatch):
    place = kept._place("x").parent
    DelgExtractor.from_folder(str(folder), **OPTIONS)
    (old,) = place.iterdir()
    other = place / f"{'0' * 32}-{'1' * 32}"
    other.mkdir()
    monkeypatch.setattr(kept, "version", lambda name: "9.9")
    DelgExtractor.from_folder(str(folder), **OPTIONS)
    left = set(place.iterdir())
    assert other in left and len(left) == 2 and old not in left


def test_a_model_whose_graph_cannot_be_kept_is_loaded_once(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DELG_HOME", str(tmp_path / "file"))
    loads, load = [], saving.load
    monkeypatch.setattr(saving, "load", lambda *given, **named: (loads.append(given), load(*given, **named))[1])
    DelgExtractor.from_folder(str(folder), **OPTIONS)
    assert len(loads) == 1
