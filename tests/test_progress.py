"""Progress of a part is progress of the whole, with words that say what it is of."""

from napari_st2msi.progress import Progress


def test_the_words_of_a_part_begin_with_its_name() -> None:
    seen: list[tuple[float, str]] = []
    fold = Progress(lambda fraction, message: seen.append((fraction, message))).part(0.5, 1.0).named("fold 2")
    fold(0.0)
    fold.part(0.0, 0.5).named("ridge")(1.0, "fitted")
    assert seen == [(0.5, "fold 2"), (0.75, "fold 2: ridge: fitted")]
    Progress().named("nobody")(0.5, "listens")
