from .burden import residue_burden as residue_burden
from .case_results import DecompositionResult as DecompositionResult
from .case_results import MetricRow as MetricRow
from .classification import balanced_threshold as balanced_threshold
from .classification import classification_rows as classification_rows
from .comparison import PairedDifference as PairedDifference
from .comparison import delong_test as delong_test
from .comparison import paired_differences as paired_differences
from .decomposition import evaluate_decomposition as evaluate_decomposition
from .detection import DetectionMetrics as DetectionMetrics
from .detection import FrocCurve as FrocCurve
from .detection import detection_metrics as detection_metrics
from .detection import froc_curve as froc_curve
from .detection_matching import DetectionResult as DetectionResult
from .intervals import Interval as Interval
from .intervals import patient_weights as patient_weights

__all__ = [
    "DecompositionResult",
    "DetectionMetrics",
    "DetectionResult",
    "FrocCurve",
    "Interval",
    "MetricRow",
    "PairedDifference",
    "balanced_threshold",
    "classification_rows",
    "delong_test",
    "detection_metrics",
    "evaluate_decomposition",
    "froc_curve",
    "paired_differences",
    "patient_weights",
    "residue_burden",
]
