"""The trained model in the Train dock: load it, save it, predict with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.history import get_open_history, get_save_history, update_open_history
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import train_work
from napari_st2msi.viewer.docks.saving import say_saved
from napari_st2msi.viewer.jobs import Job
from napari_st2msi.viewer.parts.buttons import ButtonRow, flat
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.parts.words import Words

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.training.folder import TrainedModel


class ModelPart(QWidget):
    """Says which model there is, and reads, writes and uses it.

    Parameters
    ----------
    dock
        Its state, jobs and messages are used.

    Attributes
    ----------
    last
        The model trained or loaded last, None if there is none.
    """

    def __init__(self, dock: Dock) -> None:
        super().__init__()
        self._dock = dock
        self.last: TrainedModel | None = None
        self.label = Words()
        self.load_button = flat("Load…", "Load a model folder that was saved before")
        self.save_button = flat("Save…", "Write the model, its recipe and its scores as a folder")
        self.predict_button = flat("Predict", "Predict the ions of the section looked at with this model")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addWidget(self.label)
        layout.addWidget(ButtonRow(self.load_button, self.save_button, self.predict_button))
        self.load_button.clicked.connect(self.ask_which)
        self.save_button.clicked.connect(self.ask_where)
        self.predict_button.clicked.connect(self.predict)

    @property
    def model(self) -> TrainedModel | None:
        """The model of the section looked at, else the last one."""
        return self._dock.state.model or self.last

    def refresh(self) -> None:
        """Show which model there is."""
        self.label.setText("None yet." if self.model is None else f"{model_facts(self.model)}.")
        self.save_button.setEnabled(self.model is not None)

    # -- files ----------------------------------------------------------------------------------

    def ask_which(self) -> None:
        """Ask for a model folder, and load it."""
        folder = QFileDialog.getExistingDirectory(self, "Choose a model folder", get_open_history()[0])
        if folder:
            self.load(Path(folder))

    def load(self, folder: Path) -> None:
        """Load a model folder for the section looked at."""
        if not self._dock.busy():
            self._dock.run(Job("Loading", partial(train_work.load_model, folder)), partial(self._on_loaded, folder))

    def _on_loaded(self, folder: Path, model: TrainedModel) -> None:
        update_open_history(str(folder))
        self.last = model
        if self._dock.state.section is not None:
            self._dock.state.set_model(model)
        self._dock.messages.show_result(f"Loaded '{folder.name}': {model_facts(model)}.")

    def ask_where(self) -> None:
        """Ask for a folder, and write the model into it."""
        section = self._dock.state.section
        name = "model" if section is None else f"{section.name}-model"
        start = str(Path(get_save_history()[0]) / name)
        folder, _ = QFileDialog.getSaveFileName(
            self, "Save the model as a folder", start, options=QFileDialog.Option.DontConfirmOverwrite
        )
        if folder:
            self.save(Path(folder))

    def save(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write the model as a folder; an older model is replaced only when that was said."""
        if self.model is None or self._dock.busy():
            return
        if folder.exists() and not overwrite:
            again = partial(self.save, folder, overwrite=True)
            self._dock.messages.show_warning(f"'{folder.name}' is already there.", action=("Replace it", again))
            return
        call = partial(train_work.save_model, self.model, folder)
        self._dock.run(Job("Saving", call), partial(say_saved, self._dock.messages))

    # -- predicting -----------------------------------------------------------------------------

    def predict(self) -> None:
        """Predict the ions of the section looked at."""
        section, model = self._dock.state.section, self.model
        if section is None or model is None or self._dock.busy():
            return
        if not section.has_st:
            self._dock.messages.show_warning("Predicting needs gene expression, and this section has none.")
            return
        call = partial(train_work.predict, model, section)
        self._dock.run(Job("Predicting", call), partial(self._on_predicted, section))

    def _on_predicted(self, section: Section, prediction: AnnData) -> None:
        state = self._dock.state
        if section not in state.sections:
            return
        # Scores of another run would stand beside a prediction that they do not describe.
        state.set_evaluation(None, section)
        state.set_prediction(prediction, section)
        explore = ("Explore ions", partial(open_dock, self._dock.viewer, "Explore"))
        self._dock.messages.show_result(prediction_in_words(prediction), action=explore)


def model_facts(model: TrainedModel) -> str:
    """Return what a model is, in few words."""
    name = words_for(model.recipe.model.name).partition(" (")[0]
    return f"{name}, trained on {model.n_spots:,} spots, predicts {len(model.ions):,} ions"


def prediction_in_words(prediction: AnnData) -> str:
    """Return what was predicted, by how many of the genes, and what to make of it."""
    facts = prediction.uns["provenance"]
    text = f"Predicted {prediction.n_vars:,} ions of {prediction.n_obs:,} spots."
    if (share := facts.get("share_genes_matched")) is not None:
        text += f" {float(share):.0%} of the genes that the model uses were found."
    if facts.get("kind") == "in_sample":
        text += " The model was trained on these spots, so the picture flatters it."
    return text
