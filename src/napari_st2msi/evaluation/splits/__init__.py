"""Which spots train and which are held out."""

from napari_st2msi.evaluation.splits.blocks import SpatialBlocks, TissueHalves
from napari_st2msi.evaluation.splits.groups import LeaveGroupOut, group_labels
from napari_st2msi.evaluation.splits.make import Fold, Splits, held_out_in, make_splits
from napari_st2msi.evaluation.splits.matched import DistanceMatched
from napari_st2msi.evaluation.splits.scattered import RandomSpots

__all__ = [
    "DistanceMatched",
    "Fold",
    "LeaveGroupOut",
    "RandomSpots",
    "SpatialBlocks",
    "Splits",
    "TissueHalves",
    "group_labels",
    "held_out_in",
    "make_splits",
]
