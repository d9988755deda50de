"""Every command under kills, closed and full streams, full and forbidden disks, poor terminals."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import termios
import time

import pytest

from cxr_cli.cli.app import app
from tests.robustness import harness
from tests.robustness.conftest import arguments
from tests.robustness.harness import EXAMPLES, OF_MODELS, World, check, environment, run, run_and_signal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals, /proc, /dev/full as Linux has them"),
]

COMMANDS = [command.name for command in app.registered_commands if command.name in EXAMPLES]
every_command = pytest.mark.parametrize("command", COMMANDS)
#: TensorFlow makes build-model ten times as slow as the others, and it prints through the same functions as they do.
light_command = pytest.mark.parametrize("command", [name for name in COMMANDS if name != "build-model"])


def test_every_command_has_an_example():
    # A training that is killed has a test of its own.
    assert {command.name for command in app.registered_commands} == {*EXAMPLES, *OF_MODELS, "train"}


@pytest.mark.parametrize("command", OF_MODELS)
def test_ctrl_c_while_a_model_runs(command, drawn, tmp_path):
    world = World(drawn)
    given = [command, *world.place(OF_MODELS[command])]
    folders = [tmp_path / "undisturbed", tmp_path / "stopped"]
    for folder in folders:
        folder.mkdir()
    known = run(given, folders[0])
    outputs = harness.digest(folders[0])
    check(known, world, folders[0], codes=[0, 1], whole=outputs)
    stopped = run_and_signal(given, folders[1], signal.SIGINT, "writing", group=True)
    assert not harness.NEVER.search(stopped.out + stopped.err), stopped.err
    assert stopped.code in (known.code, 130), stopped.err
    again = run(given, folders[1])
    assert again.code == known.code, again.err
    assert set(harness.digest(folders[1])) == set(outputs)
    assert world.untouched()


@light_command
def test_the_same_bytes_a_second_time(command, world, reference, tmp_path):
    again = run(arguments(world, command), tmp_path)
    check(again, world, tmp_path, codes=[reference(command).run.code], whole=reference(command).outputs)
    assert harness.digest(tmp_path) == reference(command).outputs
    assert again.out == reference(command).run.out


@every_command
@pytest.mark.parametrize("moment", ["importing", "writing"])
@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_signals(command, moment, signal_name, world, reference, tmp_path):
    number = getattr(signal, signal_name)
    known = reference(command)
    # Ctrl-C goes to every process of the terminal; the others to the one that was named.
    stopped = run_and_signal(arguments(world, command), tmp_path, number, moment, group=number == signal.SIGINT)
    # 130 and 143: the command cleaned up itself; negative: it had nothing to clean up yet, or no chance to.
    codes = [known.run.code, -number] if number == signal.SIGKILL else [known.run.code, 128 + number, -number]
    check(stopped, world, tmp_path, codes=codes, whole=known.outputs, killed=number == signal.SIGKILL)
    if signal_name == "SIGKILL" and moment == "writing":
        again = run(arguments(world, command), tmp_path)
        check(again, world, tmp_path, codes=[known.run.code], whole=known.outputs, killed=True)
        assert {name for name in harness.digest(tmp_path) if not harness.is_temporary(name)} == set(known.outputs)
        assert again.out == known.run.out


@light_command
def test_closed_pipe(command, world, reference, tmp_path):
    with harness.closed_pipe() as pipe:
        done = run(arguments(world, command, quick=True), tmp_path, stdout=pipe)
    check(done, world, tmp_path, codes=[141], whole=reference(command, quick=True).outputs)
    assert "error" not in done.err
    with harness.closed_pipe() as pipe:
        done = run([command, "--help"], tmp_path, stdout=pipe)
    check(done, world, tmp_path, codes=[141], whole=reference(command, quick=True).outputs)


@light_command
def test_closed_pipe_for_both_streams(command, world, reference, tmp_path):
    with harness.closed_pipe() as pipe:
        done = run(arguments(world, command, quick=True), tmp_path, stdout=pipe, stderr=subprocess.STDOUT)
    check(done, world, tmp_path, codes=[141], whole=reference(command, quick=True).outputs)


@light_command
def test_full_stdout(command, world, reference, tmp_path):
    with open("/dev/full", "wb") as full:
        done = run(arguments(world, command, quick=True), tmp_path, stdout=full)
    check(done, world, tmp_path, codes=[2], whole=reference(command, quick=True).outputs)
    assert "No space left on device" in done.err


@light_command
def test_closed_streams(command, world, reference, tmp_path):
    known = reference(command, quick=True)
    given = arguments(world, command, quick=True)
    done = run(given, tmp_path, stdin=None, stderr=None, before=lambda: (os.close(0), os.close(2)))
    check(done, world, tmp_path, codes=[known.run.code], whole=known.outputs)
    assert done.out == known.run.out
    done = run(given, tmp_path, stdout=None, before=lambda: os.close(1))
    check(done, world, tmp_path, codes=[2], whole=known.outputs)
    assert "stdout is closed" in done.err


@light_command
def test_two_at_once_in_one_folder(command, world, reference, tmp_path):
    known = reference(command)
    began = time.monotonic()
    both = [harness.start(arguments(world, command), tmp_path) for _ in range(2)]
    for done in [harness.finish(process, began) for process in both]:
        # A command that continues earlier work may refuse to share its folder.
        check(done, world, tmp_path, codes=[known.run.code, 2], whole=known.outputs)
    assert harness.digest(tmp_path) == known.outputs


@every_command
def test_no_space(command, world, reference, tmp_path):
    known = reference(command)
    if not known.outputs:
        pytest.skip(f"{command} writes no files here")
    smallest = min(len(content) for content in reference.contents(command))

    def nearly_full():
        # A file may not grow beyond this; Python ignores the signal and gets an error as from a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (smallest - 1, smallest - 1))

    done = run(arguments(world, command), tmp_path, before=nearly_full)
    check(done, world, tmp_path, codes=[2], whole=known.outputs)
    assert not [name for name in harness.digest(tmp_path) if not harness.is_unfinished_work(name)]
    assert "cannot write: File too large" in done.err


@light_command
def test_output_that_cannot_be_a_folder(command, world, reference, tmp_path):
    if not reference(command).outputs:
        pytest.skip(f"{command} writes no files here")
    (tmp_path / "file").write_bytes(b"")
    before = harness.digest(tmp_path)
    done = run([*arguments(world, command), "--output", "file"], tmp_path)
    check(done, world, tmp_path, codes=[2], whole=reference(command).outputs | before)
    assert "file" in done.err


@every_command
def test_folder_without_permission(command, world, reference, tmp_path, bound):
    if not reference(command).outputs:
        pytest.skip(f"{command} writes no files here")
    tmp_path.chmod(0o555)
    done = run(arguments(world, command), tmp_path, before=bound)
    tmp_path.chmod(0o755)
    check(done, world, tmp_path, codes=[2], whole={})
    assert "cannot write: Permission denied" in done.err


@pytest.mark.parametrize("command", [name for name in COMMANDS if "TRAIN" in EXAMPLES[name][1]])
def test_inputs_without_permission(command, world, tmp_path, bound):
    (tmp_path / "table.csv").write_bytes((world.data / "train-small.csv").read_bytes())
    (tmp_path / "table.csv").chmod(0)
    given = ["table.csv" if item == "TRAIN" else item for item in EXAMPLES[command][1]]
    before = harness.digest(tmp_path)
    done = run([command, *world.place(given)], tmp_path, before=bound)
    check(done, world, tmp_path, codes=[2], whole=before)
    assert re.search("no permission to read it|not readable", done.err)


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0"}


@light_command
def test_tables_in_an_ascii_only_locale_without_stdin(command, world, reference, tmp_path):
    known = reference(command, quick=True)
    given = arguments(world, command, quick=True)
    done = run(given, tmp_path, env=environment(**ASCII), stdin=None, before=lambda: os.close(0))
    check(done, world, tmp_path, codes=[known.run.code], whole=known.outputs)
    assert done.out.isascii()
    assert "\\u" not in done.out


@light_command
def test_json_in_an_ascii_only_locale(command, world, reference, tmp_path):
    known = reference(command, quick=True)
    done = run([*arguments(world, command, quick=True), "--json"], tmp_path, env=environment(**ASCII))
    check(done, world, tmp_path, codes=[known.run.code], whole=known.outputs)
    assert done.out.isascii()
    assert json.loads(done.out)["command"] == command


@light_command
def test_narrow_terminal(command, world, reference, tmp_path):
    known = reference(command)
    master, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 40))
    began = time.monotonic()
    env = environment(TERM="xterm-256color")
    process = harness.start(
        arguments(world, command), tmp_path, env=env, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    screen = read_all(master)
    done = harness.finish(process, began)
    done = harness.Run(done.code, screen, "", done.seconds)
    check(done, world, tmp_path, codes=[known.run.code], whole=known.outputs)
    assert harness.digest(tmp_path) == known.outputs
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= 40


def read_all(master):
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux: the last process has closed the terminal
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    return b"".join(parts).decode("utf-8")
