"""The bridge: a frozen Whisper encoder, an adapter, the frozen LLM."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...hub import TrainingSummary
from .identity import model_identity
from .student import AuraSystem


@dataclass
class BridgeSystem(AuraSystem):
    """As [`AuraSystem`]; `model` is the folder of a bridge, see `evaluation.baselines.bridge`.

    Example:

    ```python
    >>> system = BridgeSystem("outputs/bridge", name="bridge")
    ```
    """

    @cached_property
    def identity(self) -> dict[str, Any]:
        """See [`System`]."""
        from ..baselines.bridge import BRIDGE_FILE

        whisper = json.loads((Path(self.model) / BRIDGE_FILE).read_text("utf-8"))["whisper"]
        steps = TrainingSummary.load(self.model).num_steps
        return {**super().identity, "kind": "bridge", "whisper": model_identity(whisper), "steps": steps}

    @cached_property
    def student(self) -> Any:
        """The bridge, which is a student with another patch embedding."""
        from ..baselines.bridge import load_bridge

        found = load_bridge(self.model, self.base_model, dtype=self.dtype)
        return found.to(self.device).eval()
