from .collapse_monitor import CollapseMonitor as CollapseMonitor
from .history import TrainingHistory as TrainingHistory
from .lung_report import LungReport as LungReport
from .model_saver import ModelSaver as ModelSaver
from .moving_average import MovingAverage as MovingAverage
from .panels import PanelHandler as PanelHandler
from .progress import LossProgressBar as LossProgressBar
from .report_writer import ReportWriter as ReportWriter

__all__ = [
    "CollapseMonitor",
    "LossProgressBar",
    "LungReport",
    "ModelSaver",
    "MovingAverage",
    "PanelHandler",
    "ReportWriter",
    "TrainingHistory",
]
