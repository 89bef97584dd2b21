"""fit, validate, test and predict: LightningCLI over NCLModule and ManipulationDataModule."""

import argparse
import difflib
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
)
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ncl_lightning.checkpoints import SHIPPED, load_checkpoint, named_checkpoint
from ncl_lightning.class_path import left_unused
from ncl_lightning.contrast_statistics import ContrastStatistics
from ncl_lightning.curves import write_curves
from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.endings import explained, refuse_lone_processes, which_was_killed
from ncl_lightning.errors import InputError
from ncl_lightning.files import run_of_checkpoint
from ncl_lightning.helptext import explain
from ncl_lightning.loss import NCLLoss
from ncl_lightning.module import NCLModule
from ncl_lightning.network import PivotNetwork
from ncl_lightning.options import OF_LOSS, OF_NETWORK
from ncl_lightning.panels import Panels
from ncl_lightning.predict import PredictionWriter
from ncl_lightning.processes import is_first
from ncl_lightning.progress import Bar, ProgressLines, Summary, quiet
from ncl_lightning.provenance import record
from ncl_lightning.results import ResultsWriter
from ncl_lightning.run_folder import RunLogger, SaveRunConfig, output_folder, run_folder
from ncl_lightning.slurm import SaveBetweenSteps, handed_over, handover, requeues
from ncl_lightning.stopping import StopOnSigterm


class NCLCLI(LightningCLI):
    """LightningCLI whose runs keep everything in one folder, and whose checkpoints are enough to evaluate."""

    _resumed_at: int | None = None
    # of a process that this one started
    _killed: str | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            NCLModule,
            ManipulationDataModule,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            # hyper-parameters are plain values: load_from_checkpoint needs no instantiator
            load_from_checkpoint_support=False,
            parser_kwargs={"prog": "python -m ncl_lightning", "exit_on_error": False}
            | {name: {"exit_on_error": False} for name in self.subcommands()},
            **kwargs,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The command that was typed, alone: to describe the options of all four takes a second."""
        known = LightningCLI.subcommands()
        return {name: known[name] for name in sys.argv[1:2] if name in known} or known

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """A run's name, what `predict` writes, and options of the callbacks that are always on."""
        parser.add_argument("--name", help="The run's name: its folder below runs/, and what W&B calls it.")
        if sys.argv[1:2] == ["predict"]:
            parser.add_argument(
                "--raw", type=bool, default=False, help="Also write <stem>_map.npy, the map itself: float32 (H,W)."
            )
        parser.add_lightning_class_args(ContrastStatistics, "contrast")
        parser.add_lightning_class_args(Panels, "panels")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.monitor": NCLModule.monitor,
                "checkpoint.mode": NCLModule.mode,
                "checkpoint.filename": "best",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.enable_version_counter": False,
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; what a checkpoint stores becomes the default, so that what is said explicitly wins."""
        for command, sub in self._subcommand_parsers.items():
            explain(command, sub)
        try:
            super().parse_arguments(parser, args)
        except argparse.ArgumentError as error:
            known = {action.dest for sub in self._subcommand_parsers.values() for action in sub._actions}
            raise argparse.ArgumentError(None, _suggested(str(error), sorted(known))) from error
        command = self.config.subcommand
        options = self.config[command]
        if command == "predict" and not options.ckpt_path:
            options.ckpt_path = "shipped"
            if is_first():
                card = SHIPPED.parent / "README.md"
                print(f"no --ckpt_path: with the model that comes with ncl_lightning, see {card}")
        if command == "fit" and not options.ckpt_path:
            left = handed_over(Path(options.trainer.default_root_dir or "runs"))
            if left:
                options.ckpt_path = str(left)
                rank_zero_info(f"SLURM started this job again: it goes on from {left}")
        if options.ckpt_path:
            # of a fit this folder holds the runs; of the others it is where they write
            given = options.trainer.default_root_dir if command in ("fit", "validate") else None
            asked = options.ckpt_path
            options.ckpt_path = named_checkpoint(asked, Path(given or "runs"), "last" if command == "fit" else "best")
            if asked in ("best", "last"):
                rank_zero_info(f"--ckpt_path {asked}, of the newest run: {options.ckpt_path}")
            elif Path(asked).is_dir():
                rank_zero_info(f"--ckpt_path {asked}: {options.ckpt_path}")
        path = options.ckpt_path
        # Lightning finds those two itself
        if path in (None, "hpc", "registry"):
            return
        defaults = _stored_defaults(path, command, options, self._subcommand_parsers[command])
        self._subcommand_parsers[command].set_defaults(defaults)
        super().parse_arguments(parser, args)
        self.config[command].ckpt_path = path

    def _parse_ckpt_path(self) -> None:
        """Leave out: it would let stored values win over those given."""

    def before_instantiate_classes(self) -> None:
        """Say what is missing before anything is made."""
        options = self.config[self.subcommand]
        path = options.ckpt_path
        if self.subcommand != "fit":
            if not path:
                raise InputError(f"{self.subcommand} needs a checkpoint: give --ckpt_path FILE, or --ckpt_path best")
            return
        if path not in (None, "hpc", "registry"):
            checkpoint = load_checkpoint(path)
            if "loops" not in checkpoint:
                raise InputError(
                    f"{path}: an exported checkpoint, from which no run can go on; give --model.warm_start {path}"
                )
            self._resumed_at = checkpoint["global_step"]
        model = options.model
        if model.lambda_ncl == 0 < model.lambda_pc and not model.loss:
            rank_zero_info(
                f"lambda_ncl is 0, but lambda_pc {model.lambda_pc:g}: pivot consistency is trained without contrast; "
                "the plain arm has --model.lambda_pc 0, too"
            )
        for part, ours, names in (("network", PivotNetwork, OF_NETWORK), ("loss", NCLLoss, OF_LOSS)):
            idle = left_unused(model, NCLModule, names) if model[part] else {}
            if idle:
                rank_zero_warn(
                    f"model.{part} takes the place of {ours.__name__}, whose options are left unused: "
                    f"{', '.join(f'{name} {value}' for name, value in idle.items())}; what yours takes is given in "
                    f"model.{part}.init_args"
                )
        kept = options.checkpoint.save_top_k
        if kept not in (0, 1) and "{" not in (options.checkpoint.filename or "{"):
            raise InputError(
                f"checkpoint.save_top_k is {kept}, but all would be called {options.checkpoint.filename}: "
                "give --checkpoint.filename '{epoch}', too"
            )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The Trainer with the run's logger first and the callbacks of each command."""
        options, init = self.config[self.subcommand], self.config_init[self.subcommand]
        given: Any = init["trainer"].get("callbacks") or []
        callbacks: list[Any] = list(given) if isinstance(given, list) else [given]
        loggers: Any = False
        if self.subcommand == "fit":
            loggers = self._loggers(options.trainer.default_root_dir, options.ckpt_path)
            callbacks += _of_training(options.trainer, callbacks, bool(loggers))
        elif options.trainer.enable_progress_bar is not False and not _holds(callbacks, ProgressBar):
            callbacks.append(Bar())
        if self.subcommand in _WRITERS:
            # a table or maps of its own: Lightning's table would repeat every set in each set's column, and the maps of
            # a large folder would fill the memory
            writer, quiet_option = _WRITERS[self.subcommand]
            folder = output_folder(self.subcommand, options.trainer.default_root_dir, options.ckpt_path)
            more = {"raw": options.raw} if self.subcommand == "predict" else {}
            callbacks.append(writer(folder, record(self.subcommand, options), **more))
            init[quiet_option] = False
        init["trainer"]["callbacks"] = [*callbacks, SaveBetweenSteps(), StopOnSigterm()]
        trainer = super().instantiate_trainer(logger=loggers, **kwargs)
        refuse_lone_processes(trainer)
        on_cpu = isinstance(trainer.accelerator, CPUAccelerator)
        if on_cpu and trainer.world_size > 1 and options.trainer.sync_batchnorm:
            raise InputError("trainer.sync_batchnorm is for GPUs alone; leave it out on a CPU")
        # after `best`, or it would hold best's score of one epoch before, and a run that resumes would save a worse one
        trainer.callbacks.sort(key=lambda callback: getattr(callback, "filename", None) == "last")  # type: ignore[attr-defined]
        # Lightning takes every checkpoint of a run that steps end for one within an epoch, and skips the next one
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        _warn_of_slow_halves(trainer)
        if "mixed" in str(trainer.precision):
            # convolutions are of halves then, but for those kept in float32, which are to be exact
            torch.backends.cudnn.allow_tf32 = False
        if self.subcommand == "fit" and trainer.world_size > 1:
            each, steps = options.data.batch_size, trainer.accumulate_grad_batches
            rank_zero_info(
                f"{each} pictures on each of {trainer.world_size} processes{f', {steps} times' if steps > 1 else ''}: "
                f"{each * trainer.world_size * steps} to a step of the optimizer, at the learning rate given"
            )
        return trainer

    def _instantiate_trainer(self, config: Any, callbacks: list[Any]) -> Trainer:
        if config.get("logger") is False:
            # no run has a folder of its own then: none overwrites another's checkpoints
            for callback in callbacks:
                if isinstance(callback, ModelCheckpoint):
                    callback._enable_version_counter = True
        # `checkpoint` is always on, and Lightning refuses it then
        if config.get("enable_checkpointing") is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, ModelCheckpoint)]
        return super()._instantiate_trainer(config, callbacks)

    def _loggers(self, root: str | None, checkpoint: str | None) -> list[Logger] | bool:
        """The run's own logger, then those given; a run that resumes goes on in its folder."""
        given = self.config_init[self.subcommand]["trainer"]["logger"]
        if given is False:
            return False
        run = run_of_checkpoint(checkpoint) if checkpoint else None
        resumes = run is not None and any((run / name).is_file() for name in ("metrics.csv", "config.yaml"))
        if run and resumes and (root is None or Path(root).absolute() == run.parent):
            step = load_checkpoint(str(checkpoint))["global_step"]
            own = RunLogger(run.parent, version=run.name, keep_step=step)
        else:
            name = self.config[self.subcommand].name
            if name and (Path(name).is_absolute() or ".." in Path(name).parts):
                raise InputError(f"--name {name}: it would lie elsewhere than the other runs; give a name without ..")
            own = RunLogger(Path(root or "runs"), version=name)
            if name:
                # W&B reads it when the run begins
                os.environ.setdefault("WANDB_NAME", name)
        more = given if isinstance(given, list) else [given] if isinstance(given, Logger) else []
        return [own, *more]

    def _run_subcommand(self, subcommand: str) -> None:
        # open the data before a run's folder is claimed, so that bad input leaves nothing behind
        self.datamodule.trainer = self.trainer
        self.datamodule.setup(subcommand)
        for logger in self.trainer.loggers:
            if isinstance(logger, RunLogger):
                logger.claim()
        job = handover()
        # it makes a folder to ask for it
        folder = run_folder(self.trainer) if job else None
        if job and folder:
            # where Lightning puts what a job that is given back goes on from, and looks for it
            self.trainer._default_root_dir = str(folder / job)  # type: ignore[attr-defined]
        try:
            self._run_to_its_end(subcommand)
        except BaseException as error:
            told = explained(error, self.trainer, self.config[subcommand].ckpt_path, self._how_to_go_on, self._killed)
            if told is None:
                raise
            raise told from error

    def _run_to_its_end(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except BaseException as error:
            launcher = self.trainer.strategy.launcher
            if isinstance(launcher, _SubprocessScriptLauncher):
                self._killed = which_was_killed(launcher.procs, error)
                # the processes that it started wait for this one, for ever, and hold their devices
                launcher.kill(signal.SIGKILL)
            for logger in self.trainer.loggers:
                if isinstance(logger, RunLogger):
                    logger.give_up()
            raise

    def after_fit(self) -> None:
        """Say where it all is, and what comes next."""
        folder = run_folder(self.trainer)
        if folder is None or not self.trainer.is_global_zero:
            return
        write_curves(folder)
        if self.trainer.global_step == self._resumed_at:
            print(
                f"nothing was left to train: the run had ended at step {self._resumed_at}; to train it on, give "
                "--trainer.max_steps or --trainer.max_epochs above what it had"
            )
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
                print(f"stopped early, at step {self.trainer.global_step}: {callback.stopping_reason_message}")
        print(f"run: {folder}")
        best = next((c for c in self.trainer.checkpoint_callbacks if getattr(c, "monitor", None)), None)
        if isinstance(best, ModelCheckpoint) and best.best_model_score is not None:
            if best.monitor == "val/f1" and best.best_model_score == 0:
                print(
                    "val/f1 was 0 at every validation (nothing tampered came above model.threshold), and best.ckpt is "
                    "of the first one: train longer, or choose by --checkpoint.monitor val/auc"
                )
            print(
                f"best {best.monitor} {best.best_model_score:.3f}; next: python -m ncl_lightning test "
                f'--ckpt_path {best.best_model_path} --data.test \'{{"NAME": "SOURCE"}}\''
            )

    def _how_to_go_on(self) -> str:
        """What to type after a stop."""
        if self.subcommand != "fit":
            return "give the command again"
        if requeues(self.trainer):
            return "if SLURM starts the job again, it goes on by itself where it was saved for that"
        checkpoints = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
        saved = [checkpoint.best_model_path for checkpoint in checkpoints if checkpoint.filename == "last"]
        if not any(saved):
            return "no epoch was over, so nothing is saved: give the command again"
        return f"to go on after the last whole epoch, give the command again with --ckpt_path {saved[-1]}"

    @property
    def failed(self) -> bool:
        """True where files were skipped."""
        writers = [c for c in self.trainer.callbacks if isinstance(c, PredictionWriter)]  # type: ignore[attr-defined]
        return any(writer.failed for writer in writers)


# what writes a command's results, and the option by which Lightning leaves that to it
_WRITERS: dict[str, tuple[Callable[..., Callback], str]] = {
    "test": (ResultsWriter, "verbose"),
    "predict": (PredictionWriter, "return_predictions"),
}


def _holds(callbacks: Sequence[Callback], kind: type[Callback]) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)


def _of_training(options: Any, given: Sequence[Callback], logged: bool) -> list[Callback]:
    """What a training is shown and kept by, beside the callbacks given.

    Args:
        options: The Trainer's.
        given: What replaces ours of the same kind.
        logged: The run has a folder of its own.
    """
    callbacks: list[Callback] = []
    if options.enable_progress_bar is not False and not _holds(given, ProgressBar):
        # a bar that is no terminal's shows nothing before its end
        callbacks += [Bar()] if sys.stdout.isatty() else [Bar(), ProgressLines()]
    if options.enable_model_summary is not False and not _holds(given, ModelSummary):
        callbacks.append(Summary())
    if options.enable_checkpointing is not False:
        # without a monitor, and at the end of the epoch: the one to resume from
        callbacks.append(
            ModelCheckpoint(filename="last", enable_version_counter=not logged, save_on_train_epoch_end=True)
        )
    return [*callbacks, LearningRateMonitor()] if logged else callbacks


def _warn_of_slow_halves(trainer: Trainer) -> None:
    """Say so where bfloat16, meant to be fast, is slow: a CPU without AVX-512 takes four times as long."""
    # built without oneDNN, as for Macs, torch can't be asked
    known = isinstance(trainer.accelerator, CPUAccelerator) and torch.backends.mkldnn.is_available()
    if known and str(trainer.precision).startswith("bf16") and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        rank_zero_warn(f"this CPU is slow at precision {trainer.precision}: --trainer.precision 32-true is faster here")


def _stored_defaults(path: str, command: str, given: Any, parser: LightningArgumentParser) -> dict[str, Any]:
    """A checkpoint's hyper-parameters as the parser's keys: the model's, and of the data what evaluation needs."""
    checkpoint = load_checkpoint(path)
    data = checkpoint.get("datamodule_hyper_parameters", {})
    if command != "fit":
        keys: tuple[str, ...] = ManipulationDataModule.EVALUATION_KEYS
        if command == "validate" and not (given.data.val or given.data.val_share):
            keys += ManipulationDataModule.VALIDATION_KEYS
        data = {key: data[key] for key in keys if key in data}
    stored = {f"model.{key}": value for key, value in checkpoint.get("hyper_parameters", {}).items()}
    stored |= {f"data.{key}": value for key, value in data.items()}
    stored.pop("model.warm_start", None)
    if command != "fit":
        # those of the checkpoint are loaded; they would be fetched to be overwritten
        stored.pop("model.encoder_weights", None)
    known = {action.dest for action in parser._actions}
    return {key: value for key, value in stored.items() if key in known}


_OWN_MODULE = "a module of your own is for Python; here its parts may be your own, see docs/training.md"
# what LightningCLI takes in other projects, and what there is here
_OF_OTHERS = ("optimizer", "lr_scheduler")
_INSTEAD = {
    "optimizer": "give --model.optimizer.class_path torch.optim.SGD, with model.lr and model.weight_decay",
    "lr_scheduler": "the schedule is a warm-up (model.warmup) and a cosine; another one is for Python",
    "model": _OWN_MODULE,
    "model.class_path": _OWN_MODULE,
    "data": _OWN_MODULE,
    "data.class_path": _OWN_MODULE,
}


def _suggested(message: str, known: list[str]) -> str:
    """A parser's complaint, with the nearest option to one that does not exist."""
    found = re.search(r"unrecognized arguments: --([\w.]+)|does not accept option '([\w.]+)'", message)
    name = (found[1] or found[2]) if found else ""
    # `--model mine.Module` is read as the name of a config file
    file = re.search(r'key "(model|data)": Unable to load config', message)
    top = name.partition(".")[0]
    instead = _INSTEAD.get(file[1] if file else name) or (_INSTEAD[top] if top in _OF_OTHERS else None)
    if instead:
        return f"{message.splitlines()[0]}; {instead}"
    close = difflib.get_close_matches(name, known, n=1) if found else []
    if close:
        return f"{message}; did you mean --{close[0]}?"
    bare = re.search(r"unrecognized arguments: ([^-\s]\S*)", message)
    if bare and sys.argv[1] == "predict":
        return f"{message}; did you mean --data.predict {bare[1]}?"
    return message


def main() -> int:
    """Run the command line; the exit code."""
    quiet()
    if sys.argv[1] == "fit":
        torch.set_float32_matmul_precision("high")
    else:
        # or a GPU would round what a CPU does not: scores are the same on both
        torch.backends.cudnn.allow_tf32 = False
    cli = NCLCLI()
    # Lightning ends a run where any other process fails
    return int(cli.failed and cli.trainer.is_global_zero)
