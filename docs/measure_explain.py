"""Measure the table of ``docs/explain-example.md``: maps of a model trained on drawn images, beside controls.

python docs/measure_explain.py            # some ten minutes on two cores; writes the table into the page
python docs/measure_explain.py --n-images 200 --print
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "explain-example.md"
MAPS = {"model": "model", "random": "random map", "prior": "centre prior", "untrained": "random weights"}


def run(folder: Path, line: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Run a command line of cxr in a folder."""
    command = [sys.executable, "-m", "cxr_cli", *line.split()]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    if done.returncode not in allowed:
        raise SystemExit(f"cxr {line}\n{done.stderr}")


def measure(folder: Path, n_images: int, size: int) -> dict[str, Any]:
    """Draw images, train on them, explain the test images; return the result."""
    script = ROOT / "sample_data" / "make_sample_data.py"
    draw = [
        sys.executable,
        str(script),
        "drawn",
        "--n-images",
        str(n_images),
        "--prevalence",
        "0.25",
        "--size",
        str(size),
    ]
    subprocess.run(draw, cwd=folder, check=True, capture_output=True)
    run(folder, "split drawn/labels.csv --fractions 0.55,0.15,0.3 --output splits --no-plots", (0, 1))
    for name in ("train", "valid", "test"):
        store = f"--image-size {size} --dtype uint8 --no-plots --output stores/{name}"
        run(folder, f"preprocess splits/{name}.csv --images drawn/images {store}")
    run(folder, "weights splits/train.csv --save weights.json --no-plots")
    run(folder, "build-model --store stores/train --class-weights weights.json --save model.keras --no-plots")
    options = "--learning-rate 0.3 --monitor auroc --patience 10 --no-plots --output training"
    run(folder, f"train model.keras --train stores/train --valid stores/valid {options}", (0, 1))
    options = "--boxes drawn/boxes.csv --train-labels splits/train.csv --no-plots --output explained"
    run(folder, f"explain training/model.keras stores/test {options}", (0, 1))
    document: dict[str, Any] = json.loads((folder / "explained" / "result.json").read_text(encoding="utf-8"))
    return document["result"]


def table(result: dict[str, Any], n_images: int, size: int) -> str:
    """Return the measures as Markdown."""
    rows = result["localization"]
    least = [f"T(IoBB) {value}" for value in rows[0]["controls"][0]["found_at"]]
    head = ["pathology (boxes)", "map", *least, "false boxes", "pointing", "mass inside"]
    lines = [
        f"{n_images} images of {size} pixels were drawn and divided by patient; the head was trained on features of a",
        f"base with random weights. {result['n_images']} test images have {result['n_boxes']} boxes. In brackets:",
        "95 % intervals over patients.",
        "",
        f"| {' | '.join(head)} |",
        "|---|---|" + "---:|" * (len(head) - 2),
    ]
    for row in rows:
        for control in row["controls"]:
            name = f"{_name(row)} ({row['n_boxes']})" if control["map"] == "model" else ""
            rest = (control["false_boxes"], control["pointing_game"], control["mass_inside"])
            cells = map(_interval, (*control["found_at"].values(), *rest))
            lines.append(f"| {' | '.join([name, MAPS[control['map']], *cells])} |")
    nothing = [_name(row) for row in rows if "shows nothing" in row["verdict"]]
    above = [_name(row) for row in rows if "better" in row["verdict"]]
    lines += ["", f"Above the centre prior: {', '.join(above) or 'none'}."]
    lines += textwrap.wrap(f"Not above it: {', '.join(nothing) or 'none'}.", 120)
    return "\n".join(lines)


def _name(row: dict[str, Any]) -> str:
    return str(row["pathology"]).replace("_", " ")


def _interval(item: dict[str, float]) -> str:
    return f"{item['value']:.2f} ({item['low']:.2f} to {item['high']:.2f})"


def main() -> None:
    """Measure, and write the table into the page or print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--n-images", type=int, default=400)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--print", action="store_true", help="print the table instead of writing it into the page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.n_images, arguments.size)
    text = table(result, arguments.n_images, arguments.size)
    if arguments.print:
        print(text)
        return
    page = PAGE.read_text(encoding="utf-8")
    page = re.sub(
        r"(<!-- measured -->\n).*?(<!-- /measured -->)", lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.DOTALL
    )
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
