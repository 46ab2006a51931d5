"""The rivals of an emulator, by the names that files and tables give them."""

from sealiency.emulators.linear.eof_ridge import EofRidge
from sealiency.emulators.linear.inverse_model import InverseModel
from sealiency.emulators.linear.persistence import DampedPersistence, Persistence
from sealiency.emulators.linear.pixel_ridge import PixelRidge
from sealiency.emulators.linear.predictor import FieldPredictor

RIVALS: dict[str, type[FieldPredictor]] = {
    "persistence": Persistence,
    "damped_persistence": DampedPersistence,
    "ridge": PixelRidge,
    "inverse_model": InverseModel,
    "eof_ridge": EofRidge,
}
