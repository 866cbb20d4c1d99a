"""Keys on the command line of ``python -m monai.bundle run`` that no configuration has.

MONAI adds such a key to the configuration, where nothing uses it: ``--max_epoch 3`` would train for the default number
of epochs, ``--datset_dir FOLDER`` on the embedded sample.
"""

from __future__ import annotations

import ast
import difflib
import json
import logging
import re
import warnings
from collections.abc import Sequence
from typing import Any

from monai_dgm.errors import UsageError

__all__ = ["check_overrides"]

logger = logging.getLogger(__name__)

NEARLY = 0.8  # similarity of two names, see difflib.SequenceMatcher.ratio
# of MONAI's run and run_workflow, and of its MLflow tracking
MONAI_KEYS = {"run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"}
MONAI_KEYS |= {"workflow_name", "workflow_type", "properties_path", "tracking_uri", "experiment_name", "run_name"}
MONAI_KEYS |= {"save_execute_config", "is_not_rank0"}


def check_overrides(words: Sequence[str]) -> None:
    """Refuse a key that is nearly one of the configuration, and warn of any other that it does not have.

    Only the first part of a key such as ``train#trainer#max_epochs`` is looked at: more may be added below it.

    Args:
        words: of the command, ``sys.argv``. Nothing is checked where they name no configuration that can be read.

    Raises:
        UsageError: a key that looks mistyped.
    """
    given = _keys(words)
    try:
        from monai.bundle import ConfigParser  # loaded already where a bundle runs, and slow

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MONAI has said already that a configuration can run code
            config = ConfigParser.load_config_files(_files(given["config_file"]))
        text = json.dumps(config)
    except Exception:  # none is named, or MONAI reads it in another way
        return
    known = {_first(key) for key in config}
    for key in given:
        if key in MONAI_KEYS | known or key.startswith("_") or re.search(rf"@{re.escape(key)}\b", text):
            continue
        near = difflib.get_close_matches(key, known, 1, NEARLY)
        if near:
            raise UsageError(f"--{key}: expected a key of the configuration, got another (is it {near[0]}?)")
        logger.warning("--%s: the configuration has no such key, nothing uses it", key)


def _keys(words: Sequence[str]) -> dict[str, str]:
    """Values by the first part of their key, as Fire reads them: ``--key value`` and ``--key=value``."""
    found = {}
    for word, after in zip(words, [*words, ""][1:], strict=True):
        if word.startswith("--") and len(word) > 2:
            key, equals, value = word[2:].partition("=")
            found[_first(key.replace("-", "_"))] = value if equals else after
    return found


def _first(key: str) -> str:
    return re.split("#|::", key.lstrip("+"))[0]


def _files(value: str) -> Any:
    return ast.literal_eval(value) if value.startswith(("[", "(")) else value
