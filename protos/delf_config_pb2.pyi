from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DelfPcaParameters(_message.Message):
    __slots__ = ("mean_path", "projection_matrix_path", "pca_dim", "use_whitening", "pca_variances_path")
    MEAN_PATH_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_MATRIX_PATH_FIELD_NUMBER: _ClassVar[int]
    PCA_DIM_FIELD_NUMBER: _ClassVar[int]
    USE_WHITENING_FIELD_NUMBER: _ClassVar[int]
    PCA_VARIANCES_PATH_FIELD_NUMBER: _ClassVar[int]
    mean_path: str
    projection_matrix_path: str
    pca_dim: int
    use_whitening: bool
    pca_variances_path: str
    def __init__(self, mean_path: _Optional[str] = ..., projection_matrix_path: _Optional[str] = ..., pca_dim: _Optional[int] = ..., use_whitening: bool = ..., pca_variances_path: _Optional[str] = ...) -> None: ...

class DelfLocalFeatureConfig(_message.Message):
    __slots__ = ("use_pca", "layer_name", "iou_threshold", "max_feature_num", "score_threshold", "pca_parameters", "use_resized_coordinates")
    USE_PCA_FIELD_NUMBER: _ClassVar[int]
    LAYER_NAME_FIELD_NUMBER: _ClassVar[int]
    IOU_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_FEATURE_NUM_FIELD_NUMBER: _ClassVar[int]
    SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    PCA_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    USE_RESIZED_COORDINATES_FIELD_NUMBER: _ClassVar[int]
    use_pca: bool
    layer_name: str
    iou_threshold: float
    max_feature_num: int
    score_threshold: float
    pca_parameters: DelfPcaParameters
    use_resized_coordinates: bool
    def __init__(self, use_pca: bool = ..., layer_name: _Optional[str] = ..., iou_threshold: _Optional[float] = ..., max_feature_num: _Optional[int] = ..., score_threshold: _Optional[float] = ..., pca_parameters: _Optional[_Union[DelfPcaParameters, _Mapping]] = ..., use_resized_coordinates: bool = ...) -> None: ...

class DelfGlobalFeatureConfig(_message.Message):
    __slots__ = ("use_pca", "pca_parameters", "image_scales_ind")
    USE_PCA_FIELD_NUMBER: _ClassVar[int]
    PCA_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SCALES_IND_FIELD_NUMBER: _ClassVar[int]
    use_pca: bool
    pca_parameters: DelfPcaParameters
    image_scales_ind: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, use_pca: bool = ..., pca_parameters: _Optional[_Union[DelfPcaParameters, _Mapping]] = ..., image_scales_ind: _Optional[_Iterable[int]] = ...) -> None: ...

class DelfConfig(_message.Message):
    __slots__ = ("model_path", "image_scales", "delf_local_config", "max_image_size", "min_image_size", "use_square_images", "use_local_features", "use_global_features", "delf_global_config", "is_tf2_exported")
    MODEL_PATH_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SCALES_FIELD_NUMBER: _ClassVar[int]
    DELF_LOCAL_CONFIG_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MIN_IMAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    USE_SQUARE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    USE_LOCAL_FEATURES_FIELD_NUMBER: _ClassVar[int]
    USE_GLOBAL_FEATURES_FIELD_NUMBER: _ClassVar[int]
    DELF_GLOBAL_CONFIG_FIELD_NUMBER: _ClassVar[int]
    IS_TF2_EXPORTED_FIELD_NUMBER: _ClassVar[int]
    model_path: str
    image_scales: _containers.RepeatedScalarFieldContainer[float]
    delf_local_config: DelfLocalFeatureConfig
    max_image_size: int
    min_image_size: int
    use_square_images: bool
    use_local_features: bool
    use_global_features: bool
    delf_global_config: DelfGlobalFeatureConfig
    is_tf2_exported: bool
    def __init__(self, model_path: _Optional[str] = ..., image_scales: _Optional[_Iterable[float]] = ..., delf_local_config: _Optional[_Union[DelfLocalFeatureConfig, _Mapping]] = ..., max_image_size: _Optional[int] = ..., min_image_size: _Optional[int] = ..., use_square_images: bool = ..., use_local_features: bool = ..., use_global_features: bool = ..., delf_global_config: _Optional[_Union[DelfGlobalFeatureConfig, _Mapping]] = ..., is_tf2_exported: bool = ...) -> None: ...
