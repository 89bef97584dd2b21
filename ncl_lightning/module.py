"""NCLModule: the pivot network and the NCL loss in a thin Lightning shell."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from ncl_lightning.checkpoints import load_checkpoint, take_weights
from ncl_lightning.class_path import arguments_of, instantiate
from ncl_lightning.contracts import sound_output, sound_terms
from ncl_lightning.conventions import SCORED_AT_ORIGINAL
from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.datasets import Batch
from ncl_lightning.errors import InputError
from ncl_lightning.image_table import ImageTable, Means
from ncl_lightning.in_vain import refuse_late_validation, refuse_mistyped_monitors
from ncl_lightning.loss import Consistency, NCLLoss, Scope
from ncl_lightning.maps import Localized, finite, in_unit_range, localize, look_twice, to_original
from ncl_lightning.metrics import MEANS, ImageScores
from ncl_lightning.network import PivotNetwork
from ncl_lightning.patches import ContourRole
from ncl_lightning.resume import follow_the_folder, retune, where_it_stands


class NCLModule(LightningModule):
    """Non-mutually exclusive contrastive learning for image manipulation localization.

    The training code of NCL is not published; what the paper leaves open is our reading, and a parameter here.

    Args:
        encoder: Encoder of segmentation-models-pytorch, by name; or `traces`, our own small encoder for fine traces,
            used without a decoder (not the paper's).
        decoder: Decoder of segmentation-models-pytorch, by name.
        encoder_weights: Pre-trained weights of the encoder; null: random initialization, as the method intends.
        options: More arguments for segmentation-models-pytorch, such as `{encoder_depth: 4}`; for `traces`,
            `{width: 16, depth: 4, blocks: true}`.
        stride: Side of a patch in pixels.
        branch_channels: Channels of each branch's map.
        embedding_dim: Dimensions of a patch embedding.
        temperature: Temperature τ of the contrast.
        contour_role: What contour patches are: `switch` (the method: positives of tampered patches in one branch,
            of authentic ones in the other), `ignore` (neither), `tampered` or `authentic` (that, in both branches).
        consistency: Patches that pivot consistency holds together: `all`, `exclusive` (tampered and authentic)
            or `contour`.
        lambda_ncl: Weight of the contrast; with lambda_pc also 0, the plain arm.
        lambda_pc: Weight of pivot consistency.
        max_anchors: Most anchors of an image and branch in the contrast; 0: all of them.
        scope: Which patches are contrasted with each other: those of an `image` (our reading of the method), or of the
            whole `batch` (of each process): within an image, contents may tell the groups apart as well as traces do.
            Validation's `val/ncl` and `val/loss` are of each image by itself in any case.
        bce_weight: Weight of binary cross-entropy in the mask loss.
        dice_weight: Weight of the Dice loss in the mask loss.
        lr: Learning rate of the optimizer, AdamW, at its peak.
        weight_decay: Weight decay of the optimizer.
        warmup: Share of the training steps over which the learning rate rises; a cosine to 0 follows.
        threshold: Pixels with a probability above this are predicted as tampered.
        copies: In tests and predictions, look for what a picture holds twice, too (`ncl_lightning.copies`). Validation,
            which chooses checkpoints and the threshold of `f1_val`, looks at the network alone.
        own_cut: In tests and predictions, move each picture's map so that 0.5 lies where its F1 is expected to be best
            (`ncl_lightning.cut`). For networks whose values are probabilities, as after `export --calibration`.
        second_look: In tests and predictions, look at pictures whose longer side has that many pixels or more a second
            time, at half size, where what was saved coarsely or enlarged shows better; the logits count three to one.
        conventions: Score tests by these code bases' definitions, too: `benco` at network size, `mvss` and `trufor` at
            original size (`ncl_lightning.conventions`); `f1_benco` and so on in results.json.
        compile: Train with a compiled network (torch.compile; a CPU needs a C++ compiler for it): the first step takes
            a minute, the others less. Evaluation, whose pictures come in many sizes, goes without.
        mean: Per-channel RGB mean, of images in 0..1, subtracted before the network.
        std: Per-channel standard deviation that they are then divided by.
        warm_start: Checkpoint whose weights training starts from (weights only; to resume, use ckpt_path), of the
            same network, or of `traces` with less depth or without blocks; `shipped` is the model in the package.
        network: A custom network instead: `{class_path, init_args}` with plain arguments.
        loss: A custom loss instead: `{class_path, init_args}` with plain arguments.
        optimizer: A custom optimizer instead of AdamW, such as `{class_path: torch.optim.SGD, init_args: {momentum:
            0.9}}`; it gets the weights first, `lr`, and `weight_decay` where it takes one.
    """

    mean: Tensor
    std: Tensor
    monitor = "val/f1"
    mode = "max"

    def __init__(
        self,
        encoder: str = "resnet50",
        decoder: str = "DeepLabV3Plus",
        encoder_weights: str | None = None,
        options: dict[str, Any] | None = None,
        stride: int = 16,
        branch_channels: int = 64,
        embedding_dim: int = 128,
        temperature: float = 0.1,
        contour_role: ContourRole = "switch",
        consistency: Consistency = "all",
        lambda_ncl: float = 0.1,
        lambda_pc: float = 0.1,
        max_anchors: int = 0,
        scope: Scope = "image",
        bce_weight: float = 1.0,
        dice_weight: float = 1.0,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup: float = 0.05,
        threshold: float = 0.5,
        copies: bool = False,
        own_cut: bool = False,
        second_look: int | None = None,
        conventions: list[Literal["benco", "mvss", "trufor"]] = [],  # noqa: B006
        compile: bool = False,
        mean: list[float] = [0.485, 0.456, 0.406],  # noqa: B006 (a plain list, as a config gives it)
        std: list[float] = [0.229, 0.224, 0.225],  # noqa: B006
        warm_start: str | None = None,
        network: dict[str, Any] | None = None,
        loss: dict[str, Any] | None = None,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0 <= threshold <= 1:
            raise InputError(f"model.threshold is {threshold}: give a probability, 0–1")
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("warmup", warmup)):
            if not 0 <= value < math.inf:
                raise InputError(f"model.{name} is {value}: give a number that is not negative")
        if warmup > 1:
            raise InputError(f"model.warmup is {warmup}: give a share of the training steps, 0–1")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise InputError(f"model.mean is {mean}, model.std {std}: give three numbers each, std above 0")
        if second_look is not None and second_look < 1:
            raise InputError(f"model.second_look is {second_look}: give a number of pixels, such as 640")
        try:
            self.network: nn.Module = (
                instantiate(network, "model.network")
                if network
                else PivotNetwork(
                    encoder=encoder,
                    decoder=decoder,
                    encoder_weights=encoder_weights,
                    stride=stride,
                    branch_channels=branch_channels,
                    embedding_dim=embedding_dim,
                    options=options,
                    mean=mean,
                    std=std,
                )
            )
            self.loss: nn.Module = (
                instantiate(loss, "model.loss")
                if loss
                else NCLLoss(
                    stride=stride,
                    temperature=temperature,
                    contour_role=contour_role,
                    consistency=consistency,
                    lambda_ncl=lambda_ncl,
                    lambda_pc=lambda_pc,
                    max_anchors=max_anchors,
                    scope=scope,
                    bce_weight=bce_weight,
                    dice_weight=dice_weight,
                    seed=int(os.environ.get("PL_GLOBAL_SEED", "0")),
                )
            )
        except ValueError as error:
            raise InputError(f"model: {error}") from error
        for part in (self.network, self.loss):
            if isinstance(part, (PivotNetwork, NCLLoss)) and part.stride != stride:
                raise InputError(
                    f"model.stride is {stride}, but the {type(part).__name__} given has stride {part.stride}; "
                    "give both the same"
                )
        # faster convolutions, on a CPU too; nothing else changes
        self.network.to(memory_format=torch.channels_last)
        if not loss and lambda_ncl == 0 and lambda_pc == 0 and isinstance(self.network, PivotNetwork):
            # a head that gets no gradient makes DDP raise on the second step
            self.network.projections.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.results: dict[str, dict[str, float | None]] = {}
        # not at the epoch's start: a run that resumes within one never comes by there
        self.train_terms: Means | None = None
        self._finite: Tensor | bool = True
        # the threshold that suits the validation set best, at the last validation
        self.val_threshold: float | None = None

    def forward(self, image: Tensor) -> Any:
        """The network's output for pictures (B,3,H,W) RGB, uint8 or float of 0..1.

        Raises:
            InputError: They have another shape or type, or (not in training) values above 2, as of 0..255.
        """
        image = in_unit_range(image, look=not self.training)
        # a compiled network is called by its name, a plain one by its method
        network = self.network if self.training or not self.hparams["compile"] else self.network.forward
        # of the weights' type, where all is in halves (`bf16-true`)
        output = network(((image - self.mean) / self.std).to(self.mean.dtype))
        return sound_output(output, image) if self.hparams["network"] else output

    def logits(self, image: Tensor, content: Tensor | None = None) -> Tensor:
        """Logits (B,1,H,W), fp32, of pictures as `forward` takes them; where wanted, with those of a second look.

        `content` (B,2): rows and columns that each picture fills of its frame; None: all.

        Raises:
            InputError: The module is in training mode, or see `forward`.
        """
        if self.training:
            # with the batch's own statistics, and these would be kept
            raise InputError("the module is in training mode, in which each picture changes it: call eval() first")
        content = _filled(image) if content is None else content
        return look_twice(lambda pictures: self(pictures).logits, image, content, self.hparams["second_look"])

    def probability(self, image: Tensor, content: Tensor | None = None) -> Tensor:
        """Probability (B,1,H,W) that a pixel was tampered with, in fp32; where wanted, in the light of `copies`.

        With `own_cut` the values are no longer probabilities; those above 0.5 are predicted as tampered. 0 in a picture
        of one colour.

        `content` (B,2): rows and columns that each picture fills of its frame; None: all.
        """
        return self._localized(image, content).probability

    def _localized(self, image: Tensor, content: Tensor | None) -> Localized:
        """`probability`, and what it goes by."""
        content = _filled(image) if content is None else content
        logits = self.logits(image, content)
        return localize(logits, image, content, self.hparams["copies"], self.hparams["own_cut"])

    def setup(self, stage: str) -> None:
        """Compile the network; take the weights of `warm_start`, unless training resumes."""
        if stage == "fit" and self.hparams["compile"]:
            # in place: names of weights stay
            self.network.compile()
        start = self.hparams["warm_start"]
        if stage == "fit" and start and not self.trainer.ckpt_path:
            checkpoint = load_checkpoint(start)
            take_weights(self, start, checkpoint["state_dict"])
            data = getattr(self.trainer, "datamodule", None)
            if isinstance(data, ManipulationDataModule) and type(data).__qualname__ in checkpoint:
                # what those weights were trained on stays known
                data.load_state_dict(checkpoint[type(data).__qualname__])

    # training and validation

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """The loss and its terms; the network's output goes on to the callbacks."""
        try:
            output = self(batch["image"])
        except ValueError as error:
            # BatchNorm's word for one picture whose features are 1×1, as in ASPP
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                "data.batch_size is 1, which this network's BatchNorm can't train on: give 2 or more"
            ) from error
        terms = self._terms(output, batch["mask"], batch["valid"], batch["index"], self.global_step)
        if self.train_terms is None:
            # a loss of one's own has terms of its own, known once it has run
            self.train_terms = Means(list(terms)).to(self.device)
        # batches are of one size: their mean is that of the pictures
        self.train_terms.update(torch.stack([value.detach().float() for value in terms.values()])[None])
        loss = terms["loss"]
        # looked at once an epoch: to look at it is to wait for the device
        self._finite = loss.detach().isfinite() & self._finite
        self.log("train/loss_step", loss.detach(), prog_bar=True)
        if self.hparams["loss"] or self.hparams["network"]:
            # DDP raises where the loss leaves an output, and so its weights, unused
            loss = loss + 0 * sum(part.float().sum() for part in output if part is not None)
        return {"loss": loss, "output": output}

    def on_train_start(self) -> None:
        """Refuse to train in vain.

        Raises:
            InputError: See `in_vain`.
        """
        refuse_late_validation(self.trainer)
        if isinstance(self.loss, NCLLoss):
            refuse_mistyped_monitors(self.trainer, [f"val/{name}" for name in (*MEANS, *self.loss.TERMS)])

    def _stop_if_diverged(self) -> None:
        """Before a checkpoint of it replaces a sound one.

        Raises:
            InputError: A loss was not finite, or a weight is not, on whichever process.
        """
        weights = (value for value in self.state_dict().values() if value.is_floating_point())
        finite = bool(self._finite) and all(bool(value.isfinite().all()) for value in weights)
        # all of them, or the others would wait for this one in what comes next
        if not self.trainer.strategy.reduce_boolean_decision(finite, all=True):
            raise InputError(
                f"training diverged before step {self.global_step}: the loss is no longer finite; "
                f"lower model.lr (now {self.hparams['lr']:g}), or give trainer.gradient_clip_val"
            )

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's terms."""
        self.train_terms = None

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean of each term, over all processes."""
        self._stop_if_diverged()
        # not by log(sync_dist=True): the progress bar, on the first process alone, would reduce it out of turn
        for name, value in (self.train_terms.compute() if self.train_terms is not None else {}).items():
            self.log(f"train/{name}", value)

    def _terms(self, output: Any, mask: Tensor, valid: Tensor, index: Tensor, step: int) -> dict[str, Tensor]:
        try:
            terms: dict[str, Tensor] = self.loss(output, mask, valid, index, step)
        except ValueError as error:
            # the network, the loss and their options do not go together
            raise InputError(f"model: {error}") from error
        return sound_terms(terms, output.logits) if self.hparams["loss"] else terms

    def on_validation_start(self) -> None:
        """Make a table with a row for each image, so that none counts twice."""
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self._stop_if_diverged()
        count = len(self.trainer.val_dataloaders.dataset)  # type: ignore[union-attr]
        self.val_scores = ImageScores(count, threshold=self.hparams["threshold"]).to(self.device)
        self.val_terms: ImageTable | None = None

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Scores at network size, and the loss of each image by itself."""
        output = self(batch["image"])
        mask, valid, index = batch["mask"], batch["valid"], batch["index"]
        self.val_scores.update(
            finite(output.logits.float()).sigmoid(), mask, valid, index, authentic=batch["authentic"]
        )
        rows = []
        for i in range(len(index)):
            one = type(output)(*(None if part is None else part[i : i + 1] for part in output))
            rows.append(self._terms(one, mask[i : i + 1], valid[i : i + 1], index[i : i + 1], 0))
        if self.val_terms is None:
            # a loss of one's own has terms of its own, known once it has run
            self.val_terms = ImageTable(self.val_scores.num_images, list(rows[0])).to(self.device)
        self.val_terms.update(index, torch.stack([torch.stack([v.float() for v in row.values()]) for row in rows]))
        return {"output": output}

    def on_validation_epoch_end(self) -> None:
        """Log val/f1, val/auc and their kin, alike on every process."""
        assert self.val_terms is not None
        scores = {**self.val_scores.compute(), **self.val_terms.compute()}
        if not self.trainer.sanity_checking:
            self.val_threshold = plain(scores["threshold_best_set"])
        # F1 at a threshold chosen on this very set is f1_best_set
        del scores["f1_val"]
        for name, value in scores.items():
            # every process holds the same numbers: nothing to reduce
            self.log(f"val/{name}", value.float(), prog_bar=name in ("f1", "auc"), rank_zero_only=False)
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self._log_best()

    def _log_best(self) -> None:
        """Log what chooses the checkpoint at its best so far, as best/val/f1: W&B ranks runs by their last values."""
        for checkpoint in self.trainer.checkpoint_callbacks:
            if not isinstance(checkpoint, ModelCheckpoint) or checkpoint.monitor not in self.trainer.callback_metrics:
                continue
            # it is brought up to date after this
            best, now = checkpoint.best_model_score, self.trainer.callback_metrics[checkpoint.monitor]
            better = torch.fmax if checkpoint.mode == "max" else torch.fmin
            value = now if best is None else better(now, best.to(now))
            self.log(f"best/{checkpoint.monitor}", value, rank_zero_only=False)

    # test and prediction

    def on_test_start(self) -> None:
        """Tables for each set: at network size and at original size."""
        loaders: Sequence[Any] = self.trainer.test_dataloaders  # type: ignore[assignment]
        loaders = loaders if isinstance(loaders, list) else [loaders]
        names = [getattr(loader.dataset, "name", "") or f"set{i}" for i, loader in enumerate(loaders)]
        # one threshold of all maps is none of maps that each were moved
        chosen = None if self.hparams["own_cut"] else self.val_threshold
        kinds = {"network": None, "original": None, **{name: name for name in self.hparams["conventions"]}}
        self.test_scores = {
            name: {
                kind: ImageScores(
                    len(loader.dataset), threshold=self.hparams["threshold"], preset=preset, val_threshold=chosen
                ).to(self.device)
                for kind, preset in kinds.items()
            }
            for name, loader in zip(names, loaders, strict=True)
        }

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Scores of one batch, at network size and, where the original masks are there, at original size."""
        tables = list(self.test_scores.values())[dataloader_idx]
        at_original = [tables[kind] for kind in tables if kind in ("original", *SCORED_AT_ORIGINAL)]
        at_network = [tables[kind] for kind in tables if kind not in ("original", *SCORED_AT_ORIGINAL)]
        probability, _, highest = self._localized(batch["image"], batch["content"])
        for scores in at_network:
            scores.update(probability, batch["mask"], batch["valid"], batch["index"], highest, batch["authentic"])
        originals = batch.get("original_mask", ())
        maps = to_original(probability, batch) if len(originals) else []
        for i, mask in enumerate(originals):
            mask, one = mask[None].to(self.device), slice(i, i + 1)
            valid, top = torch.ones_like(mask, dtype=torch.bool), None if highest is None else highest[one]
            for scores in at_original:
                scores.update(maps[i], mask, valid, batch["index"][one], top, batch["authentic"][one])

    def on_test_epoch_end(self) -> None:
        """Gather `results`: plain numbers for each set, null where undefined."""
        self.results = {}
        for name, tables in self.test_scores.items():
            scores: dict[str, Tensor] = {}
            for kind, table in tables.items():
                found = table.compute()
                if kind == "network":
                    scores |= found
                else:
                    kept = AT_ORIGINAL if kind == "original" else found
                    scores |= {f"{key}_{kind}": found[key] for key in kept}
            self.results[name] = {key: plain(value) for key, value in scores.items()}
            for key in ("f1", "auc", "f1_original", "auc_original"):
                self.log(f"test/{name}/{key}", scores[key].float(), rank_zero_only=False)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Tensor]:
        """Probability maps at original size, (h,w) each. The command line keeps none in memory.

        The batch gets other keys: `copies`, what each picture holds twice, at the size of its frame, and with `own_cut`
        `highest`, its highest probability before.
        """
        if "image" not in batch:
            return []
        probability, batch["copies"], highest = self._localized(batch["image"], batch["content"])
        if highest is not None:
            batch["highest"] = highest
        return [one[0, 0] for one in to_original(probability, batch)]

    # optimization

    def configure_optimizers(self) -> Any:
        """AdamW, or the optimizer given; a linear warm-up, then a cosine to 0 over the planned steps."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        made = self.hparams["optimizer"] or {"class_path": "torch.optim.AdamW"}
        rates = {name: self.hparams[name] for name in ("lr", "weight_decay")}
        twice = arguments_of(made).keys() & rates
        if twice:
            raise InputError(f"model.optimizer: {min(twice)} in its init_args; give model.{min(twice)}")
        optimizer = instantiate(made, "model.optimizer", parameters, **rates)
        total = self.trainer.estimated_stepping_batches
        warm = max(1.0, self.hparams["warmup"] * total) if math.isfinite(total) else 100.0

        def factor(step: int) -> float:
            if step < warm:
                return (step + 1) / (warm + 1)
            if not math.isfinite(total):
                return 1.0
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1.0, total - warm))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the threshold that suits the validation set best, for `f1_val` on test sets, and the seed."""
        checkpoint["val_threshold"] = self.val_threshold
        seed = os.environ.get("PL_GLOBAL_SEED")
        checkpoint["seed"] = None if seed is None else int(seed)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the threshold of validation; where training resumes, this module's lr and weight decay win."""
        self.val_threshold = checkpoint.get("val_threshold")
        if self._trainer and self.trainer.state.fn == "fit" and self.trainer.ckpt_path:
            follow_the_folder(checkpoint, Path(self.trainer.ckpt_path))
            data = getattr(self.trainer, "datamodule", None)
            if isinstance(data, ManipulationDataModule):
                data.first_epoch, data.first_batch = where_it_stands(checkpoint["loops"]["fit_loop"])
            trained = sum(parameter.requires_grad for parameter in self.parameters())
            same_network = checkpoint["state_dict"].keys() == self.state_dict().keys()
            retune(checkpoint, self.hparams["lr"], self.hparams["weight_decay"], trained if same_network else None)


def _filled(image: Tensor) -> Tensor:
    """Rows and columns (B,2) of pictures (B,3,H,W) that fill their frames."""
    return torch.tensor([image.shape[-2:]] * len(image)).view(-1, 2)


AT_ORIGINAL = ("f1", "iou", "auc", "ap", "f1_val")
"""Scores that are also given at original size."""


def plain(value: Tensor) -> float | int | None:
    """A plain number; None where undefined."""
    number = value.item()
    return None if isinstance(number, float) and not math.isfinite(number) else number
