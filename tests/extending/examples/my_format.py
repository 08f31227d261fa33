"""Features as one text file: JSON with the record of the extraction, then a line of JSON for each image."""

import json
from pathlib import Path

import numpy as np

from delg.common.files import atomic_path
from extraction.features import Features
from extraction.formats.base import FeatureSink, FeatureSource

FILE = "features.jsonl"
ARRAYS = ("global_descriptor", "keypoints", "descriptors", "scores", "scales")


class Sink(FeatureSink):
    """Writes the file."""

    def write(self, source, folder):
        with atomic_path(folder / FILE) as temporary, temporary.open("w", encoding="utf-8") as file:
            print(json.dumps(source.record()), file=file)
            for features in self.images(source, folder):
                arrays = {name: getattr(features, name).tolist() for name in ARRAYS}
                print(json.dumps({"name": features.name, "image_size": features.image_size} | arrays), file=file)


class Source(FeatureSource):
    """Reads the file; the base class checks every value as it is read."""

    def __init__(self, folder: Path):
        with (folder / FILE).open(encoding="utf-8") as file:
            record, *self.images = map(json.loads, file)
        super().__init__(folder, [image["name"] for image in self.images], **record)

    def local_files(self):
        return [self.folder / FILE] if any(image["keypoints"] for image in self.images) else []

    def read(self, i):
        image = self.images[i]
        arrays = {name: np.array(image[name], np.float32) for name in ARRAYS if image[name]}
        return Features(image["name"], tuple(image["image_size"]), **arrays)
