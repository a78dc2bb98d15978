"""What the choices of recipes and openings are called in docks."""

from __future__ import annotations

# What choices are called where their name in files is not a word.
_WORDS = {
    "overlap": "shared area",
    "radius": "centres within a radius",
    "nearest": "nearest pixels",
    "inverse_distance": "inverse distance",
    "sum": "sum of signal",
    "drop": "leave out",
    "nan": "keep as missing",
    "tic": "TIC",
    "rms": "RMS",
    "blocks": "blocks of tissue",
    "leave_group_out": "whole groups",
    "random": "random spots (optimistic)",
    "half": "random half (optimistic)",
    "tissue_halves": "halves of each section",
    "knndm": "matched distances (kNNDM)",
    "tissue": "the tissue",
    "variogram": "the variogram",
    "evaluated": "where skill is measured",
    "product": "presence × intensity",
    "mask": "intensity where present",
    "spatial": "spatially structured",
    "svd": "SVD",
    "hvg": "HVG",
    "hvg_svd": "HVG, SVD",
    "hvg_svd_graph": "HVG, SVD, graph",
    "svd_graph": "SVD, graph",
    "pls": "PLS",
    "graph_svd": "graph SVD",
    "svm": "SVM",
    "signature": "signature genes",
    "kmeans": "k-means",
    "leiden": "Leiden",
    "linear_transformer": "transformer without a map",
    "linear": "least squares",
    "position_genes": "position and genes",
    "mlp": "multilayer perceptron",
    "gcn": "graph convolution (GCN)",
    "graphsage": "GraphSAGE",
    "gat": "graph attention (GAT)",
    "cvae": "variational autoencoder (CVAE)",
    "two_stage": "two-stage (presence, intensity)",
}


def words_for(value: object) -> str:
    """Return what one of the choices of a field is called."""
    return _WORDS.get(str(value), str(value).replace("_", " "))
