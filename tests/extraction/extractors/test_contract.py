"""The contract of extractors: every entry of the table, a plug-in in a file outside the package, and wrappers."""

import inspect
import sys

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from extraction.extractors.base import Extractor, HeadSelection, Picture, Wrapper
from extraction.extractors.rootsift import RootSift
from extraction.extractors.table import EXTRACTORS, build_extractor
from extraction.pca import NO_PCA, Pca, Projections
from extraction.pipeline import check_local_dtype
from extraction.settings import recorded_settings
from extraction.store.reader import FeatureStore
from tests.delg.xfeat_file import write_xfeat
from tests.extraction.pictures import Counting, picture, write_picture
from tests.extraction.tensorflow_models import write_tf1
from tests.processes import run
from tests.tiny import BACKBONE

PLUG_IN = """
import numpy as np

from extraction.extractors.base import Extractor
from extraction.features import Features
from extraction.settings import common_settings


class Mean(Extractor):
    heads = ("global",)

    def __init__(self, offset: float = 1.0):
        self.offset = offset
        self.settings = common_settings("mean", offset=offset)

    def __call__(self, image, name, resize_factor=1.0, size=None):
        mean = image.reshape(-1, 3).mean(0) + self.offset
        return Features(name, size or image.shape[1::-1], (mean / np.linalg.norm(mean)).astype(np.float32))


def nothing():
    return 3
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extractors")
    (folder / "own_extractors.py").write_text(PLUG_IN)
    sizes = {"embedding_dim": 16, "local_dim": 8, "attention_channels": 8}
    scales = {"image_scales": [0.7, 1.0], "global_scales_ind": [0, 1], "max_feature_num": 50}
    delg.save(delg.create("delg_small", backbone=BACKBONE, extraction=scales, **sizes), folder / "model")
    write_tf1(folder / "saved")
    write_xfeat(folder / "xfeat.pt")
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))


TEXTS = {
    "concat": 'concat(parts=[\'delg(model="{}/model")\', "own_extractors:Mean", "rootsift"], weights=[2, 1, 1])',
    "delg": 'delg(model="{}/model")',
    "histogram": "histogram",
    "pair": 'pair(global=\'delg(model="{}/model")\', local="rootsift")',
    "rootsift": "rootsift",
    "saved_model": 'saved_model(model="{}/saved")',
    "untrained": 'untrained(model="{}/model")',
    "xfeat": 'xfeat(weights="{}/xfeat.pt")',
    "plug-in": "own_extractors:Mean(offset=2.0)",
}


@pytest.fixture(params=TEXTS, scope="module")
def extractor(request, place):
    return build_extractor(TEXTS[request.param].format(place))


def same(one, other):
    np.testing.assert_allclose(one.global_descriptor, other.global_descriptor, atol=1e-5)
    np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-4)
    np.testing.assert_allclose(one.descriptors, other.descriptors, atol=1e-5)


def test_the_texts_are_those_of_the_table():
    assert set(TEXTS) == {*EXTRACTORS, "plug-in"}


def test_an_extractor_keeps_the_contract(extractor):
    image = picture(90, 120, seed=3)
    found = extractor(image, "x")
    assert isinstance(extractor, Extractor)
    assert {"extractor", "exif", "truncated", "package_version"} <= extractor.settings.keys()
    assert found.name == "x" and found.image_size == (120, 90)
    assert bool(found.global_descriptor.size) == ("global" in extractor.heads)
    assert bool(len(found)) == ("local" in extractor.heads)
    for head, width in extractor.dimensions.items():
        values = found.global_descriptor.size if head == "global" else found.descriptors.shape[1]
        assert values == width
    assert all(side >= 1 for side in extractor.base_size((4000, 3000), 0.5))
    for threads in (2, 1):
        extractor.share_cores(threads)
        same(extractor(image, "x"), found)
    same(extractor.together([Picture(image, "x")] * 2)[1], found)
    assert extractor(image, "x", size=(240, 180)).image_size == (240, 180)
    assert found.descriptors.min(initial=0) < 0 or not extractor.signed or "local" not in extractor.heads
    if extractor.pca is None:
        with pytest.raises(InputError, match=extractor.settings["extractor"]):
            extractor.project(Projections(Pca(np.zeros(2), np.eye(2))))


def test_a_wrapper_changes_nothing_but_what_it_is_for(extractor):
    image, heads = picture(90, 120, seed=3), extractor.heads
    whole = extractor(image, "x")
    wrapped = Wrapper(extractor)
    same(wrapped(image, "x"), whole)
    same(wrapped.together([Picture(image, "x")])[0], whole)
    assert wrapped.settings == extractor.settings
    for head in heads:
        part = HeadSelection(extractor, (head,))
        described = part(image, "x")
        assert part.heads == (head,) and (len(described) > 0, described.global_descriptor.size > 0) == (
            head == "local",
            head == "global",
        )
    extractor.heads = heads


def test_a_wrapper_forwards_every_member():
    said = []

    class Special(Counting):
        signed, local_dtype, batched, heads, pca = False, "float16", True, ("local",), NO_PCA

        def base_size(self, size, resize_factor=1.0):
            return size[0] // 2, round(size[1] * resize_factor)

        def share_cores(self, threads):
            said.append(threads)

    inner = Special()
    inner.dimensions = {"global": 3}
    outer = Wrapper(inner, more=1)
    members = {name for name, _ in inspect.getmembers(Extractor) if not name.startswith("_")}
    values = {"signed", "local_dtype", "matching", "batched", "heads", "pca", "dimensions"}
    methods = {"base_size", "together", "share_cores", "makers", "project", "parts_of_heads"}
    assert members == values | methods, "a new one: forward it"
    assert all(getattr(outer, name) == getattr(inner, name) for name in values)
    assert outer.base_size((8, 9), 0.5) == (4, 4) and outer.makers() == (outer, inner)
    outer.share_cores(3)
    assert said == [3]
    outer.heads = ("global",)
    assert inner.heads == ("global",)
    assert outer.settings == inner.settings | {"more": 1}
    pca = Projections(Pca(np.zeros(3), np.eye(3)))
    with pytest.raises(InputError, match="local descriptors expects 3 values"):
        inner.dimensions["local"] = 2
        outer.project(Projections(of_local=pca.of_global))
    outer.project(pca)
    assert inner.pca.of_global is pca.of_global and outer.settings.items() >= pca.settings.items()


@pytest.mark.parametrize("baseline", ["rootsift", "histogram"])
def test_signs_that_are_all_alike_are_not_stored_however_the_extractor_is_wrapped(baseline):
    plain = build_extractor(baseline)
    for extractor in (plain, Wrapper(plain), HeadSelection(plain, ("local",)), Wrapper(Wrapper(RootSift()))):
        check_local_dtype(extractor, "uint8")
        with pytest.raises(InputError, match="binary"):
            check_local_dtype(extractor, "binary")


def test_a_plug_in_is_part_of_the_identity_of_its_store(tmp_path):
    source = tmp_path / "own_extractors.py"
    source.write_text(PLUG_IN)
    write_picture(tmp_path / "photos" / "a.png")

    def extracted(model):
        flags = ["--images_dir=photos", f"--model={model}", "--output_dir=store"]
        return run("extract", *flags, cwd=tmp_path)

    assert extracted("own_extractors:Mean").returncode == 0
    store = FeatureStore.open(tmp_path / "store")
    assert store.settings["extractor"] == "mean" and store.global_descriptors.shape == (1, 3)
    assert "already complete" in extracted("own_extractors:Mean").stderr
    other = extracted("own_extractors:Mean(offset=9.0)")
    assert other.returncode == 1 and "offset" in other.stderr
    source.write_text(PLUG_IN.replace(".mean(0)", ".max(0)"))
    changed = extracted("own_extractors:Mean")
    assert changed.returncode == 1 and "source_sha256" in changed.stderr


def test_the_source_of_a_wrapped_extractor_counts(place):
    extractors = [build_extractor("own_extractors:Mean"), RootSift()]
    wrapped = {recorded_settings(Wrapper(Wrapper(extractor)))["source_sha256"] for extractor in extractors}
    assert len(wrapped) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere:Mean", "'nowhere' cannot be imported"),
        ("own_extractors:Absent", "Absent"),
        ("own_extractors:nothing", "extraction.extractors.base.Extractor"),
        ("own_extractors:Mean(size=3)", "size.*its arguments are offset"),
        ("nothing_of_the_kind", "rootsift.*module:Class"),
    ],
)
def test_what_is_no_extractor_is_a_sentence(place, text, message):
    with pytest.raises(InputError, match=message):
        build_extractor(text)
