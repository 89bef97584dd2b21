"""What a command says as it goes."""

from typing import Any

import pytest
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from ncl_lightning.progress import Bar


def test_the_bar_waits_for_the_device_after_every_twentieth_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, module = Trainer(logger=False, accelerator="cpu"), LightningModule()
    asked = []

    def ask(*_: Any) -> dict[str, Any]:
        asked.append(len(asked))
        return {"loss": asked[-1], "v_num": 7}

    shown = []
    monkeypatch.setattr(RichProgressBar, "get_metrics", ask)
    monkeypatch.setattr(
        RichProgressBar, "on_train_batch_end", lambda bar, *_: shown.append(bar.get_metrics(trainer, module))
    )
    bar = Bar()
    for step in range(41):
        bar.on_train_batch_end(trainer, module, None, None, step)
    assert shown == [{"loss": step // 20} for step in range(41)]
    # after a validation it is asked anew
    assert bar.get_metrics(trainer, module) == {"loss": 3}
