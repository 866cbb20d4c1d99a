from .classification.classifier import load_classifier as load_classifier
from .decomposition.evaluator import DecompositionEvaluator as DecompositionEvaluator
from .decomposition.evaluator import DecompositionMetrics as DecompositionMetrics
from .detection.inference import load_detector as load_detector
from .detection.workflow import DetectionEvaluator as DetectionEvaluator
from .lungs.segmentor import load_lung_segmentor as load_lung_segmentor
from .training.checkpoint import TrainingCheckpoint as TrainingCheckpoint
from .training.steps import AdversarialStep as AdversarialStep
from .training.steps import TrainingStep as TrainingStep
from .training.trainer import StepTrainer as StepTrainer
from .training.warm_up import ResidueWarmUp as ResidueWarmUp
from .weights import load_residue_system as load_residue_system
from .weights import load_weights as load_weights
from .weights import read_model_settings as read_model_settings
from .weights import save_weights as save_weights

__all__ = [
    "AdversarialStep",
    "DecompositionEvaluator",
    "DecompositionMetrics",
    "DetectionEvaluator",
    "ResidueWarmUp",
    "StepTrainer",
    "TrainingCheckpoint",
    "TrainingStep",
    "load_classifier",
    "load_detector",
    "load_lung_segmentor",
    "load_residue_system",
    "load_weights",
    "read_model_settings",
    "save_weights",
]
