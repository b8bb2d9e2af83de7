"""Configuration of a training."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from smartfilter.errors import (
    MissingPackageError,
    UsageError,
    describe_unknown,
    suggest,
)
from smartfilter.events import EVENT_TYPES
from smartfilter.model_info import DEFAULT
from smartfilter.sampling import MAX_WEIGHT

try:
    from pydantic import (
        BaseModel,
        ConfigDict,
        Field,
        PositiveFloat,
        ValidationError,
        field_validator,
    )
except ImportError as error:
    raise MissingPackageError("pydantic", "train") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.resources.abc import Traversable

__all__ = ["TrainingConfig", "list_configs", "read_config", "validate_config"]

_SHIPPED = "smartfilter.training.configs"


class TrainingConfig(BaseModel):
    """What to train and how; every field has a key of the same name in YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    network: str = "gcn"
    """Name in `smartfilter.models.NETWORKS`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Keywords of the network besides n_features, n_tokens and n_skims."""
    preset: str = "smart_background"
    """Preparation preset."""
    initialise_from: str | None = None
    """Model file, or name of a shipped one, whose parameters the network starts from;
    see `smartfilter.training.initialise`."""
    skims: dict[str, int | None] = Field(default_factory=dict)
    """Skim name -> code, or a list of names; the first is the main skim. By default
    every label of the data that some events of each split pass and some fail."""

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=256, ge=1)
    """Events per step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """Cosine down to 0 over all epochs, or times ``plateau_factor`` where the
    validation loss stalls, or constant."""
    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    plateau_patience: int = Field(default=3, ge=0)
    """Epochs without a better loss that are borne; Keras counts one more."""
    plateau_threshold: float = Field(default=1e-4, ge=0)
    """Relative difference of losses from which one is better."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """Of the schedule ``plateau``."""
    weight_decay: float = Field(default=0.0, ge=0)
    stop_patience: int = Field(default=8, ge=1)
    """Epochs without a better validation loss before the training stops."""
    stop_min_delta: float = Field(default=0.0, ge=0)
    """Difference of losses from which one is better, for ``stop_patience``."""
    max_minutes: float | None = Field(default=None, gt=0)
    """The training stops behind the epoch that exceeds this time; with one thread it is
    processor time, which other work on the machine does not change."""
    training_events: int | None = Field(default=None, ge=2)
    """Most training events, half of which pass a skim and half fail all; a function of
    the data and ``split_seed``, so the same ones for all networks and seeds."""
    loss: Literal["cross_entropy", "effective_sample_size"] = "cross_entropy"
    """See `smartfilter.training.losses`."""
    loss_simulation_cost: float = Field(default=97.04 / 0.08, gt=0)
    """t_s / t_g of the effective sample size loss; this and the next number are those
    of basf2's ``smartBKG/utils/metrics.py``: 0.08, 0.63, 97.04 for t_g, t_n, t_s."""
    loss_filter_cost: float = Field(default=0.63 / 0.08, ge=0)
    """t_n / t_g of that loss."""
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
    loss_weight: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Skim name -> relative weight of its loss, by default 1."""
    auxiliary: tuple[str, ...] = ()
    """Event-level variables that the network predicts while it is trained, see
    `smartfilter.training.auxiliary`."""
    auxiliary_weight: float = Field(default=0.05, gt=0)
    """Factor of their mean squared error beside the loss of the skims."""
    unknown_event_type_share: float = Field(default=0.1, ge=0, le=1)
    """Share of training events whose type is hidden from the network, so that it can
    score events of unknown type."""
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    """CPU threads of torch; one is fastest unless the machine is otherwise idle."""
    device: str = "cpu"

    split_fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    split_seed: int = Field(default=0, ge=0)
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

    @field_validator("retention_rate")
    @classmethod
    def _check_rates(
        cls, rates: dict[str, float | dict[str, float]]
    ) -> dict[str, float | dict[str, float]]:
        """Refuse rates that are none, and those of event types that there are not."""
        known = (*EVENT_TYPES, DEFAULT)
        for skim, given in rates.items():
            by_type = given if isinstance(given, dict) else {DEFAULT: given}
            for name, rate in by_type.items():
                if name not in known:
                    raise ValueError(describe_unknown("event type", name, known))
                if not 0 < rate < 1:
                    raise ValueError(f"{skim}: expected between 0 and 1, got {rate}")
        return rates


def list_configs() -> tuple[str, ...]:
    """Return the names of the shipped configurations, those in folders at the end."""
    names = _list_names(resources.files(_SHIPPED))
    return tuple(sorted(names, key=lambda name: ("/" in name, name)))


def _list_names(folder: Traversable, prefix: str = "") -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _list_names(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield f"{prefix}{entry.name.removesuffix('.yaml')}"


def read_config(source: str | Path = "gcn", **changes: Any) -> TrainingConfig:
    """Read a configuration.

    Parameters
    ----------
    source : str or Path
        A YAML file, or the name of a shipped configuration, see `list_configs`:
        ``gcn``, ``lab_report/combined_gcn``.
    **changes
        Fields that replace those of the file.

    Raises
    ------
    UsageError
        If there is no such file, it is not YAML, or a field is wrong.
    """
    name = str(source)
    if name in list_configs():
        text = (
            resources.files(_SHIPPED)
            .joinpath(f"{name}.yaml")
            .read_text(encoding="utf-8")
        )
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"configuration: expected a YAML file or one of "
                f"{', '.join(list_configs())}, got '{name}' ({error})"
                f"{suggest(name, list_configs())}"
            ) from error
    try:
        fields = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"configuration: not YAML: {name} ({error})") from error
    if not isinstance(fields, dict):
        raise UsageError(f"configuration: expected keys and values, got {name}")
    return validate_config({**fields, **changes}, name)


def validate_config(fields: Mapping[str, Any], name: str) -> TrainingConfig:
    """Return the configuration with these fields and defaults for others.

    Parameters
    ----------
    fields : mapping of str to object
    name : str
        Of the configuration, for messages.

    Raises
    ------
    UsageError
        If a key does not exist or its value is wrong; names all of them.
    """
    try:
        return TrainingConfig.model_validate(fields)
    except ValidationError as error:
        raise UsageError(
            f"configuration {name}: {_describe(error.errors())}"
        ) from error


def _describe(errors: Iterable[Any]) -> str:
    return "; ".join(_describe_one(error) for error in errors)


def _describe_one(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such key{suggest(key, TrainingConfig.model_fields)}"
    return f"{key}: {error['msg']}, got {error['input']!r}"
