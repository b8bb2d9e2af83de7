"""What a model file holds, for ``smartfilter inspect``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from smartfilter.cli.inspect_rows import flatten, list_facts
from smartfilter.cli.terminal import emit, make_table
from smartfilter.model_info import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from smartfilter.model_file import LoadedModel
    from smartfilter.onnx_file import OnnxNetwork

__all__ = ["inspect_model"]


def inspect_model(name: str) -> None:
    """Print what a model file, or a shipped one by its name, says of itself.

    Raises
    ------
    ModelFileError
        If the file, or the JSON document of an ONNX network, cannot be read.
    MissingPackageError
        If it is an ONNX network and onnxruntime is not installed.
    """
    from smartfilter.model_file import load_model
    from smartfilter.onnx_file import OnnxNetwork

    model = load_model(name)
    if isinstance(model.network, OnnxNetwork):
        _inspect_onnx(model, model.network)
    else:
        _inspect_torch(model)


def _inspect_torch(model: LoadedModel) -> None:
    info = model.info
    stored = json.loads(info.to_json())
    document = {
        **stored,
        "path": str(model.path),
        "digest": model.digest,
        "features": [name for name, _ in info.features],
        "feature_units": dict(info.features),
        "n_pdg_codes": len(info.vocabulary.codes),
        "skims": list(info.skim_names),
        "calibration": {skim["name"]: skim["calibration"] for skim in stored["skims"]},
        "skim_codes": {skim.name: skim.code for skim in info.skims},
        "max_weights": {skim.name: skim.max_weight for skim in info.skims},
    }
    emit(
        document,
        _describe_network(model),
        *_make_metrics(info.training),
        *_make_provenance(info.training),
        _make_working_points(model),
    )


def _inspect_onnx(model: LoadedModel, network: OnnxNetwork) -> None:
    """Print what an ONNX file and the document beside it say."""
    info = model.info
    interface = network.describe()
    constants = {skim.name: skim.calibration[DEFAULT] for skim in info.skims}
    document = {
        **interface,
        "path": str(model.path),
        "digest": model.digest,
        "network": info.network,
        "preset": info.preset,
        "n_pdg_codes": len(info.vocabulary.codes),
        "skims": list(info.skim_names),
        "skim_codes": {skim.name: skim.code for skim in info.skims},
        "parameters": {
            name: [c.official_slope, c.official_offset] for name, c in constants.items()
        },
        "max_weight": info.skims[0].max_weight,
    }
    types = [f"{name} {c}" for name, c in interface["event_types"].items()]
    rows = [
        ("network", "ONNX, the interface of basf2's SmartBackground module"),
        ("producer", interface["producer"] or "-"),
        *((f"input {key}", text) for key, text in interface["inputs"].items()),
        *(("output", text) for text in interface["outputs"].values()),
        ("event types, c", ", ".join(types)),
        ("preparation", info.preset),
        ("PDG codes", str(document["n_pdg_codes"])),
        ("max. weight", f"{document['max_weight']:g}"),
        ("scores", "sigmoid(logit), not calibrated"),
        ("digest", model.digest),
        ("path", str(model.path)),
    ]
    skims = [
        (
            skim.name,
            str(skim.code),
            f"{c.official_slope:.4f}",
            f"{c.official_offset:.4f}",
        )
        for skim, c in zip(info.skims, constants.values(), strict=True)
    ]
    emit(
        document,
        _make_facts(model.path.name, rows),
        make_table(
            "kept with probability exp(a (logit - b))",
            ("skim", "code", "a", "b"),
            skims,
        ),
    )


def _describe_network(model: LoadedModel) -> RenderableType:
    info = model.info
    features = ", ".join(f"{name} [{unit}]" for name, unit in info.features)
    rows = [
        ("network", info.network),
        ("parameters", f"{info.n_parameters:,}"),
        ("settings", ", ".join(f"{k} {v}" for k, v in flatten(info.settings))),
        ("preparation", info.preset),
        ("features", features),
        ("PDG codes", f"{len(info.vocabulary.codes)}"),
        ("event types", ", ".join(info.event_types)),
        ("digest", model.digest),
        ("path", str(model.path)),
    ]
    return _make_facts(model.path.name, rows)


def _make_facts(title: str, rows: list[tuple[str, str]]) -> RenderableType:
    """Return a table of names and long texts, both aligned to the left."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    return Group(Text(title, style="bold"), table)


_METRICS = ("skim", "events", "passing", "r %", "AUC", "ECE")
_SPEEDUPS = ("skim", "threshold", "f1", "f0", "(A)", "(C)")
"""Two tables, so that they fit a terminal of 80 columns."""


def _make_metrics(training: Mapping[str, Any]) -> list[RenderableType]:
    """Return what the model reached on events that it never saw."""
    metrics = training.get("metrics", {})
    if not metrics:
        return []
    merits = [
        (
            name,
            str(m.get("event_type", "-")),
            _number(m, "n_passing", ","),
            _number(m, "retention_rate", ".3g", scale=100.0),
            _number(m, "auc", ".4f", error=True),
            _number(m, "calibration_error", ".4f"),
        )
        for name, m in metrics.items()
    ]
    speedups = [
        (
            name,
            _number(m, "threshold", ".4f"),
            _number(m, "tpr", ".3f"),
            _number(m, "fpr", ".4f"),
            _number(m, "speedup", ".2f", error=True),
            _number(m, "sampling_speedup", ".2f"),
        )
        for name, m in metrics.items()
    ]
    return [
        make_table("test events, never trained on", _METRICS, merits),
        make_table("speedup with threshold (A), sampling (C)", _SPEEDUPS, speedups),
    ]


def _number(
    row: Mapping[str, Any],
    name: str,
    form: str,
    *,
    scale: float = 1,
    error: bool = False,
) -> str:
    value = row.get(name)
    if value is None:
        return "-"
    text = f"{scale * value:{form}}"
    spread = row.get(f"{name}_error") if error else None
    return text if spread is None else f"{text}±{scale * spread:{form}}"


_SEPARATE = ("metrics", "metrics_by_event_type", "history")


def _make_provenance(training: Mapping[str, Any]) -> list[RenderableType]:
    """Return where the data came from and how the network was trained."""
    rest = {key: value for key, value in training.items() if key not in _SEPARATE}
    if not rest:
        return []
    files = rest.pop("files", [])
    productions = rest.pop("productions", [])
    rows = []
    if files:
        last = f" to {files[-1]}" if len(files) > 1 else ""
        rows.append(("files", f"{len(files)}: {files[0]}{last}"))
    tables = [_make_facts("training", [*rows, *list_facts(rest)])]
    facts = _merge_productions(productions)
    if facts:
        number = (
            "one production"
            if len(productions) == 1
            else f"{len(productions)} productions"
        )
        tables.append(_make_facts(f"{number} of the data", facts))
    return tables


def _merge_productions(
    productions: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str]]:
    """Return each fact with the different values that it has."""
    found: dict[str, list[str]] = {}
    for production in productions:
        for name, value in flatten(production):
            values = found.setdefault(name, [])
            if value not in values:
                values.append(value)
    return [(name, ", ".join(values)) for name, values in found.items()]


def _make_working_points(model: LoadedModel) -> RenderableType:
    rows = [
        (
            skim.name if position == 0 else "",
            name,
            f"{100 * c.retention_rate:.2f}",
            f"{c.threshold:.4f}",
            f"{c.sampling_constant:.3f}",
            f"{skim.max_weight:g}",
        )
        for skim in model.info.skims
        for position, (name, c) in enumerate(skim.calibration.items())
    ]
    columns = ("skim", "event type", "retention %", "threshold", "c", "max. weight")
    return make_table("working points", columns, rows)
