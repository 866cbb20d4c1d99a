from .dataset import RadiographDataset as RadiographDataset
from .decomposed import DecomposedDataset as DecomposedDataset
from .examples import example_radiographs as example_radiographs
from .listing import list_radiographs as list_radiographs
from .lung_dataset import LungDataset as LungDataset
from .manifest import load_manifest as load_manifest
from .opacity_boxes import OpacityBoxDataset as OpacityBoxDataset
from .opacity_boxes import collate_boxes as collate_boxes
from .opacity_boxes import known_opacities as known_opacities
from .rsna import load_rsna as load_rsna
from .sampler import BalancedBatchSampler as BalancedBatchSampler
from .simulator import SimulatedRadiograph as SimulatedRadiograph
from .simulator import simulate_radiograph as simulate_radiograph
from .simulator import write_sample as write_sample
from .sources import Splits as Splits
from .sources import load_splits as load_splits
from .splits import select_folds as select_folds
from .splits import split_by_patient as split_by_patient

__all__ = [
    "BalancedBatchSampler",
    "DecomposedDataset",
    "LungDataset",
    "OpacityBoxDataset",
    "RadiographDataset",
    "SimulatedRadiograph",
    "Splits",
    "collate_boxes",
    "example_radiographs",
    "known_opacities",
    "list_radiographs",
    "load_manifest",
    "load_rsna",
    "load_splits",
    "select_folds",
    "simulate_radiograph",
    "split_by_patient",
    "write_sample",
]
