"""The engine protocol, and engines for a model on this machine and behind a URL. The only layer that imports torch."""

import sys

# OpenVINO's package reports every import to a server of its maker, and stores an identifier in the home directory,
# unless this module is missing. Dobby sends nothing to servers that the user did not name.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
