"""The engine protocol and the transformers engine: devices, prompts, batching. The only layer that knows torch."""

import sys

# OpenVINO's package tells a server of its maker of every import, and keeps an identifier in the home folder, unless
# this module is missing. Nothing is told to anybody that the user did not name.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
