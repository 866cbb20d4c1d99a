from .abnormality import AbnormalityNetwork as AbnormalityNetwork
from .classifiers import build_classifier as build_classifier
from .decomposer import Decomposer as Decomposer
from .detector import OpacityDetector as OpacityDetector
from .dgm import DGM as DGM
from .discriminator import MultiScaleDiscriminator as MultiScaleDiscriminator
from .encoder_decoder import AbnormalityHead as AbnormalityHead
from .encoder_decoder import Decoder as Decoder
from .encoder_decoder import Encoder as Encoder
from .encoder_decoder import JointDecoder as JointDecoder
from .lung_segmentation import build_lung_network as build_lung_network
from .residue_system import OUTPUT_CHANNELS as OUTPUT_CHANNELS
from .residue_system import ResidueSystem as ResidueSystem
from .residue_system import build_residue_system as build_residue_system
from .residue_system import difference_prediction as difference_prediction
from .residue_system import join_prediction as join_prediction
from .residue_system import split_prediction as split_prediction

__all__ = [
    "DGM",
    "OUTPUT_CHANNELS",
    "AbnormalityHead",
    "AbnormalityNetwork",
    "Decoder",
    "Decomposer",
    "Encoder",
    "JointDecoder",
    "MultiScaleDiscriminator",
    "OpacityDetector",
    "ResidueSystem",
    "build_classifier",
    "build_lung_network",
    "build_residue_system",
    "difference_prediction",
    "join_prediction",
    "split_prediction",
]
