"""What may be called while a network trains: stop, log, save, show."""

from .base import Callback, TerminateOnNaN
from .early_stopping import EarlyStopping
from .files import CSVLogger, ModelCheckpoint
from .learning_rate_finder import LearningRateFinder, LearningRates
from .progress import ProgressBar

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LearningRateFinder",
    "LearningRates",
    "ModelCheckpoint",
    "ProgressBar",
    "TerminateOnNaN",
]
