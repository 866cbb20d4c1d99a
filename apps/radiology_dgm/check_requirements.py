"""`pip check` for an environment in which MONAI Label has no requirements that the app never imports.

python apps/radiology_dgm/check_requirements.py

`pip check` reports those requirements as missing. They are listed here, one by one; anything else that it reports is an
error, and so is a name in the list that MONAI Label does not require.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import requires

# of MONAI Label: its command line for volumes, pathology and other archives, and models that the app does not have
LEFT_OUT = frozenset(
    {"einops", "expiring-dict", "expiringdict", "ninja", "numpymaxflow", "pynetdicom", "sam2", "shapely"}
)
_MISSING = re.compile(r"monailabel \S+ requires ([A-Za-z0-9._-]+), which is not installed\.")


def plain(name: str) -> str:
    """Name of a distribution in its normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def problems(report: list[str], required: set[str]) -> list[str]:
    """What is wrong, one line each.

    Args:
        report: lines of `pip check`.
        required: names that MONAI Label requires.
    """
    found = [f"{name}: MONAI Label does not require it" for name in sorted(LEFT_OUT - required)]
    for line in report:
        missing = _MISSING.fullmatch(line)
        if missing is None or plain(missing[1]) not in LEFT_OUT:
            found.append(line)
    return found


def main() -> int:
    """Print what is wrong; returns 1 if there is something."""
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    report = [line for line in checked.stdout.splitlines() if line and not line.startswith("No broken requirements")]
    names = {plain(found[0]) for line in requires("monailabel") or () if (found := re.match(r"[A-Za-z0-9._-]+", line))}
    wrong = problems(report, names)
    print("\n".join(wrong) or f"No broken requirements, but those left out: {', '.join(sorted(LEFT_OUT))}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
