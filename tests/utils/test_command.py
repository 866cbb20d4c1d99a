"""How commands end."""

from __future__ import annotations

import argparse

import pytest

from monai_dgm.errors import InputError
from monai_dgm.utils.command import exit_status


def test_status_is_the_commands_own_or_0() -> None:
    given = argparse.Namespace(status=3)
    assert exit_status(lambda arguments: arguments.status, given) == 3
    assert exit_status(lambda arguments: None, given) == 0


def test_refused_input_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(arguments: argparse.Namespace) -> None:
        raise InputError("a.txt: expected a number, got a word")

    assert exit_status(refuse, argparse.Namespace()) == 2
    assert capsys.readouterr().err == "error: a.txt: expected a number, got a word\n"


def test_other_errors_pass() -> None:
    def fail(arguments: argparse.Namespace) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        exit_status(fail, argparse.Namespace())
