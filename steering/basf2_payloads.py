"""basf2: put a model into a local conditions database.

    smartfilter export model.pt --onnx out.onnx         # writes out.onnx and out.json
    basf2 steering/basf2_payloads.py -- --onnx out.onnx # for the official C++ module
    basf2 steering/basf2_payloads.py -- --model model.pt # for SmartFilter(payload=...)

Payloads are added to ``localdb/database.txt`` in the current folder, valid for all
experiments and runs; ``basf2.conditions.prepend_testing_payloads("localdb/database.txt")``
makes a job find them, and ``b2conditionsdb`` uploads them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ROOT import Belle2


def make_config(document: dict[str, Any]) -> Any:
    """Return the SmartBackgroundConfig; JSON has texts as keys, C++ wants integers."""
    by_code = {
        name: {int(key): value for key, value in document[name].items()}
        for name in (
            "pdgMapping",
            "skimcodesMapping",
            "parameterMapping",
            "skimnamesMapping",
        )
    }
    return Belle2.SmartBackgroundConfig(
        by_code["pdgMapping"],
        by_code["skimcodesMapping"],
        by_code["parameterMapping"],
        by_code["skimnamesMapping"],
        document["eventtypeMapping"],
        document["maxWeight"],
    )


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--onnx", type=Path, help="With its .json file beside it.")
    parser.add_argument("--weights-name", default="SmartBackgroundWeights_default")
    parser.add_argument("--config-name", default="SmartBackgroundConfig_default")
    parser.add_argument("--model", type=Path, help="TorchScript model file.")
    parser.add_argument("--model-name", default="SmartFilterModel")
    arguments = parser.parse_args()
    if arguments.onnx is None and arguments.model is None:
        parser.error("name --onnx, --model or both")

    always = Belle2.IntervalOfValidity(0, 0, -1, -1)
    database = Belle2.Database.Instance()
    if arguments.onnx is not None:
        document = json.loads(
            arguments.onnx.with_suffix(".json").read_text(encoding="utf-8")
        )
        database.storeData(arguments.config_name, make_config(document), always)
        database.addPayload(arguments.weights_name, str(arguments.onnx), always)
        print(f"added {arguments.config_name} and {arguments.weights_name}")
    if arguments.model is not None:
        database.addPayload(arguments.model_name, str(arguments.model), always)
        print(f"added {arguments.model_name}")


if __name__ == "__main__":
    main()
