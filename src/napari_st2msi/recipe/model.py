"""Which model, and its settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_st2msi.recipe.choices import Choices


class Model(Choices):
    """Which model, and how its two stages are put together."""

    name: str = Field("two_stage", title="Model", description="Name in the model registry.")
    presence: Literal["logistic", "svm", "chain", "networks", "network"] = Field(
        "logistic",
        title="Presence by",
        description="For 'two_stage' and 'stack'. logistic: logistic regression; svm: a linear support vector machine "
        "for each ion; chain: logistic regressions, each of which also sees what the ones before it predict; "
        "networks: a small network for each ion; network: one for all ions.",
    )
    intensity: Literal[
        "ridge", "linear", "lasso", "elastic_net", "pls", "kernel_ridge", "banded_ridge", "trees", "mlp", "stack"
    ] = Field("ridge", title="Intensity by", description="For 'two_stage': the regression where the ion is present.")
    combine: Literal["product", "mask"] = Field(
        "product",
        title="Combine stages",
        description="product: probability of presence × intensity; "
        "mask: the intensity where presence is likelier than the threshold, else nothing.",
    )
    threshold: float = Field(
        0.5, gt=0, lt=1, title="Presence threshold", description="For 'mask', and for precision, recall and F1."
    )
    choose_threshold: bool = Field(
        False,
        title="Choose thresholds",
        description="For 'mask': each ion gets the threshold with the best F1 on inner folds instead.",
    )
    alphas: tuple[float, float] = Field(
        (1e0, 1e7),
        title="Ridge penalties",
        description="Smallest and largest penalty tried; each ion gets its own, chosen inside the training spots.",
    )
    n_alphas: int = Field(20, ge=1, le=100, title="Penalties tried", description="On a logarithmic scale.")
    penalties: Literal["folds", "spots"] = Field(
        "folds",
        title="Penalties from",
        description="folds: sections or blocks of tissue held out; spots: for 'ridge', one spot left out at a time, "
        "which is flattered by neighbours: for spots that are none.",
    )
    l1_ratio: float = Field(
        0.5, gt=0, le=1, title="Share of lasso", description="For 'elastic_net': 1 is the lasso, near 0 is ridge."
    )
    most_components: int = Field(
        40, ge=1, title="Most components", description="For the model 'pls': each ion gets its own number up to this."
    )
    n_landmarks: int = Field(
        1000, ge=10, le=20_000, title="Landmarks", description="For 'kernel_ridge': training spots to compare with."
    )
    tree_components: int = Field(
        20, ge=1, title="Directions of ions", description="For 'trees': they learn so many directions that ions share."
    )
    tree_depth: int = Field(4, ge=1, le=12, title="Depth of trees", description="For 'trees': questions in a row.")
    tree_rate: float = Field(
        0.15, gt=0, le=1, title="Rate of trees", description="For 'trees': how much of each new tree is added."
    )
    rounds: int = Field(
        200, ge=1, le=100_000, title="Rounds", description="For 'trees': at most so many trees for each direction."
    )
    stack_mlp: bool = Field(
        True,
        title="Stack a network",
        description="For 'stack': beside ridge and kernel ridge a multilayer perceptron on the spot's own genes.",
    )
    stack_trees: bool = Field(
        False, title="Stack trees", description="For 'stack': boosted trees, too. Slow, and rarely worth it."
    )
    ensemble: int = Field(
        3,
        ge=1,
        le=5,
        title="Networks",
        description="For networks and 'trees': averaged; each stops by other blocks of tissue. "
        "In two stages, a stack or trees at least two.",
    )
    attend: Literal["genes", "pathways"] = Field(
        "genes",
        title="Attend to",
        description="For 'transformer' and 'linear_transformer': genes, chosen as genes are, or the means of pathways.",
    )
    n_tokens: int = Field(
        128, ge=1, le=2048, title="Tokens", description="For transformers: at most so many genes or pathways."
    )
    heads: int = Field(2, ge=1, le=16, title="Heads", description="For 'transformer': attention maps side by side.")
    head_width: int = Field(16, ge=1, le=256, title="Width of a head", description="For transformers: its units.")
    layers: int = Field(1, ge=1, le=12, title="Layers", description="For transformers: how often ions read genes.")
    width: int = Field(256, ge=1, le=8192, title="Width", description="For networks: units of a hidden layer.")
    depth: int = Field(
        2,
        ge=0,
        le=20,
        title="Depth",
        description="For networks: how many blocks; for 'gcn', 'graphsage' and 'gat' how many steps to neighbours.",
    )
    dropout: float = Field(
        0.2, ge=0, lt=1, title="Dropout", description="For networks: share of hidden units left out at each step."
    )
    section_covariate: bool = Field(
        False,
        title="Section as input",
        description="For networks: learn how each training section is shifted; a new section is taken as unshifted.",
    )
    n_latent: int = Field(
        16, ge=1, le=512, title="Latent variables", description="For 'cvae': what ions share beyond the genes."
    )
    n_draws: int = Field(
        64, ge=2, le=4096, title="Draws", description="For 'cvae': how many a prediction averages, always the same."
    )
