"""Answers stay, whatever ends the server, and belong to one reader and one study."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from monai_dgm.errors import InputError
from monai_dgm.reader_study.answers import AnswerLog, read_all
from monai_dgm.reader_study.study import reader_code


def test_answers_are_read_back_in_order_and_a_second_one_to_the_same_trial_changes_nothing(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path, "study")
    log.start("anna")
    for trial, choice in (("t1", "left"), ("t2", "right"), ("t1", "right")):
        log.add("anna", trial, choice, 1.5)
    (answers,) = read_all(tmp_path, "study")
    assert list(answers.choices.items()) == [("t1", "left"), ("t2", "right")] and answers.damaged == 0
    assert len((tmp_path / "anna.jsonl").read_text().splitlines()) == 3  # that the reader began, and two answers


def test_a_line_cut_by_a_kill_loses_no_other_answer(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path, "study")
    log.add("anna", "t1", "left", 1)
    with open(tmp_path / "anna.jsonl", "ab") as stream:
        stream.write(b'{"study": "study", "reader": "an')
    assert list(log.start("anna").choices) == ["t1"]
    log.add("anna", "t2", "right", 1)
    (answers,) = read_all(tmp_path, "study")
    assert answers.choices == {"t1": "left", "t2": "right"} and answers.damaged == 1


def test_answers_of_many_threads_are_all_there(tmp_path: Path) -> None:
    def work(number: int) -> None:
        log = AnswerLog(tmp_path, "study")
        for i in range(10):
            log.add("anna", f"t{number}-{i}", "left", 1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (answers,) = read_all(tmp_path, "study")
    assert len(answers.choices) == 60 and answers.damaged == 0


def test_answers_to_another_study_are_refused(tmp_path: Path) -> None:
    AnswerLog(tmp_path, "one").start("anna")
    with pytest.raises(InputError, match="those of another"):
        read_all(tmp_path, "two")
    with pytest.raises(InputError, match="got none"):
        read_all(tmp_path / "empty", "one")


@pytest.mark.parametrize("text", ["", " ", "../key", "a b", "é", "a" * 41, "a/b", "a.b"])
def test_a_code_that_could_leave_the_folder_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="letters a to z"):
        reader_code(text)


def test_codes_do_not_differ_in_capitals() -> None:
    assert reader_code(" Anna-1 ") == "anna-1"
