"""Configurations as text: released defaults, field numbers, wrong fields; and the generated code itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from delg.common.errors import InputError
from protos import aggregation_config_pb2, box_pb2, configs, datum_pb2, delf_config_pb2, feature_pb2

ROOT = Path(__file__).parents[2]
MODULES = [datum_pb2, feature_pb2, box_pb2, aggregation_config_pb2, delf_config_pb2]

EXAMPLE = """
model_path: "models/delf"
image_scales: .25
image_scales: .3536
delf_local_config {
  use_pca: false
  max_feature_num: 500
  pca_parameters { mean_path: "mean.datum" pca_dim: 40 }
}
delf_global_config { use_pca: false image_scales_ind: 1 image_scales_ind: 0 }
use_global_features: true  # comment
"""


def write(folder, text):
    path = folder / "config.pbtxt"
    path.write_text(text)
    return path


def test_a_configuration_is_read(tmp_path):
    config = configs.read_delf_config(write(tmp_path, EXAMPLE))
    assert config.model_path == "models/delf"
    assert list(config.image_scales) == pytest.approx([0.25, 0.3536])
    assert not config.delf_local_config.use_pca and config.delf_local_config.max_feature_num == 500
    assert config.delf_local_config.pca_parameters.pca_dim == 40
    assert list(config.delf_global_config.image_scales_ind) == [1, 0]
    assert config.use_global_features and config.use_local_features


def test_released_defaults(tmp_path):
    config = configs.read_delf_config(write(tmp_path, ""))
    assert (config.max_image_size, config.min_image_size, config.use_square_images) == (-1, -1, False)
    assert (config.use_local_features, config.use_global_features, config.is_tf2_exported) == (True, False, False)
    local = config.delf_local_config
    assert local.use_pca and config.delf_global_config.use_pca and not local.pca_parameters.use_whitening
    assert (local.iou_threshold, local.max_feature_num, local.score_threshold) == (1.0, 1000, 100.0)
    aggregation = configs.read_aggregation_config(write(tmp_path, ""))
    assert (aggregation.codebook_size, aggregation.feature_dimensionality, aggregation.aggregation_type) == (
        65536,
        128,
        aggregation.ASMK_STAR,
    )
    assert aggregation.use_l2_normalization and not aggregation.use_regional_aggregation
    assert (aggregation.num_assignments, aggregation.feature_batch_size) == (1, 100)
    assert (aggregation.alpha, aggregation.tau) == (3.0, 0.0)


def test_what_is_written_is_read(tmp_path):
    config = configs.read_delf_config(write(tmp_path, EXAMPLE))
    configs.write_config(tmp_path / "copy.pbtxt", config)
    assert configs.read_delf_config(tmp_path / "copy.pbtxt") == config
    assert "max_image_size" not in (tmp_path / "copy.pbtxt").read_text()  # what is not set stays so


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("image_scale: 1.0", r'no field named "image_scale"'),
        ("delf_local_config { threshold: 3 }", 'no field named "threshold"'),
        ("max_image_size: 1.5", "1:17"),
        ("max_image_size: 1024 }", "1:22"),
        ("use_local_features: maybe", "1:21"),
        ("{", "1:1"),
    ],
)
def test_a_wrong_field_ends_in_one_sentence(tmp_path, text, why):
    with pytest.raises(InputError, match=rf"config\.pbtxt is not the text of a DelfConfig: .*{why}") as caught:
        configs.read_delf_config(write(tmp_path, text))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "config.pbtxt").write_bytes(b"max_image_size: 9\n# caf\xe9")
    for name in ("none.pbtxt", r"config\.pbtxt, line 2"):
        with pytest.raises(InputError, match=name):
            configs.read_delf_config(tmp_path / name.partition(",")[0].replace("\\", ""))


RELEASED = {
    "DatumShape": "dim=1",
    "FloatList": "value=1",
    "Uint32List": "value=1",
    "DatumProto": "shape=1 float_list=2 uint32_list=3",
    "DatumPairProto": "first=1 second=2",
    "DelfFeature": "descriptor=1 x=2 y=3 scale=4 orientation=5 strength=6",
    "DelfFeatures": "feature=1",
    "Box": "ymin=1 xmin=2 ymax=3 xmax=4 score=5 class_index=6",
    "Boxes": "box=1",
    "AggregationConfig": "codebook_size=1 feature_dimensionality=2 aggregation_type=3 use_l2_normalization=4 "
    "codebook_path=5 num_assignments=6 use_regional_aggregation=7 alpha=8 tau=9 feature_batch_size=10",
    "DelfPcaParameters": "mean_path=1 projection_matrix_path=2 pca_dim=3 use_whitening=4 pca_variances_path=5",
    "DelfLocalFeatureConfig": "use_pca=1 layer_name=2 iou_threshold=3 max_feature_num=4 score_threshold=5 "
    "pca_parameters=6 use_resized_coordinates=7",
    "DelfGlobalFeatureConfig": "use_pca=1 pca_parameters=2 image_scales_ind=3",
    "DelfConfig": "model_path=1 image_scales=2 delf_local_config=3 max_image_size=4 min_image_size=5 "
    "use_square_images=6 use_local_features=7 use_global_features=8 delf_global_config=9 is_tf2_exported=10",
}


def test_field_numbers_are_the_released_ones():
    found = {
        name: " ".join(f"{field.name}={field.number}" for field in sorted(message.fields, key=lambda f: f.number))
        for module in MODULES
        for name, message in module.DESCRIPTOR.message_types_by_name.items()
    }
    assert found == RELEASED


@pytest.mark.parametrize("module", MODULES, ids=lambda module: Path(module.__file__).stem)
def test_the_generated_code_is_of_the_committed_text(module):
    text = re.sub(r"//.*", "", (ROOT / module.DESCRIPTOR.name).read_text(encoding="utf-8"))
    written = sorted(re.findall(r"(\w+) = (\d+)(?= \[|;)", text))
    proto = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(proto)
    fields = [(field.name, str(field.number)) for message in proto.message_type for field in message.field]
    values = [(v.name, str(v.number)) for m in proto.message_type for e in m.enum_type for v in e.value]
    assert written == sorted(fields + values)
    defaults = sorted(re.findall(r"default = \"?([\w.-]*)\"?", text))
    found = [field.default_value for m in proto.message_type for field in m.field if field.HasField("default_value")]
    assert [d.removesuffix(".0") for d in defaults] == [d.removesuffix(".0") for d in sorted(found)]


def test_the_released_package_can_be_imported_beside_ours():
    pool = descriptor_pool.Default()
    for module in MODULES[:2]:
        proto = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(proto)
        text = proto.SerializeToString().replace(b"delg.protos", b"delf.protos")
        released = descriptor_pb2.FileDescriptorProto.FromString(text)
        released.name = f"delf/{released.name}"
        released.dependency[:] = [f"delf/{name}" for name in released.dependency]
        pool.AddSerializedFile(released.SerializeToString())
    assert pool.FindMessageTypeByName("delf.protos.DelfFeature") is not feature_pb2.DelfFeature.DESCRIPTOR


def test_the_files_are_read_without_tensorflow():
    code = "import sys, protos.arrays, protos.local_features, protos.configs; print(set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "'google.protobuf'" in loaded and not {"'tensorflow'", "'keras'"} & set(re.findall(r"'\w+'", loaded))
