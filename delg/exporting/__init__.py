"""Models as files for programs that do not have this package: SavedModels of TensorFlow and ONNX."""
