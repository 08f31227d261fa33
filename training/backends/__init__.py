"""Training steps and devices of each Keras backend."""
