"""The variables that child processes get: the network's settings and ours, nothing of Slicer's own Python and Qt."""

from __future__ import annotations

import os
from collections.abc import Mapping

from medai.client.child_process import scrubbed
from MedAICoreLib.environment.places import Places

# Packages and interpreters come from where MedAI's question said, whatever these tools are told elsewhere.
_FOREIGN_PREFIXES = ("UV_", "PIP_", "VIRTUAL_ENV", "CONDA_")


def child_variables(places: Places, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for uv, pip and the interpreters: all that they write stays below `places.root`.

    Proxies (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY in either case) and certificates (SSL_CERT_FILE,
    SSL_CERT_DIR) of `variables` (default: this process') are kept; the system's own certificate store is used as well.
    """
    kept = scrubbed(os.environ if variables is None else variables)
    kept = {name: value for name, value in kept.items() if not name.upper().startswith(_FOREIGN_PREFIXES)}
    temporary = str(places.temporary)
    kept.update(
        {
            "TMPDIR": temporary,
            "TEMP": temporary,
            "TMP": temporary,
            "UV_CACHE_DIR": str(places.cache),
            "UV_PYTHON_INSTALL_DIR": str(places.interpreters),
            "UV_PYTHON_CACHE_DIR": str(places.archives),
            "UV_PYTHON_INSTALL_BIN": "0",
            "UV_PYTHON_INSTALL_REGISTRY": "0",
            "UV_PYTHON_DOWNLOADS": "manual",
            "UV_NO_CONFIG": "1",
            "UV_NO_ENV_FILE": "1",
            "UV_SYSTEM_CERTS": "1",
            "UV_HTTP_TIMEOUT": "60",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_CACHE_DIR": str(places.cache / "pip"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PYTHONUTF8": "1",
            "NO_COLOR": "1",
        }
    )
    return kept
