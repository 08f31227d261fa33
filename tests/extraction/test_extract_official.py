"""The command delg-extract with the files of the released programs, in and out."""

import pickle

import numpy as np
import pytest

import delg
from extraction.extractors.delg import DelgExtractor, ExtractionConfig
from extraction.formats.official import OfficialFiles
from extraction.images import ImageRef, load_image
from extraction.store.reader import FeatureStore
from protos.configs import read_delf_config
from tests import processes
from tests.extraction.pictures import tree, write_picture
from tests.tiny import BACKBONE

CONFIG = """
model_path: "model"
image_scales: 0.70710677
image_scales: 1.0
delf_local_config { use_pca: false max_feature_num: 20 score_threshold: 0.0 }
delf_global_config { use_pca: false image_scales_ind: 1 }
max_image_size: 96
use_global_features: true
"""


def run(folder, **flags):
    arguments = [f"--{key}={value}" for key, value in flags.items()]
    done = processes.run("extract", *arguments, cwd=folder)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_a_released_configuration_gives_released_files(tmp_path):
    for i, name in enumerate("abc"):
        write_picture(tmp_path / "jpg" / f"{name}.jpg", 120, 160, seed=i)
    box = [40.0, 30.0, 120.0, 90.0]
    truth = {"imlist": ["a", "b"], "qimlist": ["c"], "gnd": [{"bbx": box, "easy": [0], "hard": [1], "junk": []}]}
    (tmp_path / "gnd.pkl").write_bytes(pickle.dumps(truth))
    (tmp_path / "config.pbtxt").write_text(CONFIG)
    model = delg.create("delg_small", backbone=BACKBONE, num_classes=None, seed=0)
    delg.save(model, tmp_path / "model")
    flags = {
        "delf_config_path": "config.pbtxt",
        "dataset_file_path": "gnd.pkl",
        "images_dir": "jpg",
        "image_set": "query",
        "feature_files": "official",
        "output_features_dir": "query",
    }
    code, printed, errors = run(tmp_path, **flags)
    assert code == 0, errors
    assert printed == "query: 1 images, 0 skipped\n"
    assert set(tree(tmp_path / "query")) == {"c.delg_global", "c.delg_local", "delf_config.pbtxt", "extraction.json"}
    found = OfficialFiles.open(tmp_path / "query", ["c"])
    settings = found.settings
    assert (settings["image_scales"], settings["global_scales_ind"]) == ([0.70710677, 1.0], [1])
    assert (settings["max_image_size"], settings["score_threshold"], settings["crop"]) == (96, 0.0, True)
    assert read_delf_config(tmp_path / "query" / "delf_config.pbtxt").max_image_size == 96
    config = ExtractionConfig((0.70710677, 1.0), (1,), 96, 20, 0.0, "released")
    image, whole, _ = load_image(ImageRef("c", str(tmp_path / "jpg" / "c.jpg"), tuple(box)))
    expected = DelgExtractor(model, config)(image, "c", resize_factor=80 / 160)
    assert whole == (160, 120) and image.shape == (60, 80, 3) and 0 < len(expected) <= 20
    features = found.features(0)
    for name in ("global_descriptor", "keypoints", "descriptors", "scores", "scales"):
        np.testing.assert_allclose(getattr(features, name), getattr(expected, name), atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_one_kind_and_models_that_lack_the_other(tmp_path):
    write_picture(tmp_path / "jpg" / "a.jpg", 96, 120)
    delg.save(delg.create("delg_small", backbone=BACKBONE, num_classes=None, seed=0), tmp_path / "both")
    delg.save(
        delg.create("delg_small", backbone=BACKBONE, num_classes=None, seed=0, local_head=None), tmp_path / "global"
    )
    text = "delf_local_config { use_pca: false score_threshold: 0 } image_scales: 1.0"
    (tmp_path / "local.pbtxt").write_text(text)
    common = {"images_dir": "jpg", "feature_files": "official"}
    local = common | {"delf_config_path": "local.pbtxt"}
    code, _, errors = run(tmp_path, **local, model="both", output_dir="l")
    assert code == 0, errors
    assert set(tree(tmp_path / "l")) == {"a.delg_local", "delf_config.pbtxt", "extraction.json"}
    assert (tmp_path / "l" / "a.delg_local").stat().st_size > 0
    code, _, errors = run(tmp_path, **local, model="global", output_dir="x")
    assert code == 1 and "local features are asked for, but" in errors and not tree(tmp_path / "x")
    code, _, errors = run(tmp_path, **common, model="global", output_dir="g", image_scales="1.0")
    assert code == 0, errors
    assert set(tree(tmp_path / "g")) == {"a.delg_global", "delf_config.pbtxt", "extraction.json"}
    settings = OfficialFiles.open(tmp_path / "g", ["a"]).settings
    assert (settings["keypoints"], settings["global_scales_ind"]) == ("released", [0])
    code, _, errors = run(tmp_path, **common, model="global", output_dir="n", score_threshold="nan")
    assert code == 1 and "score_threshold expects a finite number" in errors


def test_lists_of_paths_and_mistakes(tmp_path):
    for i in range(2):
        write_picture(tmp_path / "photos" / f"{i}.png", 90, 120, seed=i)
    (tmp_path / "list.txt").write_text("photos/0.png\nphotos/1.png\n")
    given = {"list_images_path": "list.txt", "model": "rootsift", "output_dir": "o"}
    code, printed, errors = run(tmp_path, **given, feature_files="official")
    assert (code, printed) == (0, "o: 2 images, 0 skipped\n"), errors
    assert {f"photos/{i}.delg_local" for i in range(2)} < set(tree(tmp_path / "o"))
    assert "delf_config.pbtxt" not in tree(tmp_path / "o")  # the released programs know no rootsift
    code, _, errors = run(tmp_path, **given | {"output_dir": "s", "exif": "ignore"})
    assert code == 0, errors
    store = FeatureStore.open(tmp_path / "s")
    files = OfficialFiles.open(tmp_path / "o", store.names)
    np.testing.assert_array_equal(files.features(1).keypoints, store.features(1).keypoints)
    files.check_compatible(store)
    (tmp_path / "pca.pbtxt").write_text("use_global_features: true delf_local_config { use_pca: false }")
    for more, said in (
        ({"delf_config_path": "pca.pbtxt"}, "delf_global_config asks for PCA (use_pca is true unless"),
        ({"delf_config_path": "none.pbtxt"}, "none.pbtxt cannot be read"),
        (
            {"feature_files": "official", "local_dtype": "float16"},
            "--local_dtype cannot be combined with",
        ),
    ):
        code, printed, errors = run(tmp_path, **given | more | {"output_dir": "x"})
        assert code == 1 and said in errors and "Traceback" not in errors and not printed
    assert not (tmp_path / "x").exists()
