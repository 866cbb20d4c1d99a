from .abnormality import AbnormalityNetwork as AbnormalityNetwork
from .aeu import AEU as AEU
from .classifiers import build_classifier as build_classifier
from .cyclegan import CycleGAN as CycleGAN
from .cyclegan import CycleGANTranslators as CycleGANTranslators
from .ddad import DDAD as DDAD
from .decomposer import Decomposer as Decomposer
from .detector import OpacityDetector as OpacityDetector
from .dgm import DGM as DGM
from .discriminator import MultiScaleDiscriminator as MultiScaleDiscriminator
from .drit import DRIT as DRIT
from .drit import ContentDiscriminator as ContentDiscriminator
from .drit import DRITNetworks as DRITNetworks
from .encoder_decoder import AbnormalityHead as AbnormalityHead
from .encoder_decoder import Decoder as Decoder
from .encoder_decoder import Encoder as Encoder
from .encoder_decoder import JointDecoder as JointDecoder
from .lung_segmentation import build_lung_network as build_lung_network
from .munit import MUNIT as MUNIT
from .munit import MUNITAutoencoders as MUNITAutoencoders
from .residue_system import OUTPUT_CHANNELS as OUTPUT_CHANNELS
from .residue_system import ResidueSystem as ResidueSystem
from .residue_system import build_residue_system as build_residue_system
from .residue_system import difference_prediction as difference_prediction
from .residue_system import join_prediction as join_prediction
from .residue_system import split_prediction as split_prediction
from .vagan import VAGAN as VAGAN
from .vagan import Critic as Critic

__all__ = [
    "AEU",
    "DDAD",
    "DGM",
    "DRIT",
    "MUNIT",
    "OUTPUT_CHANNELS",
    "VAGAN",
    "AbnormalityHead",
    "AbnormalityNetwork",
    "ContentDiscriminator",
    "Critic",
    "CycleGAN",
    "CycleGANTranslators",
    "DRITNetworks",
    "Decoder",
    "Decomposer",
    "Encoder",
    "JointDecoder",
    "MUNITAutoencoders",
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
