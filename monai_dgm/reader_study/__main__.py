"""``python -m monai_dgm.reader_study make | serve | score``: a blinded comparison of images by readers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_dgm.errors import InputError
from monai_dgm.reader_study.answers import read_all
from monai_dgm.reader_study.making import QUESTION, make_study
from monai_dgm.reader_study.scores import agreement, comparisons, drop_out, score_systems
from monai_dgm.reader_study.server import serve
from monai_dgm.reader_study.study import ANSWERS, load_key
from monai_dgm.reader_study.tables import score_text, write_scores
from monai_dgm.utils.command import exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m monai_dgm.reader_study", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="make | serve | score")
    make = commands.add_parser("make", help="pairs from folders of images")
    make.add_argument("--output_dir", type=Path, required=True, help="folder of the study; must not exist")
    make.add_argument(
        "--system",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="images of a system, or decompositions (their normal.png); give two or more, real images as real=FOLDER",
    )
    make.add_argument("--num_images", type=int, help="radiographs for each two systems; default: all they share")
    make.add_argument("--num_catch", type=int, help="trials that come again with sides swapped; default: a tenth")
    make.add_argument("--size", type=int, default=256, help="side of all images in pixels (default: 256)")
    make.add_argument("--seed", type=int, help="of radiographs, sides and order; default: drawn, and kept in the key")
    make.add_argument("--any_image", action="store_true", help="pair images of different radiographs")
    make.add_argument("--question", default=QUESTION, help=f"that readers answer (default: {QUESTION})")
    make.set_defaults(run=_make)
    show = commands.add_parser("serve", help="the page for readers, on 127.0.0.1")
    show.add_argument("study", type=Path, help="folder of the study")
    show.add_argument("--port", type=int, default=8000, help="(default: 8000)")
    show.set_defaults(run=_serve)
    score = commands.add_parser("score", help="scores of the systems, agreement and drop-out")
    score.add_argument("study", type=Path, help="folder of the study")
    score.add_argument("--answers", type=Path, help="folder of the answers; default: STUDY/answers")
    score.add_argument("--output_dir", type=Path, help="for scores.txt, .csv and .json; default: STUDY/scores")
    score.add_argument("--num_bootstrap", type=int, default=1000, help="resamples of the intervals (default: 1000)")
    score.set_defaults(run=_score)
    return parser


def _make(arguments: argparse.Namespace) -> None:
    systems: dict[str, Path] = {}
    for text in arguments.system:
        name, _, folder = text.partition("=")
        if not name or not folder or name in systems:
            raise InputError(f"expected --system NAME=FOLDER with a name of its own, got {text!r}")
        systems[name] = Path(folder)
    number = make_study(
        arguments.output_dir,
        systems,
        arguments.num_images,
        arguments.num_catch,
        arguments.size,
        arguments.seed,
        arguments.any_image,
        arguments.question,
    )
    print(f"{arguments.output_dir}: {number} trials of {len(systems)} systems")


def _serve(arguments: argparse.Namespace) -> None:
    serve(arguments.study, arguments.port)


def _score(arguments: argparse.Namespace) -> None:
    if arguments.num_bootstrap < 2:
        raise InputError(f"expected two or more resamples, got {arguments.num_bootstrap}")
    key = load_key(arguments.study)
    readers = read_all(arguments.answers or arguments.study / ANSWERS, key.study)
    scores = score_systems(key, comparisons(key, readers), arguments.num_bootstrap)
    agreed, dropped = agreement(key, readers), drop_out(key, readers)
    write_scores(arguments.output_dir or arguments.study / "scores", scores, agreed, dropped)
    print(score_text(scores, agreed, dropped))


def main(words: Sequence[str] | None = None) -> int:
    """Run one of the three commands; returns the exit status."""
    arguments = _parser().parse_args(words)
    return exit_status(arguments.run, arguments)


if __name__ == "__main__":
    sys.exit(main())
