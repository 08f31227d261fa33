"""Runtimes of the network: Keras, ONNX Runtime, OpenVINO."""
