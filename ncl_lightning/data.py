"""The LightningDataModule over data sources."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from ncl_lightning.datasets import Batch, EpochSampler, FixedSampler, ManipulationDataset, PredictionDataset, collate
from ncl_lightning.errors import InputError
from ncl_lightning.headers import check_headers, check_masks
from ncl_lightning.holdout import hold_out
from ncl_lightning.leakage import LeakageGuard, OnLeakage
from ncl_lightning.predict_inputs import named_pictures
from ncl_lightning.processes import is_first
from ncl_lightning.sampling import Draws, DrawSampler
from ncl_lightning.source_entries import OnCount, entry, open_entry
from ncl_lightning.sources import Source, SourceSpec
from ncl_lightning.transforms import (
    Augmentation,
    EvalSizing,
    TrainSizing,
    augmentations,
    pipeline,
    sizing_transforms,
)

# made-up pictures of the three parts must differ, whatever the seed
_STREAMS = {"train": 1, "val": 2, "test": 3}


def _quiet_worker(_: int) -> None:
    # one thread a worker: OpenCV's own threads would fight the other workers for the cores
    cv2.setNumThreads(0)


class ManipulationDataModule(LightningDataModule):
    """Manipulation data with masks, from data sources.

    A data source is one string: a folder with `Tp/`, `Gt/` and optionally `Au/`, or `images/`, `masks/` and
    optionally `authentic/`; a `.json` list of `[image, mask or "Negative"]`; a `.csv` manifest with columns
    `image,mask`; `synthetic:N`; `synthetic:FOLDER`. A mapping `{class_path, init_args}` names a source class of one's
    own, and a mapping `{source, weight, only, tampered, authentic, take, anew}` says more of a source: its share of a
    training epoch (relative; of all training sources or of none), which pictures to take (`only: tampered` or
    `only: authentic`, `take: N` of them, in training with `anew: true` others for each seed), and how many of each it
    is to hold (a count, or `[least, most]`). `configs/protocols/` has such files.

    Args:
        train: Source or sources to train on.
        val: Source or sources to validate and to choose the checkpoint on.
        test: Sources to test on, by name; or one, which is called `test`.
        predict: A picture, a folder of pictures or a pattern (`'SCANS/*.tif'`) to localize manipulations in; or several
            of these, as a list.
        size: Side of the network's frame, in pixels.
        train_sizing: `resize` to size×size; `crop` size×size at native resolution, keeping tampered content;
            `pad` to size×size.
        eval_sizing: `resize` to size×size; `pad` to size×size; `native`: leave the size.
        max_size: Longest side, in pixels, that `native` leaves alone; larger pictures are reduced to it.
        augment: `none`, `flips`, `usual` (flips, colour, JPEG, blur), or a list of `{class_path, init_args}`
            of albumentations transforms.
        batch_size: Pictures in a training batch, for each process.
        eval_batch_size: The same in evaluation; by default batch_size. Pictures of `native` size go one by one.
        num_workers: Loader processes; 0 loads in the main process.
        seed: Seed of shuffling, augmentation and synthesis in training; by default that of `seed_everything`.
        leakage: Where a picture to score on was trained or selected on, or is a copy of one that was: `error`:
            refuse; `warn`: say so, in results.json too; `ignore`: do not look.
        root: Folder that the sources' relative paths lie below; by default the working directory.
        val_share: Instead of val: share of the training pictures to hold out for validation, 0–1. Names decide,
            so it is the same for every seed; pictures of one original stay on one side where names tell it.
        authentic_share: Share of authentic pictures among those of a training epoch; by default as they come.
        epoch_samples: Pictures in a training epoch; by default as many as there are. What does not fill a last batch
            on every process is dropped.
        counts: Where a source holds other counts than it is said to: `error`: refuse; `warn`: say so; `ignore`:
            do not look.
        protocol: Name and version of the protocol that all this follows; kept with the results, and nothing else.
    """

    # what evaluation needs to be repeated: taken from a checkpoint unless said otherwise
    EVALUATION_KEYS = ("size", "eval_sizing", "max_size")
    # and what `validate` looks at where nothing else is named
    VALIDATION_KEYS = ("train", "val", "val_share", "root", "counts", "leakage")
    # what neither tests nor predictions look at
    TRAINING_KEYS = (
        "train", "val", "train_sizing", "augment", "seed", "val_share", "authentic_share", "epoch_samples",
    )  # fmt: skip

    def __init__(
        self,
        train: list[SourceSpec] | str | None = None,
        val: SourceSpec | list[SourceSpec] | None = None,
        test: dict[str, SourceSpec] | str | None = None,
        predict: list[str] | str | None = None,
        size: int = 512,
        train_sizing: TrainSizing = "resize",
        eval_sizing: EvalSizing = "resize",
        max_size: int = 2048,
        augment: Augmentation = "usual",
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int | None = None,
        leakage: OnLeakage = "error",
        root: str | None = None,
        val_share: float = 0.0,
        authentic_share: float | None = None,
        epoch_samples: int | None = None,
        counts: OnCount = "error",
        protocol: str | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("size", size, 8),
            ("max_size", max_size, 8),
            ("batch_size", batch_size, 1),
            ("epoch_samples", epoch_samples, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
        ):
            if value is not None and value < least:
                raise InputError(f"data.{name} is {value}: give at least {least}")
        if not 0 <= val_share < 1 or not 0 <= (authentic_share or 0) <= 1:
            raise InputError(
                f"data.val_share is {val_share}, data.authentic_share {authentic_share}: give fractions within 0–1"
            )
        if val and val_share:
            raise InputError(f"data.val is {val} and data.val_share {val_share}: give one of them (--data.val_share 0)")
        # one string is one source
        train = [train] if isinstance(train, str) else train
        test = {"test": test} if isinstance(test, str) else test
        self.save_hyperparameters()
        self._datasets: dict[str, Any] = {}
        self._draws: Draws | None = None
        self._split: tuple[list[Source], list[Source]] | None = None
        # of training: where a run that resumes stands
        self.first_epoch = 0
        self.first_batch = 0
        self.guard = LeakageGuard(leakage)

    @property
    def seed(self) -> int:
        """Seed of the training draws."""
        given: int | None = self.hparams["seed"]
        return int(os.environ.get("PL_GLOBAL_SEED", "0")) if given is None else given

    def setup(self, stage: str) -> None:
        """Open the sources of a stage (`fit`, `validate`, `test` or `predict`).

        Raises:
            InputError: A source is missing, empty or faulty.
        """
        needs = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}
        needs["robustness"] = needs["test"]
        for part in needs[stage]:
            if part not in self._datasets:
                self._datasets[part] = getattr(self, f"_{part}_dataset")()
                if part == "val" and stage == "fit":
                    # the first process looks for all, and writes the checkpoints
                    if is_first():
                        self.guard.remember("train", self._datasets["train"].sources)
                        self.guard.check("data.val", self._datasets["val"].sources)
                        self.guard.remember("val", self._datasets["val"].sources)
                    if _without_tampered(self._datasets["val"].sources):
                        raise InputError("data.val holds no tampered picture, so no checkpoint can be chosen by it")
                if stage == "fit" and is_first():
                    check_masks(f"data.{part}", self._datasets[part].sources)

    def state_dict(self) -> dict[str, Any]:
        """What was trained and selected on, for the checkpoint."""
        return self.guard.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what a checkpoint was trained and selected on, and refuse to score on it.

        Raises:
            InputError: Validation data was trained on, or test data trained or selected on.
        """
        self.guard.load_state_dict(state_dict)
        stage = self.trainer.state.fn if self.trainer else None
        if stage in ("fit", "validate"):
            self.guard.check("data.val", self._datasets["val"].sources, against=["train"])
        for dataset in self._datasets["test"] if stage == "test" else ():
            self.guard.check(f"data.test: {dataset.name}", dataset.sources)

    def _open(self, part: str, specs: Any) -> list[Source]:
        if not specs:
            hint = ", or --data.val_share 0.1 to hold out of the training data" if part == "val" else ""
            raise InputError(
                f"data.{part} names no data: give a source, for example --data.{part} {_EXAMPLE[part]}{hint}"
            )
        specs = specs if isinstance(specs, list) else [specs]
        # evaluation is the same for every seed, so that seeds can be compared
        seed = self.seed if part == "train" else 0
        stream = int(np.random.SeedSequence([seed, _STREAMS[part]]).generate_state(1)[0])
        size, root, counts = (self.hparams[name] for name in ("size", "root", "counts"))
        sources = [open_entry(entry(spec), size, stream + i, root, counts) for i, spec in enumerate(specs)]
        if is_first():
            # better now than after an epoch, or when the sets before have been scored
            check_headers(sources)
        return sources

    def _divided(self) -> tuple[list[Source], list[Source]]:
        """What to train on, and what is held out of it for validation."""
        if self._split is None:
            sources, share = self._open("train", self.hparams["train"]), self.hparams["val_share"]
            if share and any(entry(spec).anew for spec in self.hparams["train"]):
                raise InputError("data.val_share can't go with `anew: true`, which moves with the seed; give data.val")
            copies = self.guard.action != "ignore"
            self._split = hold_out(sources, share, copies) if share else (sources, [])
        return self._split

    def _weighed(self, sources: list[Source]) -> Draws | None:
        """The draws of each epoch; None where every picture comes once."""
        weights = [entry(spec).weight for spec in self.hparams["train"]]
        given = [weight for weight in weights if weight is not None]
        if given and len(given) < len(weights):
            raise InputError("data.train: some sources have a weight and others have none; give all of them one")
        share, samples = self.hparams["authentic_share"], self.hparams["epoch_samples"]
        if not given and share is None and samples is None:
            return None
        return Draws(sources, given or None, share, samples, self.seed)

    def evaluation(self) -> Any:
        """What brings a picture into its frame in evaluation."""
        hparams = self.hparams
        return pipeline(sizing_transforms(hparams["eval_sizing"], hparams["size"], hparams["max_size"]))

    def _train_dataset(self) -> ManipulationDataset:
        sizing = sizing_transforms(self.hparams["train_sizing"], self.hparams["size"], self.hparams["max_size"])
        transform = pipeline([*sizing, *augmentations(self.hparams["augment"])])
        dataset = ManipulationDataset(self._divided()[0], transform, self.seed, name="train")
        self._draws = self._weighed(dataset.sources)
        world = self.trainer.world_size if self.trainer else 1
        count = len(dataset if self._draws is None else self._draws)
        if count < self.hparams["batch_size"] * world:
            raise InputError(
                f"data.train holds {count} pictures, fewer than one batch on {world} process(es): "
                f"lower data.batch_size (now {self.hparams['batch_size']})"
            )
        return dataset

    def _val_dataset(self) -> ManipulationDataset:
        given = self.hparams["val"]
        sources = self._divided()[1] if self.hparams["val_share"] else self._open("val", given)
        return ManipulationDataset(sources, self.evaluation(), name="val")

    def _test_dataset(self) -> list[ManipulationDataset]:
        # of none `_open` says so
        sets: Mapping[str, SourceSpec | None] = self.hparams["test"] or {"test": None}
        return [
            ManipulationDataset(self._open("test", spec), self.evaluation(), keep_original=True, name=name)
            for name, spec in sets.items()
        ]

    def _predict_dataset(self) -> PredictionDataset:
        return PredictionDataset(named_pictures(self.hparams["predict"]), self.evaluation())

    def _loader(self, dataset: Dataset[Batch], train: bool = False) -> DataLoader[Batch]:
        trainer = self.trainer
        world, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        sampler: EpochSampler
        if train and self._draws:
            sampler = DrawSampler(self._draws, world, rank)
        else:
            kind: Callable[..., EpochSampler] = EpochSampler if train else FixedSampler
            # shuffled by the sum of seed and epoch: far apart, no seed repeats another's epochs
            far = self.seed * 1_000_003
            sampler = kind(dataset, num_replicas=world, rank=rank, shuffle=train, seed=far, drop_last=train)
        # padded to a common size, a picture's score would depend on those beside it
        alone = self.hparams["eval_sizing"] == "native"
        evaluation_size = 1 if alone else self.hparams["eval_batch_size"] or self.hparams["batch_size"]
        workers = self.hparams["num_workers"]
        return DataLoader(
            dataset,
            batch_size=self.hparams["batch_size"] if train else evaluation_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            # a last batch of one picture fails in BatchNorm over a 1×1 map
            drop_last=train,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
            persistent_workers=workers > 0,
            worker_init_fn=_quiet_worker,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled or drawn, augmented; the last incomplete batch is dropped."""
        loader = self._loader(self._datasets["train"], train=True)
        # Lightning tells the epoch of a run that resumes when workers have begun to read already
        loader.sampler.set_epoch(self.first_epoch)  # type: ignore[attr-defined]
        # and counts on from the batches that are done, but asks for the epoch's first
        loader.sampler.done = self.first_epoch, self.first_batch * self.hparams["batch_size"]  # type: ignore[attr-defined]
        return loader

    def val_dataloader(self) -> DataLoader[Batch]:
        """All validation sources in one loader."""
        return self._loader(self._datasets["val"])

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each named set, in the order given."""
        return [self._loader(dataset) for dataset in self._datasets["test"]]

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The pictures to predict."""
        return self._loader(self._datasets["predict"])


def _without_tampered(sources: list[Source]) -> bool:
    """Whether all pictures are known to be authentic."""
    known = [getattr(source, "authentic", None) for source in sources]
    return all(authentic is not None and authentic().all() for authentic in known)


_EXAMPLE = {
    "train": "'[FOLDER]'",
    "val": "FOLDER",
    "test": '\'{"NAME": "FOLDER"}\'',
}
