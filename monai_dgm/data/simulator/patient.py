"""Random parameters of a simulated patient and exposure, drawn from seeded streams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# One random stream per component: drawing more numbers for one component does not change the others, and the normal
# and the abnormal image of a patient share anatomy and noise.
_COMPONENTS = ("patient", "soft", "bones", "vessels", "disease", "film", "noise", "extras", "label", "position")
STREAMS = {name: index for index, name in enumerate(_COMPONENTS)}


def stream(seed: int, name: str, study: int = 0) -> np.random.Generator:
    """The seeded random stream of one component; what belongs to the exposure, not the patient, gives its ``study``."""
    return np.random.default_rng([seed, STREAMS[name], study])


@dataclass(frozen=True)
class Thorax:
    """Rib cage and lungs in cm: y down, origin about the seventh thoracic vertebra, x to the patient's left."""

    half_width: float
    apex: float
    dome: float
    depth: float
    dome_height: float
    lung_density: float

    @property
    def base(self) -> float:
        """Height of the costophrenic angles, where the cage is widest."""
        return self.dome + self.dome_height

    def cage(self, y: np.ndarray) -> np.ndarray:
        """Inner half width of the rib cage at height y; 0 above the apex."""
        up = np.clip((self.base - y) / (self.base - self.apex), 0, 1)
        widening = 1 - 0.05 * np.clip((y - self.base) / 6, 0, 1)
        return self.half_width * np.maximum(1 - up**4, 0) ** 0.42 * (1 - 0.12 * up) * widening


@dataclass(frozen=True)
class Heart:
    """Heart and great vessels: sizes relative to the average patient's, shifts in cm."""

    left: float
    right: float
    knob: float
    trunk: float
    shift: float
    depth: float


@dataclass(frozen=True)
class Habitus:
    """Soft tissue: wall (cm over the ribs), thickness factor, breasts (0 none), arm abduction (rad), shoulder drop."""

    wall: float
    depth: float
    breast: float
    arm: float
    shoulder: float
    neck: float


@dataclass(frozen=True)
class Patient:
    """One patient on the table.

    Attributes:
        rotation: cm that structures in front shift to the patient's left against those behind.
        tilt: in-plane rotation, radians.
        field_cm: side of the square field of view.
        centre: patient coordinates of the image centre.
    """

    sex: str
    age: int
    view: str
    thorax: Thorax
    heart: Heart
    habitus: Habitus
    rotation: float
    tilt: float
    field_cm: float
    centre: tuple[float, float]


def _sample_thorax(rng: np.random.Generator, sex: str, age: int, portable: bool, fat: float) -> Thorax:
    scale = (1.04 if sex == "M" else 0.94) * rng.normal(1, 0.035)
    inspiration = float(np.clip(rng.normal(0.62 if portable else 0.95, 0.2), 0.1, 1.35))
    length = scale * (15.5 + 5.5 * inspiration - 0.8 * max(fat, 0))
    half_width = scale * (13.2 + 0.5 * inspiration) * rng.normal(1, 0.03)
    apex = -scale * 11.8
    return Thorax(
        half_width=half_width,
        apex=apex,
        dome=apex + length,
        depth=scale * rng.uniform(13.5, 17) * (1 + 0.0015 * (age - 50)),
        dome_height=scale * rng.uniform(3.4, 5.6),
        lung_density=rng.uniform(0.24, 0.32) - 0.03 * (inspiration - 1),
    )


def sample_patient(seed: int, study: int = 0) -> Patient:
    """Draw a patient; the same seed gives the same one at any image size, each study another position."""
    rng = stream(seed, "patient")
    sex = "F" if rng.random() < 0.46 else "M"
    age = int(np.clip(rng.normal(50, 17), 18, 92))
    portable = bool(rng.random() < 0.38)
    fat = float(np.clip(rng.normal(0.1, 0.8), -1.3, 2.2))
    thorax = _sample_thorax(rng, sex, age, portable, fat)
    big = 1.1 if portable else 1.0
    heart = Heart(
        left=big * rng.normal(0.97, 0.08) + 0.002 * (age - 50) + 0.03 * fat,
        right=big * rng.normal(1.0, 0.1),
        knob=float(np.clip(rng.normal(1, 0.2) + 0.008 * (age - 50), 0.5, 1.7)),
        trunk=rng.normal(1, 0.2),
        shift=rng.normal(0, 0.3),
        depth=rng.uniform(8.5, 11.5),
    )
    habitus = Habitus(
        wall=float(np.clip(2.5 + 0.95 * fat + rng.normal(0, 0.25), 1.2, 5.5)),
        depth=1 + 0.07 * fat,
        breast=float(np.clip(rng.normal(1.0 + 0.3 * fat, 0.4), 0, 2)) if sex == "F" else max(0.0, 0.25 * (fat - 0.8)),
        arm=rng.uniform(0.05, 0.3) if portable else rng.uniform(0.15, 0.55),
        shoulder=rng.uniform(-1.5, 1.2),
        neck=rng.uniform(5.0, 6.2) * (1.08 if sex == "M" else 0.95) + 0.35 * fat,
    )
    position = stream(seed, "position", study)
    field = 2 * thorax.half_width / position.uniform(0.64, 0.92)
    top = thorax.apex - field * position.uniform(0.03, 0.17)
    return Patient(
        sex=sex,
        age=age,
        view="AP" if portable else "PA",
        thorax=thorax,
        heart=heart,
        habitus=habitus,
        rotation=position.normal(0, 0.9 if portable else 0.4),
        tilt=position.normal(0, 0.035 if portable else 0.015),
        field_cm=field,
        centre=(position.normal(0, 0.03) * field, top + field / 2),
    )
