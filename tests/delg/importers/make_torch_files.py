"""Makes the small files in ``data`` with PyTorch, and checks that PyTorch reads what ``torch_writer`` writes.

Needs an environment with PyTorch: ``python -m tests.delg.importers.make_torch_files``.
"""

import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from tests.delg.importers.torch_writer import SavedStorage, SavedTensor, TorchFile, tensor

DATA = Path(__file__).parent / "data"


def document() -> dict:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        OrderedDict(conv=torch.nn.Conv2d(3, 4, 3), bn=torch.nn.BatchNorm2d(4), fc=torch.nn.Linear(4, 2))
    )
    net.bn(net.conv(torch.rand(2, 3, 5, 5)))
    base = torch.arange(24, dtype=torch.float32)
    odd = {
        "transposed": base.reshape(4, 6).t(),
        "strided": base[1::3],
        "tail": base[20:],
        "expanded": base[:3].expand(2, 3),
        "half": torch.tensor([1.5, -2.25, 65504.0]).half(),
        "bfloat16": torch.tensor([1.0, -3.140625, 1e30]).bfloat16(),
        "double": torch.tensor([np.pi], dtype=torch.float64),
        "parameter": torch.nn.Parameter(torch.tensor([[0.5, 0.25]])),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(7.0),
        "empty": torch.zeros(0, 3),
        "size": base.reshape(2, 12).shape,
    }
    momentum = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    return {"epoch": 3, "model_state": net.state_dict(), "odd": odd, "optimizer_state": momentum.state_dict()}


def values(value: torch.Tensor) -> np.ndarray:
    value = value.detach()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def check_writer() -> None:
    rng = np.random.default_rng(0)
    storage = SavedStorage(rng.standard_normal(10).astype("f4"))
    state = {"a": tensor(rng.standard_normal((2, 3, 4)).astype("f4")), "b": SavedTensor(storage, 1, (2, 3), (1, 3))}
    with tempfile.TemporaryDirectory() as folder:
        for write in (TorchFile.archive, TorchFile.stream):
            path = write(TorchFile({"model_state": OrderedDict(state)}), Path(folder) / "file.pth")
            found = torch.load(path, weights_only=True)["model_state"]
            assert found["a"].numpy().tobytes() == state["a"].storage.values.tobytes()
            assert np.array_equal(found["b"].numpy(), storage.values[[[1, 4, 7], [2, 5, 8]]])


def main() -> None:
    check_writer()
    made = document()
    DATA.mkdir(exist_ok=True)
    torch.save(made, DATA / "archive.pth")
    torch.save(made, DATA / "stream.pth", _use_new_zipfile_serialization=False)
    tensors = {f"model_state/{name}": value for name, value in made["model_state"].items()}
    tensors |= {f"odd/{name}": value for name, value in made["odd"].items() if isinstance(value, torch.Tensor)}
    np.savez_compressed(DATA / "expected.npz", **{name: values(value) for name, value in tensors.items()})


if __name__ == "__main__":
    main()
