"""A preprocessing run that is killed, starved or robbed of its workers ends with the bytes of one that was not."""

from __future__ import annotations

import csv
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.robustness import harness
from tests.robustness.harness import environment, finish

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc"),
]
N_IMAGES = 90


def digest(folder):
    """Return the digest of all that is written but ``result.json``, which says how many images were done before.

    A kill in the middle of writing it leaves its temporary file.
    """
    written = harness.digest(folder).items()
    return {name: held for name, held in written if not re.search(r"/(result\.json|\.result-\w+\.tmp\.json)$", name)}


#: Small tasks and frequent checkpoints, so that there is always something half done. After HOLD_AFTER entries of the
#: journal the run waits for a signal.
PROGRAM = """
import os, time
import cxr_cli.data.journal as journal, cxr_cli.services.preprocess.schedule as schedule
journal.CHECKPOINT_SECONDS = 0.02
schedule.TASK_IMAGES = 3
checkpoint = journal.Journal.checkpoint
def checkpoint_and_hold(self):
    checkpoint(self)
    if self.n_entries >= int(os.environ.get("HOLD_AFTER", "1000")):
        del os.environ["HOLD_AFTER"]
        time.sleep(120)
journal.Journal.checkpoint = checkpoint_and_hold
if __name__ == "__main__":
    from cxr_cli.cli.app import main
    main()
"""
FORMS = {
    "float32": [],
    "uint8": ["--dtype", "uint8"],
    "png": ["--format", "png"],
    "featurewise": ["--standardize", "featurewise", "--statistics", "fit"],
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images of noise, which take their time to decode; one of them broken."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "images").mkdir()
    (folder / "program.py").write_text(PROGRAM)
    rng = np.random.default_rng(0)
    with open(folder / "labels.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["Image", "Mass", "PatientId"])
        for number in range(1, N_IMAGES + 1):
            name = f"{number:08d}_000.png"
            rows.writerow([name, number % 2, number])
            Image.fromarray(rng.integers(0, 256, (500, 500 + number), dtype=np.uint8)).save(folder / "images" / name)
    (folder / "images" / "00000040_000.png").write_text("no image")
    return folder


def start(images, folder, *options, before=None, **variables):
    folder.mkdir(exist_ok=True)
    arguments = ["preprocess", str(images / "labels.csv"), "--image-size", "96", "--workers", "2", "--no-plots"]
    return subprocess.Popen(
        [sys.executable, str(images / "program.py"), *arguments, *options],
        cwd=folder,
        env=environment() | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=before,
    )


def completed(images, folder, *options, **more):
    done = finish(start(images, folder, *options, **more), time.monotonic())
    assert not harness.NEVER.search(done.out + done.err), done.err
    return done


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    """Return what a run that nobody disturbs writes, by the form of the store."""
    known = {}

    def outputs(form):
        if form not in known:
            folder = tmp_path_factory.mktemp(f"undisturbed-{form}")
            assert completed(images, folder, *FORMS[form]).code == 1
            known[form] = digest(folder)
        return known[form]

    return outputs


def journal_lines(folder):
    try:
        return (folder / "cxr-output/preprocess/.partial/journal.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def wait_for_lines(process, folder, n_lines):
    while process.poll() is None and journal_lines(folder) < n_lines:
        time.sleep(0.001)


@pytest.mark.parametrize("form", FORMS)
def test_killed_again_and_again(images, undisturbed, tmp_path, form):
    """SIGKILL at random moments: between journal entries, in the middle of writes, among the last steps."""
    whole = undisturbed(form)
    moments = random.Random(form)
    n_kills, n_continued, killed_at_the_end = 0, 0, False
    lines = 2
    while True:
        process = start(images, tmp_path, *FORMS[form])
        wait_for_lines(process, tmp_path, lines)
        time.sleep(moments.random() * 0.02)
        if process.poll() is None:
            process.kill()
            n_kills += 1
        done = finish(process, time.monotonic())
        if done.code != -signal.SIGKILL:
            break
        if (tmp_path / "cxr-output/preprocess/preprocess.json").exists():
            # The manifest comes last: only saying so was left to do.
            assert {name: held for name, held in digest(tmp_path).items() if ".partial" not in name} == whole
            killed_at_the_end = True
            done = completed(images, tmp_path, *FORMS[form])
            break
        n_continued += journal_lines(tmp_path) > 1
        lines = max(lines, journal_lines(tmp_path)) + moments.randrange(30, 45)
    assert n_kills >= 2 and n_continued >= 2
    assert done.code == 1, done.err
    assert "continuing after" in done.err or killed_at_the_end
    assert digest(tmp_path) == whole


def test_interrupted_with_ctrl_c(images, undisturbed, tmp_path):
    process = start(images, tmp_path, HOLD_AFTER="19")
    wait_for_lines(process, tmp_path, 20)
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process, time.monotonic())
    assert done.code == 130 and not harness.NEVER.search(done.err)
    n_done = journal_lines(tmp_path) - 1
    assert n_done >= 19
    again = completed(images, tmp_path)
    assert f"continuing after {n_done}" in again.err
    assert digest(tmp_path) == undisturbed("float32")


def children(process):
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def workers(process):
    found = []
    for child in children(process):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"spawn_main" in command or b"forkserver" in command:
            found.append(child)
    return found


def test_workers_that_die_are_replaced(images, undisturbed, tmp_path):
    process = start(images, tmp_path)
    n_killed = 0
    for lines in (6, 40):
        wait_for_lines(process, tmp_path, lines)
        for worker in workers(process.pid)[:1]:
            os.kill(worker, signal.SIGKILL)
            n_killed += 1
    done = finish(process, time.monotonic())
    assert n_killed == 2
    assert done.code == 1, done.err
    assert not harness.NEVER.search(done.err)
    assert digest(tmp_path) == undisturbed("float32")


@pytest.mark.parametrize("form", ["float32", "png"])
def test_a_disk_that_fills_up(images, undisturbed, tmp_path, form):
    limit = {"float32": 1_000_000, "png": 8_000}[form]

    def nearly_full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = completed(images, tmp_path, *FORMS[form], before=nearly_full)
    assert done.code == 2
    assert "cannot write: File too large" in done.err
    assert not [name for name in digest(tmp_path) if ".partial" not in name]
    assert completed(images, tmp_path, *FORMS[form]).code == 1
    assert digest(tmp_path) == undisturbed(form)


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 2 MB, where that is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_too_small_is_refused_before_work_begins(images, small_disk):
    done = completed(images, small_disk)
    assert done.code == 2
    assert "GB are free" in done.err
    assert journal_lines(small_disk) <= 1


def test_a_disk_that_is_filled_by_others_meanwhile(images, undisturbed, small_disk):
    process = start(images, small_disk, *FORMS["uint8"])
    wait_for_lines(process, small_disk, 4)
    with open(small_disk / "others", "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass
    done = finish(process, time.monotonic())
    assert done.code == 2 and not harness.NEVER.search(done.err)
    assert "No space left" in done.err
    (small_disk / "others").unlink()
    assert completed(images, small_disk, *FORMS["uint8"]).code == 1
    assert digest(small_disk) == undisturbed("uint8")
