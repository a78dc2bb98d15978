import sys

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.stats import ttest_ind

from napari_st2msi.errors import DataProblem, FileProblem, ModelProblem
from napari_st2msi.features.clusters import found_clusters
from napari_st2msi.features.design import OWN, SIGNATURE, Design
from napari_st2msi.features.signatures import Signatures, read_signatures, welch_t
from napari_st2msi.recipe import Genes


def zoned(n_side=18, seed=0, section="s0"):
    """Return spots in three stripes, each with ten genes of its own among forty."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(n_side), np.arange(n_side))
    zone = (3 * x.ravel()) // n_side
    mean = np.full((n_side**2, 40), 5.0)
    for number in range(3):
        mean[np.ix_(zone == number, np.arange(10 * number, 10 * number + 10))] = 12.0
    table = AnnData(rng.poisson(mean).astype(np.float32))
    table.obs_names = [f"{section}_{number}" for number in range(n_side**2)]
    table.var_names = [f"g{number}" for number in range(40)]
    table.obs["zone"] = [f"zone{number}" for number in zone]
    table.obs["section"] = section
    table.obsm["spatial"] = np.column_stack([x.ravel(), y.ravel()]) * 100.0
    return table


DATA = zoned()
ZONES = DATA.obs["zone"].to_numpy()
OF_ZONE = {f"zone{number}": {f"g{gene}" for gene in range(10 * number, 10 * number + 10)} for number in range(3)}


def test_told_clusters_have_the_genes_that_stand_out_there():
    fitted = Signatures(Genes(clusters="zone", signature_genes=10)).fit(DATA)
    assert {name: set(genes) for name, genes in fitted.signatures_.items()} == OF_ZONE
    assert (np.array(fitted.clusters_)[fitted.assign(DATA)] == ZONES).mean() > 0.95


@pytest.mark.parametrize("log1p", [True, False])
def test_found_clusters_are_the_zones(log1p):
    fitted = Signatures(Genes(n_clusters=3, signature_genes=10, log1p=log1p)).fit(DATA)
    table = pd.crosstab(fitted.assign(DATA), ZONES).to_numpy()
    assert table.max(axis=1).sum() / table.sum() > 0.95
    assert sorted(map(sorted, fitted.signatures_.values())) == sorted(map(sorted, OF_ZONE.values()))


def test_a_new_section_is_assigned_and_nothing_is_fitted_there():
    fitted = Signatures(Genes(clusters="zone")).fit(DATA)
    other = zoned(seed=5, section="s1")
    zones = other.obs["zone"].to_numpy()
    before = fitted.state()[1]["means"].copy()
    del other.obs["zone"]
    assert (np.array(fitted.clusters_)[fitted.assign(other)] == zones).mean() > 0.95
    assert (fitted.means_ == before).all()
    one = other[zones == "zone1"].copy()
    alone = np.array(fitted.clusters_)[fitted.assign(one)]
    assert (alone == "zone1").mean() > 0.95, "a part is assigned as in the whole, not split in three anew"


def test_mask_is_one_for_the_genes_of_the_spots_cluster():
    fitted = Signatures(Genes(clusters="zone", signature_genes=10)).fit(DATA)
    names = ["g25", "g1", "g39", "unheard of"]
    mask = fitted.mask(DATA, names)
    which = np.array(fitted.clusters_)[fitted.assign(DATA)]
    assert mask.dtype == np.float32
    np.testing.assert_array_equal(mask[:, 0], which == "zone2")
    np.testing.assert_array_equal(mask[:, 1], which == "zone0")
    assert not mask[:, 2:].any()


def test_held_out_genes_do_not_change_a_signature():
    left = DATA.obsm["spatial"][:, 1] < 900
    train = DATA[left].copy()
    first = Signatures(Genes(clusters="zone")).fit(train, context=DATA)
    changed = DATA.copy()
    changed.X[~left] = changed.X[~left][:, ::-1]
    second = Signatures(Genes(clusters="zone")).fit(train, context=changed)
    assert first.signatures_ == second.signatures_


@pytest.mark.parametrize("how", [{"clusters": "zone"}, {"n_clusters": 3}])
def test_order_of_spots_does_not_matter(how):
    order = np.random.default_rng(3).permutation(DATA.n_obs)
    a, b = Signatures(Genes(**how)).fit(DATA), Signatures(Genes(**how)).fit(DATA[order].copy())
    assert sorted(map(sorted, a.signatures_.values())) == sorted(map(sorted, b.signatures_.values()))
    assert (a.mask(DATA, ["g1", "g15"]) == b.mask(DATA, ["g1", "g15"])).all()


def test_state_comes_back():
    fitted = Signatures(Genes(n_clusters=3)).fit(DATA)
    facts, arrays = fitted.state()
    again = Signatures().restore(facts, arrays)
    assert again.signatures_ == fitted.signatures_
    assert (again.mask(DATA, ["g1", "g22"]) == fitted.mask(DATA, ["g1", "g22"])).all()
    with pytest.raises(ModelProblem, match="clusters do not fit"):
        Signatures().restore(facts, arrays | {"means": arrays["means"][1:]})


def test_t_is_that_of_scipy():
    rng = np.random.default_rng(0)
    values, which = rng.normal(size=(60, 4)) * [1, 2, 3, 0], rng.integers(0, 3, 60)
    member = np.eye(3)[which]
    expected = np.stack(
        [ttest_ind(values[which == k], values[which != k], equal_var=False).statistic for k in range(3)]
    )
    np.testing.assert_allclose(welch_t(values, member)[:, :3], expected[:, :3], rtol=1e-10)
    assert (welch_t(values, member)[:, 3] == 0).all()


def test_noise_has_no_signature():
    table = zoned()
    table.X = np.random.default_rng(1).poisson(5, table.shape).astype(np.float32)
    fitted = Signatures(Genes(clusters="zone")).fit(table)
    assert sum(map(len, fitted.signatures_.values())) <= 2
    one = zoned()
    one.obs["zone"] = "all the same"
    assert Signatures(Genes(clusters="zone")).fit(one).signatures_ == {"all the same": []}
    with pytest.raises(ModelProblem, match="No gene stands out"):
        Design(Genes(selection="signature", clusters="zone")).fit(one)


def test_few_spots():
    few = DATA[:12].copy()
    fitted = Signatures().fit(few)
    assert fitted.clusters_ == ["0"]
    assert fitted.mask(DATA[[0]].copy(), ["g1"]).shape == (1, 1)


def test_spots_that_do_not_differ_are_one_cluster():
    for method in ("kmeans", "leiden"):
        assert not found_clusters(np.zeros((40, 0)), method, 2).any()
        assert not found_clusters(np.ones((40, 3)), method, 2).any()


def test_design_selects_signature_genes_and_adds_the_mask():
    choices = {"selection": "signature", "clusters": "zone", "n_top": 12, "signature_genes": 10}
    choices |= {"signature_mask": "yes", "reduction": "none", "neighbourhood": "none"}
    design = Design(Genes.model_validate(choices)).fit(DATA)
    assert len(design.genes_.names_) == 12
    assert all(len(set(design.genes_.names_) & genes) == 4 for genes in OF_ZONE.values())
    assert design.widths_ == {OWN: 12, SIGNATURE: 12}
    features = design.transform(DATA)
    expected = design.signatures_.mask(DATA, design.genes_.names_)
    assert (features[:, design.bands[SIGNATURE]] == expected).all()
    assert (Design().restore(*design.state()).transform(DATA) == features).all()


def test_design_says_which_cluster_where_genes_are_reduced():
    design = Design(Genes(signature_mask="yes", clusters="zone", n_components=5)).fit(DATA)
    band = design.transform(DATA)[:, design.bands[SIGNATURE]]
    assert band.shape == (DATA.n_obs, 3)
    assert (band.sum(axis=1) == 1).all()


def write(folder, text):
    path = folder / "signatures.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_signatures_of_the_user_with_clusters_in_obs(tmp_path):
    path = write(tmp_path, "Cluster,Gene,p\nzone1,g3,1\nzone1,g4,1\nzone2,g5,1\n")
    fitted = Signatures(Genes(clusters="zone", signature_file=path)).fit(DATA)
    assert fitted.signatures_ == {"zone0": [], "zone1": ["g3", "g4"], "zone2": ["g5"]}


def test_signatures_of_the_user_find_their_clusters(tmp_path):
    lines = [f"{zone};{gene}" for zone, genes in OF_ZONE.items() for gene in sorted(genes)]
    path = write(tmp_path, "\n".join(["cluster;gene", *lines]))
    fitted = Signatures(Genes(signature_file=path)).fit(DATA)
    assert (np.array(fitted.clusters_)[fitted.assign(DATA)] == ZONES).mean() > 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene,zone\na,b\n", "no column 'cluster', only 'gene', 'zone'"),
        ("cluster,gene\n,g1\nzone1,\n", "name no gene"),
        ("", "cannot be read"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path, text, message):
    with pytest.raises(FileProblem, match=message):
        read_signatures(write(tmp_path, text))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(FileProblem, match="cannot be read"):
        read_signatures(tmp_path / "missing.csv")


def test_signatures_that_do_not_fit_say_so(tmp_path):
    path = write(tmp_path, "cluster,gene\ncortex,ENSG1\n")
    with pytest.raises(ModelProblem, match=r"clusters like 'cortex'.*'zone2'"):
        Signatures(Genes(clusters="zone", signature_file=path)).fit(DATA)
    with pytest.raises(ModelProblem, match="None of the signature genes of 'cortex'"):
        Signatures(Genes(signature_file=path)).fit(DATA)


def test_a_column_that_is_not_there_or_empty():
    with pytest.raises(DataProblem, match=r"no column 'region'.*'zone'"):
        Signatures(Genes(clusters="region")).fit(DATA)
    table = DATA.copy()
    table.obs["zone"] = np.nan
    with pytest.raises(DataProblem, match="no training spot a cluster"):
        Signatures(Genes(clusters="zone")).fit(table)


def test_spots_without_a_label_are_assigned_too():
    table = DATA.copy()
    table.obs["zone"] = table.obs["zone"].where(np.arange(table.n_obs) % 3 > 0)
    fitted = Signatures(Genes(clusters="zone")).fit(table)
    assert fitted.clusters_ == ["zone0", "zone1", "zone2"]
    assert (np.array(fitted.clusters_)[fitted.assign(DATA)] == ZONES).mean() > 0.95


def test_leiden_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(ModelProblem, match=r"licence \(GPL\).*pip install igraph"):
        found_clusters(np.eye(30), "leiden", 3)


def test_leiden_where_igraph_is_there():
    pytest.importorskip("igraph", reason="igraph is GPL and not among what tests install")
    place = np.repeat(np.eye(3) * 10, 30, axis=0) + np.random.default_rng(0).normal(size=(90, 3))
    found = found_clusters(place, "leiden", 99)
    assert len(set(found[:30])) <= 3
    assert not set(found[:30]) & set(found[30:])
    assert (found == found_clusters(place, "leiden", 99)).all()
