"""Drawn images with stores of them and a model, small enough to train on in seconds."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def draw(folder: Path) -> None:
    """Write ``train.csv``, ``valid.csv``, ``images/``, ``stores/train``, ``stores/valid`` and ``model.keras``."""
    from cxr_cli.data.labels import read_labels
    from cxr_cli.services.build_model.build_model import build_model
    from cxr_cli.services.build_model.options import ModelOptions
    from cxr_cli.services.images.prepare import Recipe
    from cxr_cli.services.preprocess.options import Options
    from cxr_cli.services.preprocess.preprocess import preprocess
    from cxr_cli.services.store.manifest import StoreManifest
    from tests.helpers import load_script

    load_script(ROOT / "sample_data" / "make_sample_data.py").write_others(folder, 64, 0.4, 32)
    header, *rows = (folder / "labels.csv").read_text().splitlines()
    patients = header.split(",").index("PatientId")
    last = rows[43].split(",")[patients]
    first = [row for row in rows if int(row.split(",")[patients]) <= int(last)]
    for name, some in (("train", first), ("valid", rows[len(first) :])):
        (folder / f"{name}.csv").write_text("\n".join([header, *some]) + "\n")
        table = read_labels(folder / f"{name}.csv")
        preprocess(table, folder / "images", folder / "stores" / name, Options(Recipe((32, 32))), workers=1)
    names = ("Edema", "Cardiomegaly", "Emphysema")
    manifest = StoreManifest.read(folder / "stores" / "train")
    options = ModelOptions(
        names, (32, 32), preprocessing=manifest.preprocessing, loss="binary-crossentropy", learning_rate=0.05
    )
    build_model(options, save=folder / "model.keras")
