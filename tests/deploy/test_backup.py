from __future__ import annotations

import stat
import subprocess
import sys
import threading
from pathlib import Path

from monai_dgm.labelling.active_learning.image_scores import ImageScores
from monai_dgm.labelling.active_learning.score_store import ScoreStore
from monai_dgm.labelling.labels.image_label import ImageLabel
from monai_dgm.labelling.server.audit_log import AuditLog
from monai_dgm.labelling.server.submissions import Submissions


def test_a_backup_of_a_running_server_is_whole(repository: Path, tmp_path: Path) -> None:
    state, target, restored = tmp_path / "state", tmp_path / "backup.tar", tmp_path / "restored"
    submissions, log = Submissions(state), AuditLog(state / "audit")
    ScoreStore(state / "scores.sqlite").put(ImageScores("a", "model-1"))
    (state / "cache").mkdir()
    (state / "cache" / "patient").write_bytes(b"x")
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            done = log.add("label", "rita", log.code_of("image", "a"))
            submissions.keep(ImageLabel("a", (90, 120), "no_finding", (), f"reader {number % 50}", "ohif"))
            log.add("outcome", "rita", of=done, status=200)

    for number in range(50):
        submissions.keep(ImageLabel("b", (90, 120), "no_finding", (), f"reader {number}", "ohif"))
    thread = threading.Thread(target=work)
    thread.start()
    words = [sys.executable, str(repository / "deploy" / "backup.py"), str(state), str(target)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    stop.set()
    thread.join()
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    restored.mkdir()
    subprocess.run(["tar", "-xpf", str(target), "-C", str(restored)], check=True)
    again = Submissions(restored)
    assert len(again.of_image("b")) == 50 and not again.damaged
    assert AuditLog(restored / "audit").lines(image="a")  # the chain is whole, and the key is there
    assert ScoreStore(restored / "scores.sqlite").get("a") is not None
    assert not (restored / "cache").exists()
    assert subprocess.run(words, capture_output=True, check=False).returncode == 1  # no backup is overwritten
