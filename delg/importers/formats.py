"""The formats that can be converted; imports nothing, so that the command's help is quick."""

FORMATS = (
    "cvnet",
    "superglobal",
    "delg_pytorch",
    "delg_checkpoint",
    "delg_saved_model",
    "keras_applications",
    "delg_weights",
)
