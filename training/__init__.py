"""Images to a trained model: records, input pipeline, losses, trainer, checkpoints."""
