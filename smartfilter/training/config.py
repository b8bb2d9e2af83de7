"""Configuration of a training."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from smartfilter.errors import MissingPackageError, UsageError
from smartfilter.sampling import MAX_WEIGHT

try:
    from pydantic import (
        BaseModel,
        ConfigDict,
        Field,
        ValidationError,
        field_validator,
    )
except ImportError as error:
    raise MissingPackageError("pydantic", "train") from error

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TrainingConfig", "list_configs", "read_config"]

_SHIPPED = "smartfilter.training.configs"


class TrainingConfig(BaseModel):
    """What to train and how; every field has a key of the same name in YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = "gcn"
    """Name in `smartfilter.models.NETWORKS`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Keywords of the network besides n_features, n_tokens and n_skims."""
    preset: str = "smart_background"
    """Preparation preset."""
    skims: dict[str, int | None] = Field(default_factory=dict)
    """Skim name -> code, or a list of names; the first is the main skim. By default
    every label of the data that some events of each split pass and some fail."""

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=256, ge=1)
    """Events per step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["cosine", "plateau"] = "cosine"
    """Cosine down to 0 over all epochs, or halved where the validation loss stalls."""
    plateau_patience: int = Field(default=3, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    stop_patience: int = Field(default=8, ge=1)
    """Epochs without a better validation loss before the training stops."""
    failing_per_passing: float = Field(default=2.0, gt=0)
    """Most events per epoch that fail all skims, per event that passes one; drawn anew
    every epoch, so that all are seen over time."""
    events_per_epoch: int | None = Field(default=None, ge=1)
    """Most events per epoch, drawn anew like those; by default all that pass a skim."""
    failing_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the training events failing all skims that is held in memory; they stand
    for the others with their weight."""
    class_balance: float = Field(default=1.0, ge=0, le=1)
    """1: passing and failing events of a skim count the same in the loss; 0: as often
    as they occur; see `smartfilter.training.streams.balance`."""
    loss_weight: dict[str, float] = Field(default_factory=dict)
    """Skim name -> relative weight of its loss, by default 1."""
    unknown_event_type_share: float = Field(default=0.1, ge=0, le=1)
    """Share of training events whose type is hidden from the network, so that it can
    score events of unknown type."""
    seed: int = 0
    threads: int = Field(default=1, ge=1)
    """CPU threads of torch; one is fastest unless the machine is otherwise idle."""
    device: str = "cpu"

    split_fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    split_seed: int = 0
    max_events: int | None = Field(default=None, ge=1)
    """Events to read; by default all."""

    retention_rate: dict[str, float | dict[str, float]] = Field(default_factory=dict)
    """Skim name -> true retention rate, or event type -> rate; by default those of the
    data, which are wrong for samples enriched in passing events without weights. A
    single number holds for all event types together, and for the type of data that has
    only one."""
    simulation_cost: float = Field(default=100.0, gt=0)
    """t_s / t_g, for the working point and the sampling constant."""
    max_weight: float = Field(default=MAX_WEIGHT, ge=1)

    @field_validator("skims", mode="before")
    @classmethod
    def _name_skims(cls, value: Any) -> Any:
        """Take a list of names as names without codes."""
        return dict.fromkeys(value) if isinstance(value, (list, tuple)) else value


def list_configs() -> tuple[str, ...]:
    """Return the names of the shipped configurations."""
    folder = resources.files(_SHIPPED)
    names = (Path(entry.name) for entry in folder.iterdir())
    return tuple(sorted(name.stem for name in names if name.suffix == ".yaml"))


def read_config(source: str | Path = "gcn", **changes: Any) -> TrainingConfig:
    """Read a configuration.

    Parameters
    ----------
    source : str or Path
        A YAML file, or the name of a shipped configuration, see `list_configs`.
    **changes
        Fields that replace those of the file.

    Raises
    ------
    UsageError
        If there is no such file, it is not YAML, or a field is wrong.
    """
    name = str(source)
    if name in list_configs():
        text = (resources.files(_SHIPPED) / f"{name}.yaml").read_text()
    else:
        try:
            text = Path(source).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"configuration: expected a YAML file or one of "
                f"{', '.join(list_configs())}, got '{name}' ({error})"
            ) from error
    try:
        fields = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"configuration: not YAML: {name} ({error})") from error
    if not isinstance(fields, dict):
        raise UsageError(f"configuration: expected keys and values, got {name}")
    return _validate({**fields, **changes}, name)


def _validate(fields: dict[str, Any], name: str) -> TrainingConfig:
    try:
        return TrainingConfig.model_validate(fields)
    except ValidationError as error:
        raise UsageError(
            f"configuration {name}: {_describe(error.errors())}"
        ) from error


def _describe(errors: Iterable[Any]) -> str:
    return "; ".join(
        f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}"
        for e in errors
    )
