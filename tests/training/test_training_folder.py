import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from napari_st2msi.errors import DataProblem, FileProblem, ModelProblem
from napari_st2msi.evaluation.evaluate import cross_validate
from napari_st2msi.models.registry import BASELINES
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Recipe
from napari_st2msi.training.description import DESCRIPTION, TENSORS
from napari_st2msi.training.fit import fit_model
from napari_st2msi.training.folder import CARD, load, save
from planted import planted

DATA = planted(n_side=12)


@pytest.fixture(scope="module")
def model():
    return fit_model(DATA, evaluation=cross_validate(DATA))


@pytest.fixture
def folder(model, tmp_path):
    return model.save(tmp_path / "model")


def edited(folder, **changes):
    path = folder / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", ["two_stage", *BASELINES])
def test_loaded_model_predicts_the_same(name, tmp_path):
    model = fit_model(DATA, Recipe.model_validate({"model": {"name": name}}))
    again = load(model.save(tmp_path / name))
    a, b = model.predict(DATA.genes), again.predict(DATA.genes)
    assert (a.X == b.X).all()
    assert again.recipe == model.recipe
    assert again.fingerprint == model.fingerprint
    assert again.n_spots == len(DATA)
    assert again.scores is None


def test_scores_travel_with_the_model(model, folder):
    again = load(folder)
    for name in model.scores:
        left, right = again.scores[name].to_numpy(), model.scores[name].to_numpy()
        assert all(a == b or (a != a and b != b) for a, b in zip(left, right, strict=True))
    assert again.summary == model.summary
    assert list(again.predict(DATA.genes).var["verdict"]) == list(model.scores.verdict)
    assert sorted(path.name for path in folder.iterdir()) == [CARD, DESCRIPTION, TENSORS]


def test_spots_of_training_are_known_again(model):
    genes = DATA.genes.copy()
    assert model.predict(genes).uns["provenance"]["kind"] == "in_sample"
    genes.obs_names = [f"other:{name}" for name in genes.obs_names]
    genes.obs["section"] = "renamed"
    assert model.predict(genes[:, ::-1].copy()).uns["provenance"]["kind"] == "in_sample"
    new = planted(n_side=12, seed=9).genes
    predicted = model.predict(new)
    assert predicted.uns["provenance"]["kind"] == "new_section"
    assert not predicted.obs["in_training"].any()
    assert predicted.uns["provenance"]["share_genes_matched"] == 1


def test_uncovered_spots_do_not_train_but_are_predicted():
    data = planted(n_side=12)
    data.ions.X[:20] = np.nan
    model = fit_model(data)
    predicted = model.predict(data.genes)
    assert model.n_spots == len(data) - 20
    assert list(np.flatnonzero(~predicted.obs["in_training"])) == list(range(20))
    assert predicted.uns["provenance"]["share_in_training"] == pytest.approx(124 / 144)


def test_prediction_survives_being_written(model, tmp_path):
    import anndata

    predicted = model.predict(DATA.genes)
    predicted.write_h5ad(tmp_path / "p.h5ad")
    np.testing.assert_allclose(anndata.read_h5ad(tmp_path / "p.h5ad").X, predicted.X)


def test_bad_queries(model):
    with pytest.raises(DataProblem, match="no spots"):
        model.predict(DATA.genes[:0].copy())
    genes = DATA.genes.copy()
    del genes.obsm["spatial"]
    with pytest.raises(DataProblem, match="no positions"):
        model.predict(genes)
    genes.obsm["spatial"] = DATA.genes.obsm["spatial"][:, :1]
    with pytest.raises(DataProblem, match="no positions"):
        model.predict(genes)
    stranger = DATA.genes.copy()
    stranger.var_names = [f"x{number}" for number in range(stranger.n_vars)]
    with pytest.raises(ModelProblem, match="Only 0%"):
        model.predict(stranger)


def test_cancel_and_nothing_to_learn_from():
    with pytest.raises(Cancelled):
        fit_model(DATA, cancelled=lambda: True)
    empty = PairedDataset(DATA.genes, DATA.ions.copy())
    empty.ions.X[:] = np.nan
    with pytest.raises(DataProblem, match="No spot has measured ions"):
        fit_model(empty)


def test_saving_again_replaces_the_old_model_whole(model, folder):
    other = fit_model(DATA, Recipe.model_validate({"model": {"name": "mean"}}))
    save(other, folder)
    assert load(folder).predictor.name == "mean"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_folder_with_something_else_is_not_touched(model, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("words")
    with pytest.raises(FileProblem, match="not a model"):
        model.save(tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_failing_to_write_leaves_the_old_model(model, folder, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("no space left")

    before = (folder / TENSORS).read_bytes()
    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(FileProblem, match="no space left"):
        model.save(folder)
    assert (folder / TENSORS).read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_unwritable_place(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileProblem, match="cannot be written"):
        model.save(tmp_path / "file" / "model")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"version": 1}, ModelProblem, "format version 1"),
        ({"format": "something"}, FileProblem, "does not describe a model"),
        ({"model": "magic"}, ModelProblem, "no model 'magic'"),
        ({"model": "position"}, ModelProblem, "do not fit together"),
        ({"tensors": "../../etc/passwd"}, FileProblem, "damaged at 'tensors'"),
        ({"recipe": {"nonsense": 1}}, ModelProblem, "do not fit together"),
        ({"facts": {}}, ModelProblem, "do not fit together"),
        ({"n_spots": -1}, FileProblem, "damaged at 'n_spots'"),
        ({"arrays": {}}, ModelProblem, "other arrays"),
    ],
)
def test_changed_descriptions_are_refused(folder, changes, error, words):
    edited(folder, **changes)
    with pytest.raises(error, match=words):
        load(folder)


def test_changed_arrays_are_refused(folder):
    tensors = load_file(folder / TENSORS)
    tensors["intensity.slope"] = tensors["intensity.slope"][:-1]
    save_file(tensors, folder / TENSORS)
    with pytest.raises(ModelProblem, match=r"intensity\.slope.*damaged"):
        load(folder)
    description = json.loads((folder / DESCRIPTION).read_text())
    description["arrays"]["intensity.slope"][1] = list(tensors["intensity.slope"].shape)
    edited(folder, **description)
    with pytest.raises(ModelProblem, match="weights have shape"):
        load(folder)


def test_missing_weights_are_refused(folder):
    tensors = load_file(folder / TENSORS)
    tensors["intensity.slope"][0, 0] = np.nan
    save_file(tensors, folder / TENSORS)
    with pytest.raises(ModelProblem, match="missing values"):
        load(folder)


def test_broken_files_are_refused(folder, tmp_path):
    with pytest.raises(FileProblem, match="no model folder"):
        load(tmp_path / "nowhere")
    whole = (folder / DESCRIPTION).read_text()
    for text in ("{", "[1, 2]", "\x00"):
        (folder / DESCRIPTION).write_text(text)
        with pytest.raises(FileProblem):
            load(folder)
    (folder / DESCRIPTION).write_text(whole)
    (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:100])
    with pytest.raises(FileProblem, match="cannot be read"):
        load(folder)
    (folder / TENSORS).unlink()
    with pytest.raises(FileProblem, match="is missing"):
        load(folder)


def test_links_out_of_the_folder_are_refused(folder, tmp_path):
    (folder / TENSORS).rename(tmp_path / "elsewhere")
    (folder / TENSORS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileProblem, match="is a link"):
        load(folder)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"n_spots": 144', '"n_spots": NaN', "NaN is no number"),
        ('"n_spots": 144', '"n_spots": 144, "n_spots": 1', "occurs twice"),
        ('"n_spots": 144', '"n_spots": ' + "[" * 100_000, "cannot be read"),
        ('"n_spots": 144', '"n_spots": ' + "9" * 10_000, "cannot be read"),
        ('"no_intervals": ""', '"no_intervals": ["a"]', "damaged at 'no_intervals'"),
    ],
)
def test_descriptions_that_are_traps_are_refused(folder, before, after, words):
    path = folder / DESCRIPTION
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(FileProblem, match=words):
        load(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("facts", "ions", "var", "index", 0), "another"),
        (("facts", "design", "genes", "names", 0), {"a": 1}),
        (("facts", "design", "widths", "own"), 10**12),
        (("facts", "ions", "reference"), []),
        (("intervals", "regions", "columns"), {}),
        (("intervals", "level"), "much"),
        (("familiarity", "genes", "names"), []),
        (("ions", "columns", "mz"), [1.0]),
    ],
)
def test_facts_that_do_not_fit_are_refused(folder, path, value):
    content = json.loads((folder / DESCRIPTION).read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (folder / DESCRIPTION).write_text(json.dumps(content))
    # Loaded, a gene by another name is only a gene that no query has.
    if path[-2:] == ("names", 0):
        assert load(folder).predict(DATA.genes).uns["provenance"]["share_genes_matched"] < 1
        return
    with pytest.raises(ModelProblem):
        load(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("shares.own", lambda values: values[:-1]),
        ("intervals.half", lambda values: values[:-1]),
        ("familiarity.deviation", lambda values: values[:-1]),
        ("familiarity.centre", lambda values: values * np.nan),
        ("design.reduction.directions", lambda values: values[:-1]),
        ("training_spots", lambda values: values.astype(np.int64)),
    ],
)
def test_arrays_of_another_shape_or_kind_are_refused(folder, name, change):
    tensors = load_file(folder / TENSORS)
    tensors[name] = np.ascontiguousarray(change(tensors[name]))
    save_file(tensors, folder / TENSORS)
    content = json.loads((folder / DESCRIPTION).read_text())
    content["arrays"][name] = [str(tensors[name].dtype), list(tensors[name].shape)]
    (folder / DESCRIPTION).write_text(json.dumps(content))
    with pytest.raises(ModelProblem):
        load(folder)


def test_a_file_larger_than_any_model_is_not_read(folder, monkeypatch):
    monkeypatch.setattr("napari_st2msi.training.description._MOST_TENSORS", 100)
    with pytest.raises(FileProblem, match="far larger than the weights"):
        load(folder)
    monkeypatch.setattr("napari_st2msi.training.description._MOST_JSON", 100)
    with pytest.raises(FileProblem, match="far larger than the description"):
        load(folder)


def test_a_header_that_claims_more_than_there_is_is_refused(folder):
    raw = (folder / TENSORS).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    first = next(name for name in header if name != "__metadata__")
    header[first]["shape"] = [2**40]
    text = json.dumps(header).encode()
    (folder / TENSORS).write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
    with pytest.raises(FileProblem, match="cannot be read"):
        load(folder)


def test_a_linked_description_is_refused(folder, tmp_path):
    (folder / DESCRIPTION).rename(tmp_path / "elsewhere.json")
    (folder / DESCRIPTION).symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(FileProblem, match="is a link"):
        load(folder)


def test_what_another_version_made_is_told(folder):
    content = json.loads((folder / DESCRIPTION).read_text())
    content["versions"]["napari-st2msi"] = "9.9"
    del content["facts"]["design"]
    (folder / DESCRIPTION).write_text(json.dumps(content))
    with pytest.raises(ModelProblem, match=r"made with napari-st2msi 9\.9 and this is"):
        load(folder)
    edited(folder, version=99)
    with pytest.raises(ModelProblem, match=r"format version 99.*\(9\.9\)"):
        load(folder)


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    model = fit_model(DATA, Recipe.model_validate({"model": {"name": "mean"}}))
    model.predictor.mean_[0] = np.nan
    with pytest.raises(ModelProblem, match="missing values"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_the_card_is_for_people_and_never_read(folder):
    before = load(folder).predict(DATA.genes).X
    (folder / CARD).write_text("anything")
    np.testing.assert_array_equal(load(folder).predict(DATA.genes).X, before)
    (folder / CARD).unlink()
    assert load(folder).n_spots == len(DATA)
