"""Composed extractors: pairs and joined global descriptors."""

import numpy as np
import pytest
from PIL import Image

import delg
from delg.common import spec
from delg.common.errors import InputError
from delg.weights.catalogue import WEIGHTS
from extraction.describing import describe, describe_together
from extraction.extractors.base import Picture, select_heads
from extraction.extractors.composed import Concat, Pair
from extraction.extractors.delg import DelgExtractor
from extraction.extractors.histogram import Histogram
from extraction.extractors.rootsift import RootSift
from extraction.extractors.table import absolute, build_extractor, made_by
from extraction.features import Features
from extraction.formats.checks import check_settings, differences, differing, matching_of
from extraction.images import BadImageError, ImageRef, Reading, list_images
from extraction.pca import Pca, Projections
from extraction.pipeline import check_local_dtype, extract
from extraction.settings import recorded_settings, set_reading
from extraction.store.reader import FeatureStore
from tests.extraction.pictures import Counting, picture, write_picture
from tests.processes import run
from tests.tiny import BACKBONE

IMAGE = picture(90, 120, seed=3)
BOTH = 'pair(global="histogram(bins=(4, 2, 2))", local="rootsift(max_feature_num=20)")'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    sizes = {"embedding_dim": 16, "local_dim": 8, "attention_channels": 8}
    scales = {"image_scales": [1.0], "global_scales_ind": [0], "max_image_size": 64}
    place = tmp_path_factory.mktemp("composed") / "model"
    delg.save(delg.create("delg_small", backbone=BACKBONE, extraction=scales, **sizes), place)
    return place


class Sizes(Counting):
    """A batched extractor that resizes to a width, and refuses pictures of one name."""

    batched = True

    def __init__(self, width, refused=""):
        super().__init__(width=width)
        self.width, self.refused, self.batches = width, refused, []

    def base_size(self, size, resize_factor=1.0):
        return self.width, round(size[1] * self.width / size[0])

    def together(self, pictures):
        self.batches.append([one.name for one in pictures])
        if self.refused in self.batches[-1]:
            raise BadImageError("refused")
        assert len({self.base_size(one.image.shape[1::-1]) for one in pictures}) == 1
        return [self(*one) for one in pictures]


def test_a_pair_has_the_global_descriptor_of_one_and_the_local_features_of_the_other():
    found = build_extractor(BOTH)(IMAGE, "x")
    of_global, of_local = Histogram(bins=(4, 2, 2))(IMAGE, "x"), RootSift(max_feature_num=20)(IMAGE, "x")
    np.testing.assert_array_equal(found.global_descriptor, of_global.global_descriptor)
    for key in ("keypoints", "descriptors", "scores", "scales"):
        np.testing.assert_array_equal(getattr(found, key), getattr(of_local, key))


def test_a_pair_of_one_object_is_that_object():
    both = RootSift(max_feature_num=20)
    found, expected = Pair(both, both)(IMAGE, "x"), RootSift(max_feature_num=20)(IMAGE, "x")
    np.testing.assert_array_equal(found.global_descriptor, expected.global_descriptor)
    np.testing.assert_array_equal(found.descriptors, expected.descriptors)


def published_settings(name, **options):
    """What features of published weights record of them."""
    return {"extractor": "delg", "weights_sha256": WEIGHTS[name].sha256, "runtime": "openvino", **options}


def test_settings_say_which_extractor_made_them_where_no_folder_is_needed(folder):
    for text in ("rootsift(max_image_size=99, max_feature_num=20)", "histogram(bins=[4, 2, 2], pyramid=True)", BOTH):
        extractor = build_extractor(text)
        again = build_extractor(made_by(extractor.settings))
        assert again.settings == extractor.settings
    lite = published_settings("efficientnet_lite2", max_image_size=300)
    joined = {"extractor": "concat", "weights": [1.0, 2.0], "parts": {"part1": lite, "part2": Histogram().settings}}
    assert made_by(lite) == "efficientnet_lite2(max_image_size=300)"
    assert (
        made_by(joined) == "concat(parts=['efficientnet_lite2(max_image_size=300)', 'histogram'], weights=[1.0, 2.0])"
    )
    assert made_by({"extractor": "xfeat", "weights_sha256": "0" * 64}) is None, "weights of a file"
    assert made_by({}) is None
    model = build_extractor(str(folder)).settings
    assert made_by(model) is None and made_by(joined | {"parts": {"part1": lite, "part2": model}}) is None


def test_a_text_longer_than_a_file_name_is_an_extractor():
    assert build_extractor(f"rootsift(max_feature_num=0x{'0' * 300}20)").max_feature_num == 32


@pytest.mark.parametrize("text", ["rootsift(runtime='openvino')", "xfeat(precision='bfloat16')"])
def test_what_is_no_model_has_one_way_of_computing(text):
    with pytest.raises(InputError, match="model folders"):
        build_extractor(text)


def test_a_head_that_is_not_wanted_costs_nothing():
    parts = Counting(), Counting()
    pair = Pair(*parts)
    for wanted, calls in (("global", [1, 0]), ("local", [1, 1])):
        part = select_heads(pair, (wanted,))(IMAGE, "x")
        assert [len(one.calls) for one in parts] == calls
        assert (part.global_descriptor.size > 0, len(part) > 0) == (wanted == "global", wanted == "local")
        pair.heads = ("global", "local")


def test_joined_descriptors_give_the_mean_of_the_similarities_by_weight():
    one, other = Histogram(bins=(4, 2, 2)), RootSift(max_feature_num=20)
    joined = Concat([one, other], weights=[3, 1])
    images = [picture(90, 120, seed) for seed in range(2)]
    cosines = [np.dot(*(e(image, "x").global_descriptor for image in images)) for e in (one, other, joined)]
    assert cosines[2] == pytest.approx((3 * cosines[0] + cosines[1]) / 4, abs=1e-6)
    vector = joined(images[0], "x").global_descriptor
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6) and vector.dtype == np.float32
    assert np.linalg.norm(vector[:16]) == pytest.approx(np.sqrt(3 / 4), abs=1e-6)
    assert not len(joined(images[0], "x")) and joined.heads == ("global",)


def test_texts_nest_and_are_recorded(folder):
    inner = spec.render("concat", {"parts": [str(folder), "histogram"], "weights": [1, 0.5]})
    text = spec.render("pair", {"global_": inner, "local": "rootsift"})
    assert text.startswith("pair(global=")
    extractor = build_extractor(text, defaults={"keypoints": "released"})
    settings = extractor.settings
    assert settings["extractor"] == "pair" and settings["parts"]["local"]["extractor"] == "rootsift"
    joined = settings["parts"]["global"]
    assert joined["weights"] == [1.0, 0.5]
    assert [part["extractor"] for part in joined["parts"].values()] == ["delg", "histogram"]
    assert joined["parts"]["part1"]["keypoints"] == "released"
    assert extractor.dimensions == {} and extractor.batched
    assert {"exif", "opencv", "decoder"}.isdisjoint(settings["parts"]["local"])
    assert settings["opencv"] == RootSift().settings["opencv"]


def test_images_are_decoded_once_and_turned_for_all_parts(tmp_path):
    upright = picture(60, 80, seed=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(upright).save(tmp_path / "a.png", exif=exif)
    one, other = Counting(exif="orientation applied"), Counting(exif="orientation applied")
    pair = Pair(one, other)
    describe(pair, ImageRef("a", str(tmp_path / "a.png")))
    assert [call[1] for part in (one, other) for call in part.calls] == [(80, 60, 3)] * 2
    set_reading(pair, exif="ignore")
    assert Reading.of(pair.settings).exif == "ignore"
    describe(pair, ImageRef("a", str(tmp_path / "a.png")))
    assert [part.calls[-1][1] for part in (one, other)] == [(60, 80, 3)] * 2


def test_parts_that_read_images_differently_are_refused(folder):
    with pytest.raises(InputError, match="global and local read differently: truncated"):
        Pair(RootSift(), set_reading(RootSift(), truncated="describe"))
    rules = [build_extractor(str(folder), crop_rule=rule) for rule in ("round", "truncate")]
    with pytest.raises(InputError, match="part2 and part3 read differently: crop_rule"):
        Concat([RootSift(), *rules])
    pair = Pair(rules[1], RootSift())
    assert Reading.of(pair.settings).crop_rule == "truncate"
    with pytest.raises(InputError, match="use_resized_coordinates"):
        Pair(RootSift(), build_extractor(str(folder), use_resized_coordinates=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('pair(global="rootsift")', "missing a required argument: 'local'"),
        ('pair(local="rootsift", global="rootsift", size=3)', "its arguments are global, local"),
        ('pair(global="concat(parts=3)", local="rootsift")', "quoted texts.*3"),
        ('pair(global="rootsift", local=\'concat(parts=["rootsift", "histogram"])\')', "local.*'concat' gives global"),
        ('concat(parts=["rootsift"])', "two extractors or more"),
        ('concat(parts="rootsift")', "two extractors or more"),
        ('concat(parts=["rootsift", "surf"])', "'surf' is neither"),
        ('concat(parts=["rootsift", "histogram"], weights=[1])', "2 weights above 0"),
        ('concat(parts=["rootsift", "histogram"], weights=[1, 0])', "2 weights above 0"),
        ('concat(parts=["rootsift", "histogram"], weights=[1, float("nan")])', "Expected name|neither"),
        ('concat(parts=["rootsift", "histogram"], weights=["a", "b"])', "numbers as weights"),
    ],
)
def test_bad_compositions_are_a_sentence(text, message):
    with pytest.raises(InputError, match=message):
        build_extractor(text)


def test_options_go_to_the_parts_that_have_them(folder):
    inner = spec.render("concat", {"parts": [str(folder), "histogram"]})
    text = spec.render("pair", {"global_": inner, "local": "rootsift(max_feature_num=20)"})
    options = {"max_feature_num": 30, "max_image_size": 48, "image_scales": [0.5], "runtime": None}
    parts = build_extractor(text, **options).settings["parts"]
    model, histogram = parts["global"]["parts"].values()
    assert parts["local"]["max_feature_num"] == 30 and histogram["max_feature_num"] == 1000
    assert [part["max_image_size"] for part in (model, histogram, parts["local"])] == [48] * 3
    assert model["image_scales"] == [0.5] and model["max_feature_num"] == 1000
    for options in ({"score_threshold": 1.0}, {"global_scales_ind": [0], "iou": 0.5}, {"offset": 3}):
        with pytest.raises(InputError, match=f"{list(options)[-1]}.*its arguments are global, local"):
            build_extractor(text, **options)
    with pytest.raises(InputError, match="image_scales"):
        build_extractor(BOTH, image_scales=[1.0])


def test_a_pair_takes_no_pca():
    with pytest.raises(InputError, match="'pair' takes no PCA"):
        build_extractor(BOTH).project(Projections(Pca(np.zeros(3), np.eye(3))))


def test_what_the_local_part_says_of_local_descriptors_holds_for_the_pair(folder):
    check_local_dtype(Pair(RootSift(), build_extractor(str(folder))), "binary")
    with pytest.raises(InputError, match="binary"):
        check_local_dtype(build_extractor(BOTH), "binary")


def test_each_part_gets_batches_of_its_own_size():
    one, other = Sizes(40), Sizes(80)
    heights = {"a": 30, "b": 31, "c": 30, "d": 90}
    pictures = [Picture(picture(height, 40), name) for name, height in heights.items()]
    pair = Pair(one, other)
    assert pair.batched and pair.base_size((40, 30)) == (80, 60)
    together = pair.together(pictures)
    assert one.batches == other.batches == [["a", "c"], ["b"], ["d"]]
    for features, single in zip(together, pictures):
        alone = pair(*single)
        assert features.name == alone.name == single.name
        np.testing.assert_array_equal(features.global_descriptor, alone.global_descriptor)


def test_an_image_that_one_part_refuses_does_not_take_its_batch_along(tmp_path):
    refs = [ImageRef(name, str(write_picture(tmp_path / f"{name}.png"))) for name in "abc"]
    part = Sizes(80, refused="b")
    described = describe_together(Pair(part, Counting()), refs)
    assert part.batches[0] == ["a", "b", "c"]
    assert [isinstance(one, Features) for one in described] == [True, False, True]
    assert isinstance(described[1], BadImageError) and str(described[1]) == "refused"


def test_a_store_of_a_pair_is_the_same_in_any_batch_and_refuses_other_parts(folder, tmp_path):
    for i in range(3):
        write_picture(tmp_path / "photos" / f"{i}.png", seed=i)
    text = f'pair(global="{folder}", local="rootsift(max_feature_num=20)")'
    images = list_images(tmp_path / "photos")
    for batch in (1, 3):
        extract(build_extractor(text), images, tmp_path / f"store{batch}", batch_size=batch, progress=False)
    stores = [FeatureStore.open(tmp_path / f"store{batch}") for batch in (1, 3)]
    np.testing.assert_allclose(*(store.global_descriptors for store in stores), atol=1e-5)
    np.testing.assert_array_equal(*(store.features(2).descriptors for store in stores))
    with pytest.raises(InputError, match=r"parts\.local\.max_feature_num \(20 and 30\)"):
        extract(build_extractor(text.replace("20", "30")), images, tmp_path / "store1", progress=False)


def test_settings_of_parts_are_compared_like_any_other():
    one, same, other = (build_extractor(BOTH.replace("20", n)).settings for n in ("20", "20", "30"))
    assert not differing(one, same)
    assert differing(one, other) == differences(one, other) == ["parts.local.max_feature_num (20 and 30)"]
    kinds = build_extractor(BOTH.replace("histogram(bins=(4, 2, 2))", "rootsift")).settings
    assert differences(one, kinds) == ["parts.global.extractor ('histogram' and 'rootsift')"]
    assert differences(one, RootSift().settings) == ["extractor ('pair' and 'rootsift')"]
    with pytest.raises(InputError, match=r"parts\.local\.max_feature_num"):
        check_settings(one, other, "Two")


def test_runtimes_of_parts_may_differ_and_the_source_of_all_parts_counts(folder):
    plain = build_extractor(f'pair(global="{folder}", local="rootsift")')
    changed = Pair(DelgExtractor.from_folder(str(folder), runtime="openvino"), RootSift())
    assert differing(plain.settings, changed.settings) and not differences(plain.settings, changed.settings)
    hashes = {recorded_settings(e)["source_sha256"] for e in (plain, changed, build_extractor(BOTH))}
    assert len(hashes) == 3


def test_paths_within_texts_become_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert absolute("model") == str(folder)
    assert absolute('delg(model="model", iou=0.5)') == f"delg(model={str(folder)!r}, iou=0.5)"
    nested = 'pair(global=\'concat(parts=["model", "rootsift"])\', local=\'untrained(model="model")\')'
    build = absolute(nested)
    monkeypatch.chdir("/")
    assert build_extractor(build).settings == build_extractor(nested.replace('"model"', f'"{folder}"')).settings
    assert absolute("rootsift") == "rootsift" and absolute("no/such folder") == "no/such folder"


def test_a_benchmark_and_a_search_take_a_pair(tmp_path):
    for i, label in enumerate(("a", "a", "b", "b")):
        write_picture(tmp_path / "photos" / label / f"{i}.png", seed=i // 2)
    flags = ["--benchmark=folders", "--data_dir=photos", "--baselines=", "--rerank=ransac"]
    report = run("benchmark", *flags, f"--model={BOTH}", "--output_dir=report", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    (store,) = (path.parent for path in tmp_path.glob("report/**/manifest.json"))
    query = ["--query=photos/a/0.png", f"--features_dir={store}", "--rerank=ransac"]
    searched = run("search", *query, f"--model={BOTH}", cwd=tmp_path)
    assert searched.returncode == 0 and "a/0" in searched.stdout, searched.stderr


def test_a_pair_is_matched_as_its_local_part_and_features_record_how(tmp_path):
    """Only local features are matched, and features that record nothing may be compared with those that do."""
    images = [ImageRef("a", str(write_picture(tmp_path / "a.png", 90, 120)))]
    store = extract(build_extractor(BOTH), images, tmp_path / "store")
    matching = matching_of(store.settings)
    assert matching == dict(RootSift.matching) == matching_of(recorded_settings(RootSift()))
    assert matching["mutual"] and "residual_share" in matching
    assert matching_of(recorded_settings(Histogram())) == {}
    assert matching_of(recorded_settings(select_heads(RootSift(), ("global",)))) == {}
    older = {name: value for name, value in store.settings.items() if name != "matching"}
    assert matching_of(older) == {} and differences(older, store.settings) == []
