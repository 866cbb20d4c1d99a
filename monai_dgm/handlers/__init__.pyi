from .collapse_monitor import CollapseMonitor as CollapseMonitor
from .decomposition_saver import DecompositionSaver as DecompositionSaver
from .decomposition_saver import DetectionSaver as DetectionSaver
from .history import TrainingHistory as TrainingHistory
from .lung_report import LungReport as LungReport
from .model_saver import ModelSaver as ModelSaver
from .moving_average import MovingAverage as MovingAverage
from .panels import PanelHandler as PanelHandler
from .progress import LossProgressBar as LossProgressBar
from .report_writer import ReportWriter as ReportWriter
from .result_saver import ClassificationSaver as ClassificationSaver
from .result_saver import LungMaskSaver as LungMaskSaver
from .result_saver import ResultSaver as ResultSaver

__all__ = [
    "ClassificationSaver",
    "CollapseMonitor",
    "DecompositionSaver",
    "DetectionSaver",
    "LossProgressBar",
    "LungMaskSaver",
    "LungReport",
    "ModelSaver",
    "MovingAverage",
    "PanelHandler",
    "ReportWriter",
    "ResultSaver",
    "TrainingHistory",
]
