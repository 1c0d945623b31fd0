"""The page's own modules, run in node: a program gets what it is given, and what it returns comes back."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import stethos

MODULES = Path(stethos.__file__).parent / "export" / "page" / "js"
NODE = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
needs_node = pytest.mark.skipif(NODE is None, reason="node is not here: the page's arithmetic cannot be run")

_START = """
import { readFileSync } from "node:fs";
const load = (name) => import(ROOT + name);
const opened = (_, value) => {
  if (Array.isArray(value)) return value.map((item) => item ?? NaN);
  return value?.base64 === undefined ? value : new Uint8Array(Buffer.from(value.base64, "base64"));
};
const closed = (_, value) => (ArrayBuffer.isView(value) ? [...value] : value);
const given = JSON.parse(readFileSync(process.argv[2] ?? process.argv[1]), opened);
const program = async () => { PROGRAM };
process.stdout.write(JSON.stringify(await program(), closed) ?? "null");
"""


def run(program: str, given: Any, folder: Path) -> Any:
    """Run the body of an asynchronous function in node.

    Args:
        program: Sees `given` and `load(name)`, which imports one of the page's modules.
        given: Plain data and arrays; NaN arrives as NaN, bytes as a Uint8Array.
        folder: For the file that it is handed over in.

    Returns:
        What the program returns; typed arrays are lists, NaN is None.
    """
    assert NODE is not None
    path = folder / "given.json"
    path.write_text(json.dumps(_plain(given)))
    source = _START.replace("ROOT", json.dumps(MODULES.as_uri() + "/")).replace("PROGRAM", program)
    command = [NODE, "--input-type=module", "-", str(path)]
    ended = subprocess.run(command, input=source, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def _plain(value: Any) -> Any:
    """With lists for arrays, None for NaN, and bytes in base64."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and value != value else value
