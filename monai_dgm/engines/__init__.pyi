from .classification.classifier import load_classifier as load_classifier
from .decomposition.evaluator import DecompositionEvaluator as DecompositionEvaluator
from .decomposition.evaluator import DecompositionMetrics as DecompositionMetrics
from .detection.workflow import DetectionEvaluator as DetectionEvaluator
from .lungs.segmentor import load_lung_segmentor as load_lung_segmentor
from .pipeline import RadiographPipeline as RadiographPipeline
from .pipeline_loading import load_detector as load_detector
from .pipeline_loading import load_pipeline as load_pipeline
from .radiograph_result import RadiographResult as RadiographResult
from .residues.decomposed_radiograph import Decomposition as Decomposition
from .residues.decomposed_radiograph import to_original as to_original
from .training.checkpoint import TrainingCheckpoint as TrainingCheckpoint
from .training.steps import AdversarialStep as AdversarialStep
from .training.steps import OneOptimizerStep as OneOptimizerStep
from .training.steps import ResidueWarmUp as ResidueWarmUp
from .training.steps import TrainingStep as TrainingStep
from .training.systems.aeu import AEUStep as AEUStep
from .training.systems.cyclegan import CycleGANStep as CycleGANStep
from .training.systems.ddad import DDADStep as DDADStep
from .training.systems.drit import DRITStep as DRITStep
from .training.systems.munit import MUNITStep as MUNITStep
from .training.systems.vagan import VAGANStep as VAGANStep
from .training.trainer import StepTrainer as StepTrainer
from .weights import load_residue_system as load_residue_system
from .weights import load_weights as load_weights
from .weights import read_model_settings as read_model_settings
from .weights import save_weights as save_weights

__all__ = [
    "AEUStep",
    "AdversarialStep",
    "CycleGANStep",
    "DDADStep",
    "DRITStep",
    "Decomposition",
    "DecompositionEvaluator",
    "DecompositionMetrics",
    "DetectionEvaluator",
    "MUNITStep",
    "OneOptimizerStep",
    "RadiographPipeline",
    "RadiographResult",
    "ResidueWarmUp",
    "StepTrainer",
    "TrainingCheckpoint",
    "TrainingStep",
    "VAGANStep",
    "load_classifier",
    "load_detector",
    "load_lung_segmentor",
    "load_pipeline",
    "load_residue_system",
    "load_weights",
    "read_model_settings",
    "save_weights",
    "to_original",
]
