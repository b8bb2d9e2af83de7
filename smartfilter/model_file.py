"""Model files: one TorchScript archive that explains itself.

The archive is what ``torch.jit.save`` writes, with two more records: a JSON document
(`smartfilter.model_info.ModelInfo`) and a SHA-256 digest over all other records, code, weights and JSON. It
is verified before TorchScript reads it. This module alone calls ``torch.jit``. A path
that ends in ``.onnx`` is an ONNX network with its document, see `smartfilter.onnx_file`.
"""

from __future__ import annotations

import copy
import hashlib
import io
import warnings
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from smartfilter.errors import ModelFileError, UsageError, suggest
from smartfilter.io.output import BinaryFile
from smartfilter.model_info import ModelInfo
from smartfilter.models import build
from smartfilter.onnx_file import read_network
from smartfilter.shipped import DEFAULT_MODEL, find_shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

__all__ = [
    "LoadedModel",
    "default_model_path",
    "find_model",
    "is_shipped",
    "list_shipped",
    "load_model",
    "load_module",
    "read_model_info",
    "save_model",
]

_set_optimiser = torch.jit.optimized_execution  # type: ignore[attr-defined]
_JSON = "extra/smartfilter.json"
_DIGEST = "extra/smartfilter.sha256"
_FOLDER = "archive"
_DEBUG = ".debug_pkl"
_MAX_RATIO = 50


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network ready to score.

    Parameters
    ----------
    network : torch.jit.ScriptModule or OnnxNetwork
        Frozen, on ``device``; ONNX networks are always on the CPU.
    info : ModelInfo
    digest : str
        SHA-256 of code, weights and JSON, hexadecimal.
    path : Path
        Where it was read from.
    device : torch.device
    """

    network: Callable[..., Tensor]
    info: ModelInfo
    digest: str
    path: Path
    device: torch.device

    def __call__(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        """Return logits, see `smartfilter.models`; without gradients.

        TorchScript's optimiser is off: it recompiles for new shapes (50 ms) and gains
        nothing here.
        """
        with torch.inference_mode(), _set_optimiser(False):
            return self.network(x, pdg, mother, offsets, event_type)

    def to(self, device: torch.device) -> LoadedModel:
        """Return the model on this device; reads the file again if it must move."""
        return self if device == self.device else load_model(self.path, device)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the path: a worker process reads the file itself."""
        return load_model, (self.path, str(self.device))


def default_model_path() -> Path:
    """Return the path of the model file that is taken where none is named."""
    return find_shipped()[DEFAULT_MODEL]


def find_model(name: str | Path) -> Path:
    """Return the path of a model file; a bare name also means a shipped one.

    Parameters
    ----------
    name : str or Path
        A path; or ``gcn``, ``subtree``, where there is no file of that name.
    """
    path = Path(name)
    if path.suffix or path.name != str(path) or path.exists():
        return path
    return find_shipped().get(path.name, path)


def list_shipped() -> tuple[str, ...]:
    """Return the names of the models that smartfilter ships."""
    return tuple(find_shipped())


def is_shipped(name: str) -> bool:
    """Return whether a name means a shipped model: no suffix, no folder, no such file."""
    return find_model(name) != Path(name)


@contextmanager
def _torchscript() -> Iterator[None]:
    """Silence torch's notice that TorchScript is deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r".*torch\.jit.* is deprecated", DeprecationWarning
        )
        yield


def save_model(path: str | Path, module: nn.Module, info: ModelInfo) -> str:
    """Write a model file, complete or not at all, and return its digest.

    The same module saved twice gives the same bytes.

    Parameters
    ----------
    path : str or Path
        Replaced if it exists.
    module : nn.Module
        A network as described in `smartfilter.models`.
    info : ModelInfo

    Raises
    ------
    ModelFileError
        If info is inconsistent, or the scripted network does not give one logit per
        skim, equal to the module's.
    UsageError
        If the file cannot be written.
    """
    target = Path(path)
    text = info.to_json()
    ModelInfo.from_json(text, str(target))
    module = copy.deepcopy(module).cpu().eval()
    with _torchscript():
        scripted = torch.jit.script(module)
        _check_network(module, scripted, info)
        buffer = io.BytesIO()
        torch.jit.save(scripted, buffer)
    records = {
        name: data
        for name, data in _unpack(buffer.getvalue(), str(target)).items()
        if not name.endswith(_DEBUG)
    }
    records[_JSON] = text.encode()
    digest = _hash_records(records)
    with BinaryFile(target, force=True) as file:
        file.content = _pack({**records, _DIGEST: digest.encode()})
    return digest


def load_model(path: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Read and verify a model file.

    Parameters
    ----------
    path : str or Path
        As of `find_model`; ``.onnx`` for an ONNX network with its ``.json`` beside it.
    device : str or torch.device
        Where the network shall be; ONNX networks stay on the CPU.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, changed, foreign, or of another schema.
    MissingPackageError
        If it is an ONNX network and onnxruntime is not installed.
    """
    source = find_model(path)
    if source.suffix.lower() == ".onnx":
        return LoadedModel(*read_network(source), source, torch.device("cpu"))
    records, info, digest = _read_verified(source)
    place = torch.device(device)
    try:
        with _torchscript():
            module = torch.jit.load(io.BytesIO(_pack(records)), map_location=place)  # type: ignore[no-untyped-call]
            network = torch.jit.freeze(module.eval())
    except Exception as error:  # pickle, zip and TorchScript each fail in their own way
        raise ModelFileError(
            f"model file: TorchScript of torch {torch.__version__} cannot read "
            f"{source} ({_first_line(error)})"
        ) from error
    return LoadedModel(network, info, digest, source, place)


def load_module(path: str | Path) -> tuple[nn.Module, ModelInfo]:
    """Read and verify a model file and build its network anew, with gradients.

    Parameters
    ----------
    path : str or Path
        As of `find_model`.

    Raises
    ------
    ModelFileError
        As `load_model`, or if this version builds another network of that name.
    """
    records, info, _ = _read_verified(find_model(path))
    try:
        with _torchscript():
            archive = torch.jit.load(io.BytesIO(_pack(records)))  # type: ignore[no-untyped-call]
        module = build(info.network, **info.settings)
        module.load_state_dict(archive.state_dict())
    except (RuntimeError, TypeError, UsageError) as error:
        raise ModelFileError(
            f"network '{info.network}': cannot be built from its settings in {path} "
            f"({_first_line(error)})"
        ) from error
    return module.eval(), info


def read_model_info(path: str | Path) -> tuple[ModelInfo, str]:
    """Return what a model file says about its network, and its digest.

    Verifies the whole file but does not start TorchScript.

    Parameters
    ----------
    path : str or Path
        As of `find_model`.

    Raises
    ------
    ModelFileError
        As `load_model`.
    """
    _, info, digest = _read_verified(find_model(path))
    return info, digest


def _read_verified(path: Path) -> tuple[dict[str, bytes], ModelInfo, str]:
    """Return records, info and digest of a file that is what was written."""
    if path.suffix.lower() == ".onnx":
        raise ModelFileError(
            f"model file: expected a .pt file, got the ONNX network {path}, which holds no "
            "parameters to go on with; take the model that it was exported from"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        others = [name for name in _list_models(path.parent) if name != str(path)]
        raise ModelFileError(
            f"model file: cannot read {path} ({error.strerror})"
            f"{suggest(str(path), others)}"
        ) from error
    records = _unpack(data, str(path))
    if _JSON not in records or _DIGEST not in records:
        raise ModelFileError(
            f"model file: expected records {_JSON} and {_DIGEST}, not found in {path}; "
            "is it a TorchScript file that smartfilter did not write?"
        )
    stored = records.pop(_DIGEST).decode(errors="replace")
    digest = _hash_records(records)
    if stored != digest:
        raise ModelFileError(
            f"digest: expected {stored[:12]}..., got {digest[:12]}... for the contents "
            f"of {path}; the file was changed or damaged, get it again"
        )
    text = records[_JSON].decode(errors="replace")
    return records, ModelInfo.from_json(text, str(path)), digest


def _list_models(folder: Path) -> list[str]:
    """Return the names of the shipped models, and the model files of a folder."""
    return [*find_shipped(), *map(str, folder.glob("*.pt"))]


def _unpack(data: bytes, where: str) -> dict[str, bytes]:
    """Return the records of an archive by name without the leading folder.

    An archive that unpacks to `_MAX_RATIO` times its size is refused unread.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            _check_size(archive, len(data))
            records = {n.partition("/")[2]: archive.read(n) for n in names}
    except Exception as error:  # zipfile has a dozen ways to fail on damaged bytes
        raise ModelFileError(
            f"model file: expected a TorchScript archive, got something else or a "
            f"damaged one in {where} ({_first_line(error)})"
        ) from error
    if len({name.lower() for name in records}) != len(names):
        raise ModelFileError(
            f"model file: expected each record once, got {len(names)} records with "
            f"{len(records)} names in {where}"
        )
    return records


def _check_size(archive: zipfile.ZipFile, n_bytes: int) -> None:
    size = sum(row.file_size for row in archive.infolist())
    if size > _MAX_RATIO * n_bytes:
        raise zipfile.BadZipFile(f"{size} bytes compressed to {n_bytes}")


def _pack(records: Mapping[str, bytes]) -> bytes:
    """Return an archive with these records, the same bytes for the same records."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(records):
            archive.writestr(zipfile.ZipInfo(f"{_FOLDER}/{name}"), records[name])
    return buffer.getvalue()


def _hash_records(records: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of names, lengths and contents in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(records):
        digest.update(f"{name}\0{len(records[name])}\0".encode())
        digest.update(records[name])
    return digest.hexdigest()


def _check_network(module: nn.Module, scripted: nn.Module, info: ModelInfo) -> None:
    """Score a chain of three particles and an empty event both ways."""
    chain = (
        torch.linspace(-1.0, 1.0, 3 * len(info.features)).reshape(3, -1),
        torch.full((3,), info.vocabulary.unknown, dtype=torch.int32),
        torch.tensor([-1, 0, 1]),
        torch.tensor([0, 3, 3]),
        torch.tensor([-1, -1]),
    )
    expected = (2, len(info.skims))
    try:
        with torch.inference_mode():
            logits, again = module(*chain), scripted(*chain)
    except (RuntimeError, IndexError) as error:
        raise ModelFileError(
            f"network '{info.network}': expected {len(info.features)} features and "
            f"{info.vocabulary.n_tokens} PDG tokens to fit, "
            f"got: {_first_line(error)}"
        ) from error
    if tuple(logits.shape) != expected:
        raise ModelFileError(
            f"network '{info.network}': expected logits of shape {expected}, "
            f"got {tuple(logits.shape)}"
        )
    if not torch.equal(logits, again):
        raise ModelFileError(
            f"network '{info.network}': expected the scripted network to repeat the "
            f"logits {logits.tolist()}, got {again.tolist()}"
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
