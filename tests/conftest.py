"""Data that the tests make themselves, and the command line as users run it."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import run_forked, run_fresh

# one thread a test process: several would fight for the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent
# files with tests of minutes
LONG = ("test_quickstart", "test_readme", "test_experiment", "test_ddp")
TINY = [
    # a checkpoint of 4 MB: writing 170 took longer than training
    "--model.encoder=tu-mobilenetv3_small_050",
    "--model.decoder=Unet",
    '--model.options={"decoder_channels": [16, 8, 8, 8, 8]}',
    "--model.branch_channels=8",
    "--model.embedding_dim=8",
    "--data.size=64",
    "--data.batch_size=2",
    "--data.num_workers=0",
    # one tiny folder serves as training and as validation data
    "--data.leakage=ignore",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: at the end, one process would work on them alone."""
    items.sort(key=lambda item: item.path.stem not in LONG)


def make_set(folder: Path, tampered: int, authentic: int = 0, size: tuple[int, int] = (72, 80), seed: int = 0) -> Path:
    """A folder with Tp/, Gt/ and Au/: noise pictures with a smooth square pasted in."""
    rng = np.random.default_rng(seed)
    for name in ("Tp", "Gt", "Au"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(tampered + authentic):
        image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        if number >= tampered:
            cv2.imwrite(str(folder / "Au" / f"au{number}.png"), image)
            continue
        mask = np.zeros(size, np.uint8)
        top, left = (int(v) for v in rng.integers(0, min(size) // 2, 2))
        mask[top : top + size[0] // 3, left : left + size[1] // 3] = 255
        image[mask > 0] = 128
        cv2.imwrite(str(folder / "Tp" / f"tp{number}.png"), image)
        cv2.imwrite(str(folder / "Gt" / f"tp{number}.png"), mask)
    return folder


def shipped_run() -> dict[str, Any]:
    """What `predict` says of itself where no option is given, as far as scores of untouched photographs go by it."""
    # torch, once the number of threads is set
    from ncl_lightning.checkpoints import SHIPPED
    from ncl_lightning.files import file_hash

    options = {
        "model": {"copies": True, "second_look": 640},
        "data": {"eval_sizing": "native", "max_size": 1536},
    }
    return {"checkpoint_sha256": file_hash(SHIPPED), **options, "training": options}


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """Four tampered and two authentic pictures of 72×80."""
    return make_set(tmp_path / "set", 4, 2)


def command(
    *arguments: object, cwd: Path = ROOT, timeout: float = 500, fresh: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python -m ncl_lightning …` as a user types it; its whole process group ends at the time limit.

    `fresh`: in a new interpreter, for what does not bear a fork.
    """
    words = [str(argument) for argument in arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", **environment}
    return (run_fresh if fresh else run_forked)(words, cwd, environment, timeout)


def succeed(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The same, which must end well."""
    done = command(*arguments, **options)  # type: ignore[arg-type]
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def stopped(
    *arguments: object, signum: int, folder: Path, sign: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal, it alone, once a file like `sign` is in a folder; nothing it started is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ncl_lightning", *(str(argument) for argument in arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        start_new_session=True,
        # a shell's background jobs, and so what they start, ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 200
        while not list(folder.glob(sign)) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
        until = time.monotonic() + 20
        # what has ended counts until somebody asks for its exit code
        while _lives(process.pid):
            assert time.monotonic() < until, "it left a process behind"
            time.sleep(0.1)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(process.args, process.returncode, "", err)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of one short fit at a size, sizing and channels that are not the default."""
    root = tmp_path_factory.mktemp("trained")
    data = make_set(root / "data", 5, 2)
    succeed(
        "fit",
        *TINY,
        f"--data.train={data}",
        f"--data.val={data}",
        "--data.eval_sizing=pad",
        "--data.size=96",
        "--model.stride=8",
        f"--trainer.default_root_dir={root / 'runs'}",
    )
    return root / "runs" / "version_0"


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def logged(run: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows(run) if row.get(name)]
