"""The conditions database: local payloads only (contract, section 3.4)."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, ClassVar

from basf2.logs import B2ERROR


class Conditions:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.globaltags: list[str] = []
        self.testing_payloads: list[str] = []
        self.settings: dict[str, Any] = {}

    def prepend_globaltag(self, name: str) -> None:
        self.globaltags.insert(0, name)

    def append_globaltag(self, name: str) -> None:
        self.globaltags.append(name)

    def prepend_testing_payloads(self, filename: str) -> None:
        self.testing_payloads.insert(0, filename)

    def append_testing_payloads(self, filename: str) -> None:
        self.testing_payloads.append(filename)

    def disable_globaltag_replay(self) -> None:
        self.settings["replay"] = False

    def expert_settings(self, **settings: Any) -> None:
        self.settings.update(settings)


conditions = Conditions()


class IntervalOfValidity:
    def __init__(self, first_exp: int, first_run: int, last_exp: int, last_run: int):
        self.numbers = (first_exp, first_run, last_exp, last_run)


class SmartBackgroundConfig:
    """Six mappings, typed as the C++ constructor types them (section 5.1)."""

    def __init__(
        self,
        pdgMapping: dict[int, int],
        skimcodesMapping: dict[int, int],
        paramMapping: dict[int, list[float]],
        skimnamesMapping: dict[int, str],
        eventtypeMapping: dict[str, int],
        maxWeight: float,
    ) -> None:
        for mapping, key, value in (
            (pdgMapping, int, int),
            (skimcodesMapping, int, int),
            (paramMapping, int, list),
            (skimnamesMapping, int, str),
            (eventtypeMapping, str, int),
        ):
            for k, v in mapping.items():
                if type(k) is not key or type(v) is not value:
                    raise TypeError(f"cannot convert {k!r}: {v!r}")
        self.mappings = (
            pdgMapping,
            skimcodesMapping,
            paramMapping,
            skimnamesMapping,
            eventtypeMapping,
        )
        self.max_weight = float(maxWeight)


class Database:
    """Writes to localdb/database.txt in the current folder, as basf2 does."""

    _instance: Database | None = None
    objects: ClassVar[dict[str, Any]] = {}

    @classmethod
    def Instance(cls) -> Database:
        cls._instance = cls._instance or cls()
        return cls._instance

    def storeData(self, name: str, thing: Any, iov: IntervalOfValidity) -> bool:
        self.objects[name] = thing
        return True

    def addPayload(self, name: str, fileName: str, iov: IntervalOfValidity) -> bool:
        folder = Path("localdb")
        folder.mkdir(exist_ok=True)
        revision = hashlib.md5(Path(fileName).read_bytes()).hexdigest()[:8]
        shutil.copy(fileName, folder / f"dbstore_{name}_rev_{revision}.root")
        with (folder / "database.txt").open("a") as file:
            numbers = ",".join(map(str, iov.numbers))
            file.write(f"dbstore/{name} {revision} {numbers}\n")
        return True


class DBStoreEntry:
    c_RawFile = 0
    c_Object = 1


class DBAccessorBase:
    def __init__(self, kind: int, name: str, isRequired: bool) -> None:
        self._file = _find(name) if kind == DBStoreEntry.c_RawFile else ""
        if isRequired and not self._file:
            B2ERROR(f"conditions: no payload '{name}'")

    def getFilename(self) -> str:
        return self._file


def _find(name: str) -> str:
    for filename in conditions.testing_payloads:
        file = Path(filename)
        lines = file.read_text().splitlines() if file.exists() else []
        for line in reversed(lines):
            payload, revision, _ = line.split()
            if payload == f"dbstore/{name}":
                return str(file.parent / f"dbstore_{name}_rev_{revision}.root")
    return ""
