"""Put configs/ into wheels as cnnlab/configs; editable installs read the live folder instead."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CarryConfigs(BuildHookInterface):
    """Map the top-level configs/ into the package, for standard wheels only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"]["configs"] = "cnnlab/configs"
