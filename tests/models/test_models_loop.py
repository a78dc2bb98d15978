"""The loop that trains all networks: the same twice, broken off or not, and honest when it cannot."""

import errno
import json
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from napari_st2msi.errors import FileProblem, ModelProblem
from napari_st2msi.models.deep import checkpoint, device, loop
from napari_st2msi.models.deep.device import found
from napari_st2msi.models.deep.loop import Schedule, seeded, train
from napari_st2msi.progress import Cancelled, Progress

N, FIT, HELD = 120, np.arange(0, 90), np.arange(90, 120)
CPU = Schedule(epochs=6, patience=6, batch=32, learning_rate=0.02, device="cpu", threads=1)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 2))

    def forward(self, x):
        return self.body(x)


def network(seed=0):
    with seeded(seed):
        return Small()


def spots(noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 4))
    y = x[:, :2] * [1, -2] + noise * rng.normal(size=(N, 2))
    return {"features": torch.from_numpy(x.astype("f")), "intensity": torch.from_numpy(y.astype("f"))}


def squared(network, data, rows):
    return ((network(data["features"][rows]) - data["intensity"][rows]) ** 2).mean()


def kept(folder):
    """The one checkpoint in a folder."""
    (file,) = folder.iterdir()
    return file


def trained(schedule=CPU, data=None, net=None, loss=squared, **more):
    return train(net or network(), data or spots(), loss, FIT, HELD, schedule, **more)


def weights(done):
    return {name: value.numpy().tobytes() for name, value in done.network.state_dict().items()}


def curve(done):
    return [(epoch.number, epoch.training, epoch.validation, epoch.rate) for epoch in done.epochs]


def test_it_learns_and_gives_back_the_best_epoch():
    done = trained(Schedule(epochs=60, patience=60, batch=16, learning_rate=0.02, device="cpu"))
    losses = [epoch.validation for epoch in done.epochs]
    assert losses[0] > 5 * min(losses)
    assert done.best == 1 + int(np.argmin(losses))
    assert done.stopped == "finished"
    assert done.device == "cpu"
    assert not done.network.training
    with torch.no_grad():
        assert float(squared(done.network, spots(), torch.from_numpy(HELD))) == pytest.approx(min(losses), rel=1e-5)


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before():
    first = trained()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    second = trained()
    assert (torch.get_rng_state() == before).all()
    assert weights(first) == weights(second)
    assert curve(first) == curve(second)
    other = trained(Schedule(**{**vars(CPU), "seed": 1}))
    assert weights(first) != weights(other)


def test_it_stops_early_when_nothing_improves():
    data = spots()
    rng = np.random.default_rng(1)
    data["intensity"] = torch.from_numpy(rng.normal(size=(N, 2)).astype("f"))
    done = trained(Schedule(epochs=500, patience=5, batch=16, learning_rate=0.05, device="cpu"), data)
    assert done.stopped == "early"
    assert len(done.epochs) == done.best + 5


class Killed(BaseException):
    """As if the computer went off."""


@pytest.mark.parametrize("last", [1, 2, 3, 4, 5])
def test_a_training_killed_after_any_epoch_goes_on_to_the_same_weights(tmp_path, last):
    folder = tmp_path / "runs"

    def kill(epoch):
        if epoch.number == last:
            raise Killed

    with pytest.raises(Killed):
        trained(checkpoints=folder, told=kill)
    told = []
    done = trained(checkpoints=folder, told=told.append)
    assert [epoch.number for epoch in told] == list(range(last + 1, 7))
    whole = trained()
    assert weights(done) == weights(whole)
    assert curve(done) == curve(whole)
    assert kept(folder).name.startswith("network-")


def test_a_training_killed_in_the_middle_of_an_epoch_goes_on_to_the_same_weights(tmp_path):
    steps = []

    def dying(network, data, rows):
        steps.append(len(rows))
        if len(steps) == 10:
            raise Killed
        return squared(network, data, rows)

    with pytest.raises(Killed):
        trained(checkpoints=tmp_path, loss=dying)
    assert kept(tmp_path)
    assert weights(trained(checkpoints=tmp_path)) == weights(trained())


def test_a_finished_training_is_not_trained_again(tmp_path):
    told = []
    done = trained(checkpoints=tmp_path)
    again = trained(checkpoints=tmp_path, told=told.append)
    assert told == []
    assert weights(again) == weights(done)
    assert again.stopped == "finished"


@pytest.mark.parametrize("change", ["data", "seed", "network", "rows"])
def test_another_training_has_another_checkpoint(tmp_path, change):
    trained(checkpoints=tmp_path)
    content = kept(tmp_path).read_bytes()
    first, data, schedule, net, held = kept(tmp_path), spots(), CPU, network(), HELD
    if change == "data":
        data["features"][5, 1] += 1
    elif change == "seed":
        schedule = Schedule(**{**vars(CPU), "seed": 4})
    elif change == "network":
        net = network(7)
    else:
        held = HELD[1:]
    done = train(net, data, squared, FIT, held, schedule, checkpoints=tmp_path)
    assert len(done.epochs) == 6
    assert len(list(tmp_path.iterdir())) == 2
    assert first.read_bytes() == content


def test_a_checkpoint_put_in_the_place_of_another_is_refused(tmp_path):
    trained(checkpoints=tmp_path)
    first = kept(tmp_path)
    train(network(7), spots(), squared, FIT, HELD, CPU, checkpoints=tmp_path)
    (other,) = set(tmp_path.iterdir()) - {first}
    other.replace(first)
    with pytest.raises(FileProblem, match="belongs to another training"):
        trained(checkpoints=tmp_path)


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "other"])
def test_a_damaged_checkpoint_is_refused_in_words(tmp_path, damage):
    trained(checkpoints=tmp_path)
    file = kept(tmp_path)
    content = file.read_bytes()
    file.write_bytes({"cut": content[: len(content) // 2], "text": b"not this", "empty": b"", "other": content}[damage])
    if damage == "other":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(FileProblem, match="Delete it"):
        trained(checkpoints=tmp_path)


@pytest.mark.parametrize("lost", ["network.body.0.weight", "optimiser.0.exp_avg", "best.body.3.bias"])
def test_a_checkpoint_that_lost_something_is_refused(tmp_path, lost):
    trained(checkpoints=tmp_path)
    file = kept(tmp_path)
    facts, tensors = checkpoint.read_checkpoint(file)
    names = sorted(tensors)
    del tensors[lost]
    checkpoint.write_checkpoint(file, facts | {"tensors": names}, tensors)
    with pytest.raises(FileProblem, match="damaged"):
        trained(checkpoints=tmp_path)


def test_a_checkpoint_holds_nothing_that_could_run(tmp_path):
    trained(checkpoints=tmp_path)
    file = kept(tmp_path)
    length = int.from_bytes(file.read_bytes()[:8], "little")
    header = json.loads(file.read_bytes()[8 : 8 + length])
    assert json.loads(header["__metadata__"]["st2msi"])["format"] == "napari-st2msi checkpoint 1"


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    trained(Schedule(**{**vars(CPU), "epochs": 2}), checkpoints=tmp_path)
    file = kept(tmp_path)
    content = file.read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half a fi")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    facts, tensors = {"training": "x"}, {"a": torch.zeros(3)}
    with pytest.raises(FileProblem, match=r"cannot be written: .*No space left"):
        checkpoint.write_checkpoint(file, facts, tensors)
    assert kept(tmp_path) == file
    assert file.read_bytes() == content


def test_two_processes_may_write_the_same_checkpoint(tmp_path, monkeypatch):
    file, tensors = tmp_path / "same.safetensors", {"a": torch.zeros(3)}
    save = save_file

    def overtaken(*given, **rest):
        save(*given, **rest)
        monkeypatch.setattr("safetensors.torch.save_file", save)
        monkeypatch.setattr("os.getpid", lambda: -1)
        checkpoint.write_checkpoint(file, {"by": "other"}, tensors)

    monkeypatch.setattr("safetensors.torch.save_file", overtaken)
    checkpoint.write_checkpoint(file, {"by": "this"}, tensors)
    assert checkpoint.read_checkpoint(file)[0]["by"] == "this"
    assert list(tmp_path.iterdir()) == [file]


def test_a_checkpoint_where_nothing_can_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileProblem, match="cannot be written"):
        trained(checkpoints=tmp_path / "file")


def test_cancelled_before_the_first_epoch():
    with pytest.raises(Cancelled):
        trained(cancelled=lambda: True)


def test_cancelled_between_epochs_begins_no_other_and_gives_the_best():
    stop = threading.Event()

    def told(epoch):
        if epoch.number == 3:
            stop.set()

    done = trained(Schedule(**{**vars(CPU), "epochs": 10_000, "patience": 10_000}), told=told, cancelled=stop.is_set)
    assert done.stopped == "cancelled"
    assert len(done.epochs) == 3
    with torch.no_grad():
        best = float(squared(done.network, spots(), torch.from_numpy(HELD)))
    assert best == pytest.approx(done.epochs[done.best - 1].validation, rel=1e-5)


def test_cancelled_within_an_epoch_takes_no_further_minibatch():
    stop, steps = threading.Event(), []

    def counted(network, data, rows):
        if network.training:
            steps.append(len(rows))
            if len(steps) == in_two_epochs + 2:
                stop.set()
        return squared(network, data, rows)

    schedule = Schedule(**{**vars(CPU), "batch": 16})
    in_two_epochs = 2 * round(len(FIT) / schedule.batch)
    done = trained(schedule, loss=counted, cancelled=stop.is_set)
    assert done.stopped == "cancelled"
    assert len(done.epochs) == 2
    assert len(steps) == in_two_epochs + 2


def test_a_loss_that_is_no_number_says_what_to_do():
    with pytest.raises(ModelProblem, match=r"no longer a number in epoch 1\. Choose a lower learning rate"):
        trained(loss=lambda network, data, rows: squared(network, data, rows) * float("nan"))


def test_gradients_are_clipped(monkeypatch):
    norms = []

    def steep(network, data, rows):
        return 1e6 * squared(network, data, rows)

    step = torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        gradients = [weight.grad for group in self.param_groups for weight in group["params"]]
        norms.append(float(torch.cat([gradient.ravel() for gradient in gradients]).norm()))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    trained(Schedule(**{**vars(CPU), "epochs": 2, "clip": 0.5}), loss=steep)
    assert norms
    assert max(norms) <= 0.5 + 1e-4
    assert min(norms) > 0.4


def test_progress_and_rate_rise_and_fall():
    seen = []
    done = trained(progress=Progress(lambda fraction, message: seen.append((fraction, message))))
    assert [fraction for fraction, _ in seen] == [number / 6 for number in range(1, 7)]
    assert seen[-1][1].startswith("epoch 6, loss ")
    rates = [CPU.rate(epoch / 10) for epoch in range(61)]
    assert max(rates) <= CPU.learning_rate
    assert rates[0] < rates[20] > rates[-1] > 0
    assert done.epochs[-1].rate < done.epochs[2].rate


@pytest.mark.parametrize(("fit", "held"), [(FIT[:0], HELD), (FIT, HELD[:0])])
def test_no_spots(fit, held):
    with pytest.raises(ModelProblem, match="needs spots to learn from"):
        train(network(), spots(), squared, fit, held, CPU)


def test_one_spot_each():
    done = train(network(), spots(), squared, FIT[:1], HELD[:1], CPU)
    assert len(done.epochs) >= 1


@pytest.mark.parametrize(("name", "kind"), [("cuda", "NVIDIA GPU"), ("mps", "Apple GPU")])
def test_a_device_that_is_not_there_is_named(monkeypatch, name, kind):
    monkeypatch.setattr(device, "there_is", lambda asked: asked == "cpu")
    with pytest.raises(ModelProblem, match=rf"finds no {kind} .* Choose the device 'auto' or 'cpu'"):
        trained(Schedule(device=name))
    assert found("auto") == "cpu"
    monkeypatch.setattr(device, "there_is", lambda asked: True)
    assert found("auto") == "cuda"


def test_several_gpus_are_refused_where_there_are_fewer(monkeypatch):
    with pytest.raises(ModelProblem, match="2 NVIDIA GPUs were asked for, and torch finds 0"):
        trained(Schedule(device="cpu", devices=2))
    monkeypatch.setattr(device, "there_is", lambda asked: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ModelProblem, match="4 NVIDIA GPUs were asked for, and torch finds 1"):
        device.fabric("cuda", devices=4)


def test_several_gpus_share_minibatches_from_one_process(monkeypatch):
    asked = {}
    monkeypatch.setattr(device, "there_is", lambda asked: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr("lightning_fabric.Fabric", lambda **choices: asked.update(choices))
    device.fabric("cuda", devices=4)
    assert asked == {"accelerator": "cuda", "devices": 4, "strategy": "dp", "precision": "32-true"}
    device.fabric("cuda")
    assert (asked["devices"], asked["strategy"]) == (1, "auto")


def test_mixed_precision_on_the_cpu_is_full():
    assert weights(trained(Schedule(**{**vars(CPU), "precision": "mixed"}))) == weights(trained())


def test_threads_are_given_back():
    before = torch.get_num_threads()
    counts = []

    def counting(network, data, rows):
        counts.append(torch.get_num_threads())
        return squared(network, data, rows)

    trained(loss=counting)
    assert set(counts) == {1}
    assert torch.get_num_threads() == before
    assert loop.Schedule().threads is None


def test_a_file_that_cannot_be_written_in_the_middle_leaves_nothing(tmp_path):
    """The real writer, on a file system that takes no more than a few bytes of a file."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(FileProblem, match="cannot be written"):
            checkpoint.write_checkpoint(tmp_path / "one.safetensors", {}, {"a": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
