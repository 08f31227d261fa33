"""Configurations of the released programs: text files (``.pbtxt``) of ``DelfConfig`` and ``AggregationConfig``."""

import os
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from delg.common.errors import InputError
from delg.common.files import write_text
from delg.common.text_files import read_text
from protos.aggregation_config_pb2 import AggregationConfig
from protos.delf_config_pb2 import DelfConfig

Place = str | os.PathLike[str]
M = TypeVar("M", bound=Message)


def _read(path: Place, kind: type[M]) -> M:
    text = read_text(path, "The configuration")
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        why = str(error).splitlines()[0].rstrip(" .")
        raise InputError(f"{os.fspath(path)} is not the text of a {kind.DESCRIPTOR.name}: {why}.") from error


def read_delf_config(path: Place) -> DelfConfig:
    """Reads a configuration of an extraction.

    Args:
      path: a text file such as ``delf_config_example.pbtxt``.

    Returns:
      The message; fields that the file leaves out read as their released defaults (``use_pca`` is true).

    Raises:
      InputError: the file cannot be read, or a field is unknown or of a wrong type; the message names the line.
    """
    return _read(path, DelfConfig)


def read_aggregation_config(path: Place) -> AggregationConfig:
    """Reads a configuration of an aggregation; see :func:`read_delf_config`."""
    return _read(path, AggregationConfig)


def write_config(path: Place, config: DelfConfig | AggregationConfig) -> None:
    """Writes the fields that are set as text, atomically."""
    write_text(path, text_format.MessageToString(config))
