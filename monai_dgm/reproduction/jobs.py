"""The plan: which jobs have to run for which row of which table. Nothing here runs or reads anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from monai_dgm.jobs.job import Job
from monai_dgm.reproduction.presets import Network, Preset

__all__ = ["TABLES", "Plan", "Row", "make_plan"]

TABLES = (4, 5, 6, 7)
IMAGE, RESIDUE, BOTH = ("image",), ("residue",), ("image", "residue")
# what takes the residue's place in a control, and its name
_CONTROLS = {("image", "shuffled_residue"): "another image's residue", ("image", "mean_residue"): "the mean residue"}
_TRAIN = "train.json"
# architecture -> (name in our tables, row of the paper's Tables 4 to 6)
_ARCHITECTURES = {
    "alexnet": ("AlexNet", "AlexNet"),
    "densenet121": ("DenseNet121", ""),
    "densenet161": ("DenseNet161", "DenseNet161"),
    "densenet_small": ("small DenseNet", ""),
    "resnet18": ("ResNet18", ""),
    "resnet34": ("ResNet34", ""),
    "resnet50": ("ResNet50", ""),
    "resnet152": ("ResNet152", "ResNet152"),
    "vgg19": ("VGG19", "VGGNet19"),
}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        table: 4 to 7.
        name: with architecture and size.
        kind: "classifier", "head" or "detector".
        channels: the network's input.
        jobs: fold -> name of its job.
        paper: the same row in the paper's table, "" for none.
        pair: rows of a table with the same ``pair`` differ in the residue only; "" for none.
        heads: fold -> name of the job of the head whose logit is stacked with the network's
            (:func:`monai_dgm.reproduction.test_predictions.stack_scores`).
    """

    table: int
    name: str
    kind: str
    channels: tuple[str, ...]
    jobs: Mapping[int, str]
    paper: str = ""
    pair: str = ""
    heads: Mapping[int, str] = field(default_factory=dict)


@dataclass
class Plan:
    """Jobs in an order in which each comes after what it needs, and the rows they fill.

    Attributes:
        jobs: fold by fold, so that the first results come early.
        rows: of all tables, in their order.
        preset: sizes and schedules.
        folds: test folds.
        cross_fitted: whether networks are trained on residues of decomposers that have not seen the image.
    """

    preset: Preset
    folds: tuple[int, ...]
    cross_fitted: bool = False
    jobs: list[Job] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def tables(self) -> list[int]:
        """Tables that have rows."""
        return sorted({row.table for row in self.rows})


def make_plan(
    preset: Preset,
    folds: Sequence[int],
    tables: Sequence[int] = TABLES,
    cross_fitted: str | None = None,
    controls: bool = False,
) -> Plan:
    """All jobs and rows.

    Each fold has one decomposer, trained without that fold, for all classifiers and detectors of the fold. A job that
    several tables share occurs once.

    Args:
        preset: sizes and schedules.
        folds: test folds.
        tables: of :data:`TABLES`.
        cross_fitted: fingerprint of the decomposers of all folds, for classifiers and detectors that train on the
            residues of those that have not seen the image
            (:func:`monai_dgm.engines.residues.frozen_decomposer.cross_fitted_residues`); None trains them on the
            residues of the fold's own decomposer.
        controls: further rows of Tables 5 to 7 that a residue has to be better than: another image's residue or the
            mean residue in its place, and in Tables 5 and 6 the head's logit stacked with the network's.
    """
    plan = Plan(preset, tuple(folds), cross_fitted is not None)
    jobs: dict[str, Job] = {}
    for table in sorted(set(tables)):
        for make, name, paper, pair in _row_makers(preset, table, controls):
            made = {fold: _cross_fitted(make(preset, fold), cross_fitted) for fold in plan.folds}
            jobs.update({job.name: job for job in made.values()})
            first = next(iter(made.values()))
            channels = tuple(first.overrides.get("channels", IMAGE))
            names = {fold: job.name for fold, job in made.items()}
            plan.rows.append(Row(table, name, first.kind, channels, names, paper, pair))
        if controls and table in (5, 6):
            heads = {fold: _head(preset, fold) for fold in plan.folds}
            jobs.update({job.name: job for job in heads.values()})
            names = {fold: job.name for fold, job in heads.items()}
            rows = [row for row in plan.rows if row.table == table and row.channels in (IMAGE, BOTH)]
            plan.rows += [replace(row, name=f"{row.name}, head's logit", paper="", heads=names) for row in rows]
    for fold in plan.folds:
        own = [job for job in jobs.values() if job.fold == fold]
        if any(job.needs for job in own):
            plan.jobs.append(_decomposer(preset, fold))
        plan.jobs += own
    return plan


def _cross_fitted(job: Job, fingerprint: str | None) -> Job:
    if fingerprint is None or tuple(job.overrides.get("channels", IMAGE)) == IMAGE:  # the head has none to choose
        return job
    overrides = {**job.overrides, "cross_fitted": fingerprint}
    return replace(job, name=f"{job.name}-cross_fitted", title=f"{job.title}, cross-fitted", overrides=overrides)


@dataclass(frozen=True)
class _Maker:
    """Makes the job of a row for any fold."""

    kind: str
    network: Network | None = None
    task: str = ""
    channels: tuple[str, ...] = IMAGE

    def __call__(self, preset: Preset, fold: int) -> Job:
        if self.network is None:
            return _head(preset, fold)
        if self.kind == "detector":
            return _detector(preset, fold, self.network, self.channels)
        return _classifier(preset, fold, self.network, self.task, self.channels)


def _row_makers(preset: Preset, table: int, controls: bool) -> list[tuple[_Maker, str, str, str]]:
    """(how to make its jobs, name, row of the paper, pair) of each row of a table."""
    if table == 7:
        return _pairs(preset.detectors, "detector", "", controls)
    if table in (5, 6):
        return _pairs(preset.classifiers, "classifier", "abnormality" if table == 5 else "opacity", controls)
    rows = []
    for network in (*preset.compared, *preset.classifiers):
        alone = _Maker("classifier", network, "abnormality", IMAGE)
        rows.append((alone, _name(network), _paper_name(network), ""))
    for network in preset.classifiers:
        residue = _Maker("classifier", network, "abnormality", RESIDUE)
        rows.append((residue, _name(network, "*"), f"{_paper_name(network)}*" if _paper_name(network) else "", ""))
    return [*rows, (_Maker("head"), "DGM's head", "DGM", "")]


def _pairs(networks: Sequence[Network], kind: str, task: str, controls: bool) -> list[tuple[_Maker, str, str, str]]:
    rows = []
    for network in networks:
        name, pair = _name(network), f"{network.architecture}-{network.image_size}"
        known = _paper_name(network)
        if kind == "detector":
            name, known = f"RetinaNet ({name})", "RetinaNet" if network.architecture == "resnet50" else ""
        rows.append((_Maker(kind, network, task, IMAGE), name, known, pair))
        rows.append((_Maker(kind, network, task, BOTH), f"{name} + DGM", "+ DGM" if known else "", pair))
        for channels, words in _CONTROLS.items() if controls else ():
            rows.append((_Maker(kind, network, task, channels), f"{name} + {words}", "", pair))
    return rows


def _name(network: Network, mark: str = "") -> str:
    width = network.recipe.overrides.get("width", 1)
    times = f" x {width:g}" if width != 1 else ""
    return (
        f"{_ARCHITECTURES.get(network.architecture, (network.architecture,))[0]}{times}{mark}, {network.image_size} px"
    )


def _paper_name(network: Network) -> str:
    """Row of the paper's Tables 4 to 6 with this architecture."""
    return _ARCHITECTURES.get(network.architecture, ("", ""))[1]


def _decomposer_name(fold: int) -> str:
    return f"fold{fold}-decomposer"


def _decomposer(preset: Preset, fold: int) -> Job:
    recipe = preset.decomposer
    return Job(
        name=_decomposer_name(fold),
        kind="decomposer",
        title=f"fold {fold}: decomposer",
        bundle="dgm",
        run_id="training",
        configs=(_TRAIN, *recipe.overlays),
        overrides={**preset.data, **recipe.overrides},
        fold=fold,
    )


def _head(preset: Preset, fold: int) -> Job:
    return Job(
        name=f"fold{fold}-head",
        kind="head",
        title=f"fold {fold}: the decomposer's head",
        bundle="opacity_classification",
        run_id="evaluating",
        configs=(_TRAIN, "evaluate.json", "head.json"),
        overrides={**preset.data, "num_bootstrap": 2},  # the report makes its own intervals, over all folds
        fold=fold,
        needs=_decomposer_name(fold),
    )


def _classifier(preset: Preset, fold: int, network: Network, task: str, channels: tuple[str, ...]) -> Job:
    fixed = {"task": task, "channels": list(channels), "architecture": network.architecture}
    words = f"{task}, {_name(network)} on {' and '.join(channels)}"
    return Job(
        name=f"fold{fold}-{task}-{network.architecture}-{network.image_size}px-{'_'.join(channels)}",
        kind="classifier",
        title=f"fold {fold}: {words}",
        bundle="opacity_classification",
        run_id="training",
        configs=(_TRAIN, *network.recipe.overlays),
        overrides={**preset.data, **network.recipe.overrides, **fixed, "image_size": network.image_size},
        fold=fold,
        needs=_decomposer_name(fold) if channels != IMAGE else None,
    )


def _detector(preset: Preset, fold: int, network: Network, channels: tuple[str, ...]) -> Job:
    fixed = {"channels": list(channels), "backbone": network.architecture, "image_size": network.image_size}
    return Job(
        name=f"fold{fold}-detection-{network.architecture}-{network.image_size}px-{'_'.join(channels)}",
        kind="detector",
        title=f"fold {fold}: detection, {_name(network)} on {' and '.join(channels)}",
        bundle="opacity_detection",
        run_id="training",
        configs=(_TRAIN, *network.recipe.overlays),
        overrides={**preset.data, **network.recipe.overrides, **fixed},
        fold=fold,
        needs=_decomposer_name(fold) if channels != IMAGE else None,
    )
