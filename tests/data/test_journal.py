import json

import pytest

from cxr_cli.data import journal as module
from cxr_cli.data.journal import Journal
from cxr_cli.errors import OutputError

RUN = {"labels": "abc", "image_size": [320, 320]}


def opened(path, run=RUN, synced=None):
    return Journal(path, run, sync=lambda: None if synced is None else synced.append(path.read_bytes()))


def test_entries_come_back_in_order(tmp_path):
    path = tmp_path / "new" / "journal.jsonl"
    journal = opened(path)
    journal.add([[1, "a"], "b"])
    journal.add([])
    journal.add([{"c": 3}])
    assert list(journal.entries()) == [[1, "a"], "b", {"c": 3}]
    journal.close()
    again = opened(path)
    assert again.n_entries == 3
    assert list(again.entries()) == [[1, "a"], "b", {"c": 3}]
    again.remove()
    assert not path.exists()


def test_data_reach_the_disk_before_the_entries_that_speak_of_them(tmp_path):
    synced = []
    journal = opened(tmp_path / "j", synced=synced)
    journal.add([1])
    journal.checkpoint()
    assert b"\n1\t" not in synced[-1]
    assert b"\n1\t" in (tmp_path / "j").read_bytes()


def test_what_was_not_checkpointed_is_done_again(tmp_path):
    journal = opened(tmp_path / "j")
    journal.add([1])
    journal.checkpoint()
    journal.add([2])
    journal.close()
    assert opened(tmp_path / "j").n_entries == 1


def test_checkpoints_come_by_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0)
    journal = opened(tmp_path / "j")
    journal.add([1])
    journal.close()
    assert opened(tmp_path / "j").n_entries == 1


def test_a_journal_cut_anywhere_is_a_beginning_of_itself(tmp_path):
    path = tmp_path / "j"
    journal = opened(path)
    journal.add(["one", "two", "three"])
    journal.checkpoint()
    journal.close()
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        again = opened(path)
        found = list(again.entries())
        assert found == ["one", "two", "three"][: len(found)]
        assert len(found) == max(whole[:length].count(b"\n") - 1, 0)
        again.add(["four"])
        assert list(again.entries()) == [*found, "four"]
        again.close()


def test_work_is_done_again_from_the_first_damaged_line(tmp_path):
    path = tmp_path / "j"
    journal = opened(path)
    journal.add(["one", "two", "two", "four"])
    journal.checkpoint()
    journal.close()
    whole = path.read_bytes()
    header, one, two, again, four = whole.splitlines(keepends=True)
    for lines, n_sound in (
        ([header, one, two.replace(b"two", b"twO"), again, four], 1),
        ([header, two, one, again, four], 0),
        ([header, one, again, two, four], 1),
        ([header, one, one, two, again, four], 1),
        ([header, one, b"\n", two, again, four], 1),
        ([header, one, b"\xff\t00000000\n"], 1),
    ):
        path.write_bytes(b"".join(lines))
        journal = opened(path)
        assert journal.n_entries == n_sound
        journal.add(["next"])
        assert list(journal.entries()) == [*["one", "two", "two", "four"][:n_sound], "next"]
        journal.close()


@pytest.mark.parametrize("header", [b"\n", b"[]\n", b"\xff\n", b"1\n", b"[" * 9999 + b"\n"])
def test_a_damaged_header_is_refused(tmp_path, header):
    (tmp_path / "j").write_bytes(header)
    with pytest.raises(OutputError, match="damaged|differs") as caught:
        opened(tmp_path / "j")
    assert "start_over=True" in caught.value.remedy


def test_another_run_is_refused_and_the_difference_named(tmp_path):
    opened(tmp_path / "j").close()
    with pytest.raises(OutputError, match=r"image_size was \[320, 320\] and is \[224, 224\]") as caught:
        opened(tmp_path / "j", {**RUN, "image_size": [224, 224]})
    assert "start_over=True" in caught.value.remedy
    assert "labels" not in caught.value.what


def test_two_runs_at_once_are_refused(tmp_path):
    pytest.importorskip("fcntl")
    first = opened(tmp_path / "j")
    with pytest.raises(OutputError, match="another run"):
        opened(tmp_path / "j")
    first.close()
    opened(tmp_path / "j").close()


def test_a_full_disk_is_an_error_and_the_next_run_continues(tmp_path):
    journal = opened(tmp_path / "j")
    journal.add([1])
    journal.checkpoint()

    def fail():
        raise OSError(28, "No space left on device")

    journal._sync = fail
    journal.add([2])
    with pytest.raises(OutputError, match="No space left"):
        journal.checkpoint()
    journal.close()
    assert opened(tmp_path / "j").n_entries == 1


def test_header_is_readable(tmp_path):
    opened(tmp_path / "j").close()
    assert json.loads((tmp_path / "j").read_text().splitlines()[0]) == RUN
