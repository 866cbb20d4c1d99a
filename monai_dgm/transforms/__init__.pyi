from .augmentation import RandMirror as RandMirror
from .augmentation import RandRadiographAugmentation as RandRadiographAugmentation
from .boxes import box_iou as box_iou
from .boxes import box_of_mask as box_of_mask
from .boxes import check_boxes as check_boxes
from .boxes import compare_boxes as compare_boxes
from .boxes import rasterise_boxes as rasterise_boxes
from .geometry import RadiographGeometry as RadiographGeometry
from .geometry import prepare_radiograph as prepare_radiograph
from .load_radiograph import LoadRadiographd as LoadRadiographd
from .lungs import clean_lung_mask as clean_lung_mask
from .lungs import split_lungs as split_lungs
from .placement import Placement as Placement
from .preparation import PreparedRadiograph as PreparedRadiograph
from .preparation import prepare as prepare
from .pseudo_healthy import RandPseudoHealthy as RandPseudoHealthy
from .pseudo_healthy import pseudo_healthy_image as pseudo_healthy_image
from .saliency import Saliency as Saliency
from .saliency import compute_saliency as compute_saliency
from .saliency import saliency_to_boxes as saliency_to_boxes
from .superimpose import RandSuperimposeOpacity as RandSuperimposeOpacity
from .superimpose import superimpose_opacity as superimpose_opacity

__all__ = [
    "LoadRadiographd",
    "Placement",
    "PreparedRadiograph",
    "RadiographGeometry",
    "RandMirror",
    "RandPseudoHealthy",
    "RandRadiographAugmentation",
    "RandSuperimposeOpacity",
    "Saliency",
    "box_iou",
    "box_of_mask",
    "check_boxes",
    "clean_lung_mask",
    "compare_boxes",
    "compute_saliency",
    "prepare",
    "prepare_radiograph",
    "pseudo_healthy_image",
    "rasterise_boxes",
    "saliency_to_boxes",
    "split_lungs",
    "superimpose_opacity",
]
