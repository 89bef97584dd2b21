"""`audit --train SOURCE … --val SOURCE … --test SOURCE …`: what is wrong with data, before training finds out."""

import json as jsonlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from ncl_lightning.audit_findings import ORDER, Finding, checked, duplicates, of_faults, patch_shares, shares, shortcuts
from ncl_lightning.audit_page import write_findings
from ncl_lightning.audit_picture import Record, inspect
from ncl_lightning.errors import InputError
from ncl_lightning.faults import Fault, collected, report
from ncl_lightning.files import write_json
from ncl_lightning.function_command import run_typed
from ncl_lightning.images import Pair, other_files
from ncl_lightning.sources import BalancedSource, FileSource, open_source
from ncl_lightning.synthetic import SyntheticSource

_HEAD = ("split", "pictures", "tampered", "authentic", "patches authentic", "tampered", "contour")


def audit(
    train: list[str] | None = None,
    val: list[str] | None = None,
    test: list[str] | None = None,
    json: Path | None = None,
    html: Path | None = None,
    size: int = 512,
    stride: int = 16,
    workers: int | None = None,
) -> int:
    """Check data sources: faulty files and masks, copies within and across splits, shortcuts, patch shares.

    Exit code 1 where an error was found; warnings and notes leave it 0.

    Args:
        train: Sources to train on: folders, lists, manifests, benchmarks or `synthetic:FOLDER`; no mappings.
        val: Sources to validate on.
        test: Sources to test on, or a JSON mapping of names to sources; each is a split of its own.
        json: File to write the findings to: a list of {kind, severity, files, message, splits}.
        html: File to write a page with thumbnails to.
        size: Side of the frame that patches are counted in, in pixels; 0: each picture's own size.
        stride: Side of a patch in pixels.
        workers: Processes; by default one for each core, 0 for none besides this one.
    """
    splits = {"train": train or [], "val": val or [], **_tests(test or [])}
    splits = {name: sources for name, sources in splits.items() if sources}
    if not splits:
        raise InputError("audit: no data named; give --train SOURCE, --val SOURCE or --test SOURCE")
    if stride < 1 or size < 0:
        raise InputError(f"audit: size {size} and stride {stride}; give a size of 0 or more and a stride of 1 or more")
    findings: list[Finding] = []
    tasks: list[tuple[str, Pair, int, int]] = []
    for name, sources in splits.items():
        for source in sources:
            pairs, faults = walked(source)
            findings += of_faults(name, faults)
            tasks += [(name, pair, size, stride) for pair in pairs]
    console = Console()
    with Progress(console=console) as progress:
        bar = progress.add_task("looking into files", total=len(tasks))
        records: list[Record] = []
        for record in _inspected(tasks, os.cpu_count() or 1 if workers is None else workers):
            records.append(record)
            findings += of_faults(record.split, record.faults)
            progress.advance(bar)
        bar = progress.add_task("comparing pictures", total=1)
        findings += duplicates(records)
        progress.advance(bar)
        for name in splits:
            part = [record for record in records if record.split == name]
            findings += shortcuts(name, part) + shares(name, part)
        findings.sort(key=lambda f: (ORDER.index(f.severity), f.kind, f.splits, f.files))
        rows = [_HEAD, *(_overview(name, [r for r in records if r.split == name]) for name in splits)]
        if html:
            bar = progress.add_task("writing the page", total=len(findings))
            write_findings(html, findings, rows, checked(records), lambda: progress.advance(bar))
    if json:
        write_json(json, [vars(finding) for finding in findings])
    _show(console, rows, findings, checked(records))
    return int(any(finding.severity == "error" for finding in findings))


def walked(spec: str) -> tuple[list[Pair], list[Fault]]:
    """The pictures and masks of a source that can be looked into, and the faults of those that can't.

    Raises:
        InputError: A class of the user's own, which has no files.
    """
    if spec.lstrip().startswith("{"):
        raise InputError(
            f"audit: {spec}: a source class of one's own has no files to look into; "
            "write its pictures as a folder with Tp/, Gt/ and Au/, and audit that"
        )
    with collected() as faults:
        try:
            source = open_source(spec)
        except InputError as error:
            # nothing of it can be read
            report("bad-list" if Path(spec).is_file() else "layout", [spec], error.line)
            return [], faults
    if isinstance(source, SyntheticSource):
        return [Pair(photo, None) for photo in source.photos], faults
    assert isinstance(source, (FileSource, BalancedSource)), "classes of the user's own are refused above"
    folder = Path(spec)
    # what lies beside the folders of pictures is a list or a readme
    others = [file for file in other_files(folder) if file.parent != folder] if folder.is_dir() else []
    if others:
        kinds = Counter(file.suffix.lower() or "without a suffix" for file in others)
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        said = f"no pictures by their names, and not read: {listed}"
        faults.append(Fault("no-pictures", tuple(map(str, others)), said))
    return source.pairs, faults


def _tests(given: list[str]) -> dict[str, list[str]]:
    """Test sources by the name of their split."""
    if len(given) == 1 and given[0].lstrip().startswith("{"):
        try:
            named = jsonlib.loads(given[0])
        except ValueError as error:
            raise InputError(f'audit: --test {given[0]}: not JSON ({error}); write {{"NAME": "SOURCE"}}') from error
        if "class_path" in named:
            return {"test": given}
        if not all(isinstance(source, str) for source in named.values()):
            raise InputError(f"audit: --test {given[0]}: give each source as a string")
        return {f"test {name}": [source] for name, source in named.items()}
    return {"test": given}


def _quiet() -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _inspected(tasks: list[tuple[str, Pair, int, int]], workers: int) -> Iterator[Record]:
    """Records in the order of the tasks; few are in memory besides those handed over."""
    if workers < 1 or len(tasks) < 50:
        yield from map(inspect, tasks)
        return
    with ProcessPoolExecutor(workers, initializer=_quiet) as pool:
        yield from pool.map(inspect, tasks, chunksize=8)


def _overview(name: str, records: list[Record]) -> tuple[str, ...]:
    tampered = sum(record.mask is not None for record in records)
    parts = (f"{share:.1%}" if tampered else "–" for share in patch_shares(records))
    return (name, str(len(records)), str(tampered), str(len(records) - tampered), *parts)


def _show(console: Console, rows: list[tuple[str, ...]], findings: list[Finding], scope: str) -> None:
    table = Table(title="patch shares: of the tampered pictures")
    for number, cell in enumerate(rows[0]):
        table.add_column(cell, justify="right" if number else "left")
    for row in rows[1:]:
        table.add_row(*map(escape, row))
    console.print(table)
    if not findings:
        console.print(f"no faults: {scope}", markup=False, highlight=False)
        return
    table = Table(title="findings")
    for heading in ("severity", "kind", "split", "found", "files", "for example"):
        narrow = heading in ("severity", "kind")
        table.add_column(heading, justify="right" if heading in ("found", "files") else "left", no_wrap=narrow)
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind, ", ".join(finding.splits)), []).append(finding)
    for (severity, kind, split), group in groups.items():
        first = group[0]
        example = f"{Path(first.files[0]).name}: {first.message}" if first.files else first.message
        files = len({file for finding in group for file in finding.files})
        table.add_row(severity, kind, escape(split), str(len(group)), str(files), escape(example))
    console.print(table)
    counts = Counter(finding.severity for finding in findings)
    console.print(", ".join(f"{counts[severity]} {severity}s" for severity in ORDER))
    console.print(scope, markup=False, highlight=False)


def main() -> int:
    """Run the command line."""
    return int(run_typed(audit, _listed(sys.argv[2:]), as_positional=False) or 0)


def _listed(arguments: list[str]) -> list[str]:
    """`--test A B` as the parser takes lists: `--test+=A --test+=B`."""
    out: list[str] = []
    key = ""
    for argument in arguments:
        if argument.startswith("-"):
            option, equals, value = argument.partition("=")
            key = option if option in ("--train", "--val", "--test") else ""
            if not key:
                out.append(argument)
            elif equals:
                out.append(f"{key}+={value}")
        elif key:
            out.append(f"{key}+={argument}")
        else:
            out.append(argument)
    return out
