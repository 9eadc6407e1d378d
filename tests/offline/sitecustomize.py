"""Python imports this at start in every process that a test starts, kernels included."""

import network_guard  # noqa: F401
