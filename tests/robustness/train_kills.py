"""Kill a training at many moments, some of them inside the writing of a checkpoint, and see that it ends alike.

    python -m tests.robustness.train_kills [FOLDER] [--kills 20] [--inside 5] [--seed 0]

FOLDER holds ``model.keras``, ``stores/train`` and ``stores/valid``; without it, images are drawn. Each round starts
``cxr train`` where the last one was killed. After the last kill the command runs to its end; model, history and
predictions must have the bytes of a training that was never disturbed, and no file may be left over. A kill inside a
checkpoint writes half of it and ends the process with SIGKILL.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.drawing import draw

#: Runs the command; in its n-th checkpoint, if asked to, it writes half of the file and dies. Files that training
#: writes may be limited in size, which is what a full disk looks like.
PROGRAM = """
import io, os, signal, sys
import numpy as np
import cxr_cli.services.train.checkpoint as checkpoint
import cxr_cli.services.train.train as training
cached, most = training.cached, int(os.environ.get("LARGEST_FILE", "0"))

def limited(*arguments):  # from here on: the model has been read by then, for which a file is written, too
    if most:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    return cached(*arguments)

training.cached = limited
whole, count, last = np.savez, [0], int(os.environ.get("DIE_IN_CHECKPOINT", "0"))

def savez(stream, *arrays, **more):
    count[0] += 1
    if count[0] != last:
        return whole(stream, *arrays, **more)
    held = io.BytesIO()
    whole(held, *arrays, **more)
    stream.write(held.getvalue()[: len(held.getvalue()) // 2])
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)

checkpoint.np.savez = savez
if __name__ == "__main__":
    from cxr_cli.cli.app import main
    main()
"""
OPTIONS = ("--epochs", "4", "--batch-size", "8", "--stages", "features,last-block", "--no-plots", "--patience", "9")
RESULTS = ("model.keras", "model.keras.json", "history.csv", "valid-predictions.csv")


@dataclass(frozen=True)
class Run:
    """A training in a folder of its own.

    Attributes
    ----------
    data
        Folder with ``model.keras`` and ``stores/train``, ``stores/valid``.
    folder
        Where it writes.
    """

    data: Path
    folder: Path

    def start(self, *, die_in: int = 0, largest_file: int = 0) -> subprocess.Popen[str]:
        """Start the command; with `die_in`, it dies in that checkpoint; files may have `largest_file` bytes."""
        program = self.folder.parent / "program.py"
        program.write_text(PROGRAM)
        stores = [str(self.data / "stores" / name) for name in ("train", "valid")]
        command = [sys.executable, str(program), "train", str(self.data / "model.keras"), "--train", stores[0]]
        command += ["--valid", stores[1], *OPTIONS, "--output", str(self.folder)]
        path = os.pathsep.join(item for item in sys.path if item)
        environment = os.environ | {"DIE_IN_CHECKPOINT": str(die_in), "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment |= {"LARGEST_FILE": str(largest_file)} if largest_file else {}
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)

    def kill_after(self, seconds: float) -> int:
        """Run for so long at most; return the exit code."""
        process = self.start()
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        return process.returncode

    def kill_in_checkpoint(self, number: int) -> int:
        """Run up to the middle of a checkpoint; return the exit code."""
        process = self.start(die_in=number)
        process.communicate()
        return process.returncode

    def run_with_files_of_at_most(self, largest: int) -> tuple[int, str]:
        """Run where no file can grow beyond a size; return the exit code and what was said."""
        process = self.start(largest_file=largest)
        _, said = process.communicate()
        return process.returncode, said

    def finish(self) -> None:
        """Run to the end."""
        process = self.start()
        _, said = process.communicate()
        if process.returncode not in (0, 1):
            raise AssertionError(said)

    def results(self) -> dict[str, bytes]:
        """Return the bytes of what a training writes, without the folder's name: the model card says where it lies."""
        folder = str(self.folder).encode()
        return {name: (self.folder / name).read_bytes().replace(folder, b"") for name in RESULTS}

    def left_over(self) -> list[str]:
        """Return the names of files that should not be there."""
        expected = {*RESULTS, "result.json", "cache"}
        cached = [path.name for path in (self.folder / "cache").iterdir()]
        left = [path.name for path in self.folder.iterdir() if path.name not in expected]
        return left + [name for name in cached if not name.endswith((".npy", ".npy.json"))]


def epochs_kept(folder: Path) -> int:
    """Return how many epochs the checkpoint of a folder holds; -1 without one that can be read."""
    import json

    import numpy as np

    try:
        with np.load(folder / "checkpoint.npz", allow_pickle=False) as file:
            return len(json.loads(file["/"].tobytes())["meta"]["epochs"])
    except FileNotFoundError:
        return -1


def main() -> None:
    """Kill, finish and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, help="folder with model.keras, stores/train and stores/valid")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--inside", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        data = options.data or Path(temporary) / "drawn"
        if options.data is None:
            data.mkdir()
            draw(data)
        undisturbed, killed = (Run(data, Path(temporary) / name / "out") for name in ("a", "b"))
        for run in (undisturbed, killed):
            run.folder.parent.mkdir()
        begin = time.monotonic()
        undisturbed.finish()
        seconds = time.monotonic() - begin
        print(f"undisturbed: {seconds:.0f} s")
        kept, done = -1, 0
        for number in range(options.kills):
            if number < options.inside:
                code = killed.kill_in_checkpoint(dice.randint(1, 2))
                how = "inside a checkpoint"
            else:
                after = dice.uniform(0.4, 1.0) * seconds
                code = killed.kill_after(after)
                how = f"after {after:.0f} s"
            now = epochs_kept(killed.folder)
            print(f"{number + 1}: {how}: exit {code}, epochs in the checkpoint {now}")
            if code in (0, 1):
                done += 1
                for name in killed.folder.iterdir():
                    if name.is_file():
                        name.unlink()
                now = -1
            elif now < kept:
                raise SystemExit(f"an epoch was lost: {kept} before, {now} now")
            kept = now
        killed.finish()
        if killed.results() != undisturbed.results():
            raise SystemExit("the killed training ended otherwise")
        if killed.left_over():
            raise SystemExit(f"left over: {killed.left_over()}")
        inside = f"{options.inside} inside a checkpoint"
        print(f"same bytes after {options.kills} kills ({inside}); {done} runs had ended before")


if __name__ == "__main__":
    main()
