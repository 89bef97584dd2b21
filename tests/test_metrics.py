"""Scores against scikit-learn and against slow transcriptions of each definition, degenerate pictures among them."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter
from sklearn import metrics as sk
from torch import Tensor

from ncl_lightning import pixel_scores
from ncl_lightning.conventions import away_from
from ncl_lightning.image_level import image_scores
from ncl_lightning.image_table import ImageTable, Means, mean
from ncl_lightning.intervals import bootstrap_interval, paired_difference
from ncl_lightning.metrics import GRID, ImageScores

Batch = tuple[Tensor, Tensor, Tensor]
LARGEST: dict[str, float] = defaultdict(float)


@pytest.fixture(scope="module", autouse=True)
def _print_differences() -> Iterator[None]:
    """At the end (pytest -s): the largest difference of each comparison."""
    yield
    for name, value in sorted(LARGEST.items()):
        print(f"\n{name}: {value:.1e}", end="")


def agrees(name: str, ours: object, expected: object, tolerance: float = 1e-6) -> None:
    """Both NaN, or closer than the tolerance; the difference is kept."""
    a, b = np.asarray(ours, float), np.asarray(expected, float)
    assert a.shape == b.shape
    assert np.array_equal(np.isnan(a), np.isnan(b)), f"{name}: {a} and {b}"
    difference = float(np.abs(a - b)[~np.isnan(a)].max(initial=0.0))
    LARGEST[name] = max(LARGEST[name], difference)
    assert difference <= tolerance, f"{name}: {a} and {b}"


# pictures: random ones of three grades of ties, with padding, and every degenerate kind


def random_batch(seed: int, ties: int = 0, size: tuple[int, int] = (13, 17)) -> Batch:
    """(4,1,H,W) each: smooth or coarse maps, some authentic, some padded, one tampered all over."""
    g = torch.Generator().manual_seed(seed)
    probability = torch.rand(4, 1, *size, generator=g)
    if ties:
        probability = (probability * ties).round() / ties
    mask = torch.rand(4, 1, *size, generator=g) < torch.tensor([0.3, 0.05, 0.0, 1.0]).view(4, 1, 1, 1)
    valid = torch.ones_like(mask)
    valid[0, :, size[0] // 2 :] = False
    valid[3, :, :, size[1] // 2 :] = False
    return probability, mask, valid


def degenerate() -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """(1,1,4,4) each."""
    ramp = torch.linspace(0, 1, 16).view(1, 1, 4, 4)
    some = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    some[..., 1:3, 1:3] = True
    every, none = torch.ones_like(some), torch.zeros_like(some)
    return {
        "no tampered pixel": (ramp, none, every),
        "all tampered": (ramp, every, every),
        "constant": (torch.full_like(ramp, 0.7), some, every),
        "all zero": (torch.zeros_like(ramp), some, every),
        "exactly half": (torch.full_like(ramp, 0.5), some, every),
        "no valid pixel": (ramp, some, none),
        "one valid pixel": (ramp, every, none.index_put((torch.tensor([0]),) * 4, torch.tensor(True))),
        "tampered only in padding": (ramp, some, ~some),
        "negative zero": (ramp * 0 * torch.tensor([-1.0, 1, -1, 1]), some, every),
    }


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    """Images of a batch."""
    p, m, v = batch
    return p[rows], m[rows], v[rows]


BATCHES = [random_batch(seed, ties) for seed in range(6) for ties in (0, 7, 2)]
CASES = [rows_of(batch, [i]) for batch in BATCHES for i in range(4)] + list(degenerate().values())


def flat(probability: Tensor, mask: Tensor, valid: Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The valid pixels of one image."""
    return probability[valid].double().numpy(), mask[valid].numpy().astype(bool)


def one_image(case: Batch, **kwargs: object) -> dict[str, Tensor]:
    metric = ImageScores(1, **kwargs)  # type: ignore[arg-type]
    metric.update(*case, torch.tensor([0]))
    return {name: value[0] for name, value in metric.per_image().items()}


# against scikit-learn


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_pixel_scores_match_sklearn(case: Batch, threshold: float) -> None:
    p, m = flat(*case)
    ours = one_image(case, threshold=threshold)
    called = p > np.float32(threshold)
    undefined = float("nan")
    expected = dict.fromkeys(("f1", "iou", "precision", "recall", "f1_permuted", "f1_all_tampered"), undefined)
    if m.any():
        f1 = sk.f1_score(m, called, zero_division=0)
        expected = {
            "f1": f1,
            "iou": sk.jaccard_score(m, called, zero_division=0),
            "precision": sk.precision_score(m, called, zero_division=0),
            "recall": sk.recall_score(m, called),
            "f1_permuted": max(f1, sk.f1_score(m, ~called, zero_division=0)),
            "f1_all_tampered": sk.f1_score(m, np.ones_like(m)),
        }
    expected["accuracy"] = sk.accuracy_score(m, called) if len(m) else undefined
    expected["fpr"] = called[~m].mean() if (~m).any() else undefined
    for name, value in expected.items():
        agrees(f"sklearn {name}", ours[name], value)


@pytest.mark.parametrize("case", CASES)
def test_auc_matches_sklearn(case: Batch) -> None:
    p, m = flat(*case)
    expected = sk.roc_auc_score(m, p) if m.any() and not m.all() else float("nan")
    agrees("sklearn auc", pixel_scores.auc(*case)[0], expected)
    agrees("sklearn auc", one_image(case)["auc"], expected)


@pytest.mark.parametrize("case", CASES)
def test_average_precision_matches_sklearn(case: Batch) -> None:
    p, m = flat(*case)
    expected = sk.average_precision_score(m, p) if m.any() else float("nan")
    agrees("sklearn average precision", one_image(case)["ap"], expected, 1e-9)


SPECIAL = [0.0, -0.0, 1e-45, 1.1754942e-38, 1.1754944e-38, 1e-7, 0.1, 0.5, 0.50000006, 0.99999994, 1.0]
"""Exact 0 and 1, subnormal floats, and neighbours."""


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.one_of(st.sampled_from(SPECIAL), st.floats(0, 1, width=32)), st.booleans(), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from(["both", "tampered", "authentic"]),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.booleans(),
)
def test_any_pixels_match_sklearn(
    pixels: list[tuple[float, bool, bool]], kind: str, dtype: torch.dtype, constant: bool
) -> None:
    values, labels, inside = (torch.tensor(column).view(1, 1, 1, -1) for column in zip(*pixels, strict=True))
    if kind != "both":
        labels = torch.full_like(labels, kind == "tampered")
    if constant:
        values = torch.full_like(values, values[0, 0, 0, 0].item())
    case = (values.to(dtype), labels, inside)
    p, m = flat(values.to(dtype).float(), labels, inside)
    row, nan = one_image(case), float("nan")
    agrees("any auc", row["auc"], sk.roc_auc_score(m, p) if m.any() and not m.all() else nan, 1e-12)
    agrees("any average precision", row["ap"], sk.average_precision_score(m, p) if m.any() else nan, 1e-9)
    cuts = [p > t for t in (-1.0, *p)]
    best = max(2 * (cut & m).sum() / (cut.sum() + m.sum()) for cut in cuts) if m.any() else nan
    agrees("any best f1", row["f1_best"], best, 1e-12)
    assert int(row["tp"]) == (m & (p > 0.5)).sum()
    assert int(row["fp"]) == (~m & (p > 0.5)).sum()
    assert row["score"].item() == p.max() if len(p) else row["score"].isnan()
    if m.any():
        chosen = p > row["threshold_best"].item()
        assert ((chosen & m).sum(), (chosen & ~m).sum()) == (row["best_tp"], row["best_fp"])


@pytest.mark.parametrize("preset", [None, "trufor"])
def test_any_batches_give_the_same_bits(preset: str | None) -> None:
    batch, tables = random_batch(1, ties=7, size=(64, 64)), []
    for step in (1, 3, 4):
        metric = ImageScores(4, preset=preset)
        for rows in torch.arange(4).split(step):
            metric.update(*rows_of(batch, rows.tolist()), rows)
        tables.append([metric.counts, metric.curves, metric.floats])
    for table in tables[1:]:
        assert all(map(torch.equal, tables[0], table))


def test_the_maps_given_stay_as_they_are() -> None:
    batch = random_batch(0)
    kept = [tensor.clone() for tensor in batch]
    ImageScores(4).update(*batch, torch.arange(4))
    assert all(map(torch.equal, batch, kept))


@pytest.mark.parametrize("case", CASES)
def test_best_f1_matches_sklearn(case: Batch) -> None:
    p, m = flat(*case)
    row = one_image(case)
    best, threshold = row["f1_best"], row["threshold_best"]
    if not m.any():
        assert torch.isnan(best)
        return
    precision, recall, _ = sk.precision_recall_curve(m, p)
    expected = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
    agrees("sklearn best f1", best, expected)
    # the threshold that is named reaches it
    agrees("f1 at the best threshold", sk.f1_score(m, p > threshold.item(), zero_division=0), best)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 0.9, 1.0]), st.booleans()), min_size=2, max_size=40)
)
def test_auc_of_any_ties(pixels: list[tuple[float, bool]]) -> None:
    p = torch.tensor([value for value, _ in pixels]).view(1, 1, 1, -1)
    m = torch.tensor([label for _, label in pixels]).view(1, 1, 1, -1)
    case = (p, m, torch.ones_like(m))
    values, labels = flat(*case)
    wins = [float(a > b) + 0.5 * float(a == b) for a in values[labels] for b in values[~labels]]
    agrees("pairwise auc", pixel_scores.auc(*case)[0], np.mean(wins) if wins else float("nan"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0, 3, 50]), st.booleans())
def test_best_cut_is_exhaustive(seed: int, ties: int, inverted: bool) -> None:
    case = random_batch(seed, ties, (3, 5))
    for i in range(4):
        (ranked,) = pixel_scores.each(lambda image: image, *rows_of(case, [i]))
        tp, fp, threshold = pixel_scores.best_cut(ranked, pixel_scores.steps_of(ranked), inverted)
        p, m = flat(*rows_of(case, [i]))
        cuts = [(p <= t) if inverted else (p > t) for t in (-1.0, *p)]
        best = max(2 * (c & m).sum() / max(1, c.sum() + m.sum()) for c in cuts)
        agrees("exhaustive best", 2 * tp / max(1, tp + fp + ranked.positives), best)
        chosen = (p <= threshold) if inverted else (p > threshold)
        assert ((chosen & m).sum(), (chosen & ~m).sum()) == (tp, fp)


@pytest.mark.parametrize("batch", BATCHES)
def test_counts_at_every_threshold(batch: Batch) -> None:
    counts = np.stack(pixel_scores.each(lambda image: pixel_scores.counts_above(image, GRID), *batch))
    for k in range(0, 101, 10):
        for i in range(len(counts)):
            p, m = flat(*rows_of(batch, [i]))
            called = p > GRID[k].item()
            assert counts[i, :, k].tolist() == [(called & m).sum(), (called & ~m).sum()]


@pytest.mark.parametrize("name", degenerate())
def test_degenerate_pictures(name: str) -> None:
    row = one_image(degenerate()[name])
    nan = float("nan")
    # f1, auc, accuracy
    expected = {
        "no tampered pixel": (nan, nan, 0.5),
        "all tampered": (2 / 3, nan, 0.5),
        "constant": (0.4, 0.5, 0.25),
        "all zero": (0, 0.5, 0.75),
        "exactly half": (0, 0.5, 0.75),
        "no valid pixel": (nan, nan, nan),
        "one valid pixel": (0, nan, 0),
        "tampered only in padding": (nan, nan, 0.5),
        "negative zero": (0, 0.5, 0.75),
    }[name]
    agrees("degenerate", [row["f1"], row["auc"], row["accuracy"]], expected)
    empty = name == "no valid pixel"
    assert bool(row["tampered"]) == (name not in ("no tampered pixel", "no valid pixel", "tampered only in padding"))
    assert bool(row["authentic"]) == (not row["tampered"] and not empty)
    assert bool(row["score"].isnan()) == empty


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types(dtype: torch.dtype) -> None:
    p, m, v = random_batch(0)
    p = p.to(dtype)
    a, b = ImageScores(4), ImageScores(4)
    a.update(p, m.to(torch.uint8), v, torch.arange(4))
    b.update(p.float(), m, v, torch.arange(4))
    assert {k: v.tolist() for k, v in a.compute().items() if not v.isnan()} == {
        k: v.tolist() for k, v in b.compute().items() if not v.isnan()
    }


# sets


@pytest.fixture
def everything() -> ImageScores:
    metric = ImageScores(100)
    for k, batch in enumerate(BATCHES[:5]):
        metric.update(*batch, torch.arange(4) + 4 * k)
    metric.update(*degenerate()["no valid pixel"], torch.tensor([99]))
    return metric


def test_means_are_over_tampered_images(everything: ImageScores) -> None:
    out, rows = everything.compute(), everything.per_image()
    assert [int(out[f"{k}images"]) for k in ("", "tampered_", "authentic_", "empty_")] == [21, 15, 5, 1]
    for name in ("f1", "iou", "auc", "ap", "accuracy", "f1_best", "f1_all_tampered"):
        agrees("means", out[name], np.nanmean(rows[name][rows["tampered"]]))
    agrees("means", out["fpr_authentic"], rows["fpr"][rows["authentic"]].mean())
    assert rows["index"].tolist() == [*range(20), 99]
    assert (rows["f1_best"] >= torch.maximum(rows["f1"], rows["f1_all_tampered"]))[rows["tampered"]].all()


def test_curve_and_best_threshold_of_the_set(everything: ImageScores) -> None:
    curve, out = everything.curve(), everything.compute()
    agrees("curve", curve["f1"][50], out["f1"])
    agrees("curve", curve["iou"][50], out["iou"])
    agrees("curve", curve["fpr_authentic"][50], out["fpr_authentic"])
    best = int(curve["f1"].argmax())
    agrees("curve", [out["f1_best_set"], out["threshold_best_set"]], [curve["f1"][best], best / 100])
    assert out["f1_best_set"] <= out["f1_best"]
    assert curve["recall"][0] >= curve["recall"][100] == 0
    assert curve["pooled_precision"][100].isnan()


def test_repeats_do_not_count_and_sizes_may_differ() -> None:
    a, b = ImageScores(5), ImageScores(5)
    small, large = random_batch(1), random_batch(2, size=(20, 9))
    for metric in (a, b):
        metric.update(*rows_of(small, [0, 1]), torch.tensor([3, 0]))
        metric.update(*rows_of(large, [0]), torch.tensor([4]))
    b.update(*rows_of(small, [1, 1]), torch.tensor([0, 0]))
    assert all(torch.equal(x, y) for x, y in zip(a.compute().values(), b.compute().values(), strict=True) if x == x)
    assert a.compute()["images"] == 3


def test_state_does_not_grow_with_pixels() -> None:
    metric = ImageScores(10)
    before = state_bytes(metric)
    metric.update(*random_batch(0, size=(64, 64)), torch.arange(4))
    assert state_bytes(metric) == before < 10 * 1024


def state_bytes(metric: ImageScores) -> int:
    states = [getattr(metric, name) for name in metric._defaults]
    # MPS has no float64
    assert all(state.dtype != torch.float64 for state in states)
    return sum(state.numel() * state.element_size() for state in states)


def test_bad_probabilities_are_named() -> None:
    p, m, v = random_batch(0)
    p[0][~v[0]] = float("nan")  # in the padding anything goes
    for value in (float("nan"), -0.1, -1e-30, 1.0001, 2.0, 1e9, float("inf"), -float("inf")):
        p[1, 0, 5, 5] = value
        metric = ImageScores(8)
        metric.update(p, m, v, torch.arange(4) + 2)
        with pytest.raises(ValueError, match="image 3 of the set"):
            metric.compute()
    p[1, 0, 5, 5] = 1.0
    metric.update(p, m, v, torch.arange(4) + 2)
    metric.compute()
    metric.update(p, m, v, torch.arange(4) + 2, score=torch.tensor([0.1, 0.2, 0.3, 3.0]))
    with pytest.raises(ValueError, match="image 5 of the set"):
        metric.compute()


def test_an_image_score_of_the_network_s_own() -> None:
    metric = ImageScores(4)
    metric.update(*random_batch(0), torch.arange(4), score=torch.tensor([0.9, 0.8, 0.1, 0.7], dtype=torch.float16))
    out = metric.compute()
    assert out["image_auc"] == out["image_f1"] == out["image_harmonic"] == 1
    assert out["image_com_f1"] == 2 * out["f1"] / (1 + out["f1"])


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
def test_pictures_and_pixels_are_called_at_one_threshold(threshold: float) -> None:
    """In float32 a map's .4 is more than .4, and no pixel above the threshold that is stored alike."""
    probability = torch.full((2, 1, 4, 4), threshold)
    mask = torch.zeros_like(probability, dtype=torch.bool)
    mask[0, 0, 0, 0] = True
    scores = ImageScores(2, threshold=threshold)
    scores.update(probability, mask, torch.ones_like(mask), torch.arange(2), authentic=torch.tensor([False, True]))
    found = scores.compute()
    assert found["recall"] == found["fpr_authentic"] == 0
    assert (found["image_sensitivity"], found["image_specificity"]) == (0, 1)


def test_mvss_keeps_an_image_score_as_it_keeps_a_map() -> None:
    mask = torch.tensor([1, 0])[:, None, None, None].expand(2, 1, 2, 2).bool()
    for score in (None, torch.tensor([0.501, 0.501])):
        scores = ImageScores(2, preset="mvss")
        scores.update(torch.full((2, 1, 2, 2), 0.501), mask, torch.ones_like(mask), torch.arange(2), score)
        # 127 of 255
        assert scores.compute()["image_sensitivity"] == 0


def test_wrong_calls() -> None:
    p, m, v = random_batch(0)
    metric = ImageScores(4)
    with pytest.raises(IndexError, match="outside"):
        metric.update(p, m, v, torch.tensor([0, 1, 2, 4]))
    with pytest.raises(IndexError, match="outside"):
        metric.update(p, m, v, torch.tensor([0, 1, 2, -1]))
    with pytest.raises(ValueError, match="should be"):
        metric.update(p[:, 0], m, v, torch.arange(4))
    with pytest.raises(ValueError, match="indices"):
        metric.update(p, m, v, torch.arange(3))
    with pytest.raises(ValueError, match="preset"):
        ImageScores(4, preset="nist")
    with pytest.raises(ValueError, match="threshold"):
        ImageScores(4, threshold=50)


def test_image_table() -> None:
    table = ImageTable(6, ["a", "b"])
    nan = float("nan")
    table.update(torch.tensor([4, 1]), torch.tensor([[1.0, nan], [3.0, -2.0]]))
    table.update(torch.tensor([4]), torch.tensor([[1.0, nan]]))
    assert table.seen.nonzero().flatten().tolist() == [1, 4]
    agrees("table", table.values[[1, 4], 1], [-2, nan])
    agrees("table", [table.compute()[k] for k in "ab"], [2, -2])
    with pytest.raises(ValueError, match="should be"):
        table.update(torch.tensor([0]), torch.zeros(1, 3))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.6, 1.0]), st.booleans()), min_size=1, max_size=20))
def test_image_level_matches_sklearn(images: list[tuple[float, bool]]) -> None:
    score, label = torch.tensor([s for s, _ in images]), torch.tensor([t for _, t in images])
    ours, called, truth = image_scores(score, label), score.numpy() > 0.5, label.numpy()
    nan = float("nan")
    both = truth.any() and not truth.all()
    agrees("image auc", ours["image_auc"], sk.roc_auc_score(truth, score) if both else nan)
    agrees("image accuracy", ours["image_accuracy"], sk.accuracy_score(truth, called))
    agrees("image f1", ours["image_f1"], sk.f1_score(truth, called, zero_division=0) if truth.any() else nan)
    balanced = sk.balanced_accuracy_score(truth, called) if both else nan
    agrees("image balanced accuracy", ours["image_balanced_accuracy"], balanced)


# the named conventions, slowly


def preset(name: str, cases: list[Batch]) -> dict[str, float]:
    metric = ImageScores(len(cases), preset=name)
    for i, case in enumerate(cases):
        metric.update(*case, torch.tensor([i]))
    return {key: value.item() for key, value in metric.compute().items()}


def blobs(seed: int) -> list[Batch]:
    """(1,1,H,W) images with regions wider than TruFor's margins, maps of three grades of ties, authentic ones last."""
    g = torch.Generator().manual_seed(seed)
    cases = []
    for k in range(6):
        h, w = (int(x) for x in torch.randint(30, 60, (2,), generator=g))
        mask = torch.zeros(1, 1, h, w, dtype=torch.bool)
        if k < 4:
            mask[..., 2 : 2 + h // 2, w // 3 : w // 3 + (20 if k else 5)] = True
        probability = (torch.rand(mask.shape, generator=g) + 0.2 * mask * (k != 2)).clamp(0, 1)
        if k == 5:
            probability = probability * 0.45
        if k == 1:
            probability = (probability * 4).round() / 4
        if k == 3:
            probability = torch.full_like(probability, 0.502)  # between 0.5 and 128/255
        cases.append((probability, mask, torch.ones_like(mask)))
    return cases


@pytest.mark.parametrize("seed", range(4))
def test_benco(seed: int) -> None:
    cases = blobs(seed)
    per: dict[str, list[float]] = defaultdict(list)
    for p, m, _ in cases:
        called, truth = (p > 0.5).float(), m.float()
        counts = [(a * b).sum() for a in (called, 1 - called) for b in (truth, 1 - truth)]
        tp, fp, fn, tn = counts

        def f1(tp: Tensor, fp: Tensor, fn: Tensor) -> float:
            precision, recall = tp / (tp + fp + 1e-8), tp / (tp + fn + 1e-8)
            return float(2 * precision * recall / (precision + recall + 1e-8))

        per["f1"].append(f1(tp, fp, fn))
        per["f1_permuted"].append(max(f1(tp, fp, fn), f1(fn, tn, tp)))
        per["iou"].append(float(tp / (called.sum() + truth.sum() - tp + 1e-8)))
        per["accuracy"].append(float((tp + tn) / (tp + fp + fn + tn)))
        order = truth.flatten()[torch.argsort(p.flatten(), descending=True, stable=True)].double()
        rates = order.cumsum(0) / order.sum(), (1 - order).cumsum(0) / (1 - order).sum()
        area = float(torch.trapezoid(*rates)) if truth.any() else 0.0
        # their order within a tie is whatever the sort leaves: the right one stands in
        tie = len(p.unique()) < p.numel() and bool(truth.any())
        per["auc"].append(sk.roc_auc_score(truth.flatten(), p.flatten()) if tie else area)
    ours = preset("benco", cases)
    tampered = [bool(m.any()) for _, m, _ in cases]
    for name, values in per.items():
        agrees(f"benco {name}", ours[name], np.mean(np.array(values)[tampered]))
        agrees(f"benco {name}", ours[f"{name}_all_images"], np.mean(values))
    score = np.array([p.max().item() for p, _, _ in cases])
    agrees("benco image_auc", ours["image_auc"], sk.roc_auc_score(tampered, score))
    agrees("benco image_f1", ours["image_f1"], sk.f1_score(tampered, score > 0.5))
    agrees("benco image_accuracy", ours["image_accuracy"], sk.accuracy_score(tampered, score > 0.5))


@pytest.mark.parametrize("seed", range(4))
def test_mvss(seed: int) -> None:
    cases = blobs(seed)
    f1s, picture_scores, labels = [], [], []
    for p, m, _ in cases:
        picture = p[0, 0].mul(255).byte().numpy() / 255.0
        truth = m[0, 0].numpy()
        picture_scores.append(picture.max())
        labels.append(bool(truth.any()))
        if truth.any():
            called = picture > 0.5
            tp, fp, fn = (called & truth).sum(), (called & ~truth).sum(), (~called & truth).sum()
            f1s.append(2 * tp / (2 * tp + fp + fn + 1e-6))
    called, truth = np.array(picture_scores) > 0.5, np.array(labels)
    sensitivity = (called & truth).sum() / (truth.sum() + 1e-6)
    specificity = (~called & ~truth).sum() / ((~truth).sum() + 1e-6)
    image_f1 = 2 * sensitivity * specificity / (sensitivity + specificity)
    f1 = np.mean(f1s)
    ours = preset("mvss", cases)
    agrees("mvss f1", ours["f1"], f1)
    agrees("mvss image_f1", ours["image_f1"], image_f1)
    agrees("mvss image_auc", ours["image_auc"], sk.roc_auc_score(truth, picture_scores))
    agrees("mvss image_com_f1", ours["image_com_f1"], 2 * f1 * image_f1 / (image_f1 + f1 + 1e-6))
    accuracy = (called == truth).sum() / (len(truth) + 1e-6)
    agrees("mvss image_accuracy", ours["image_accuracy"], accuracy)
    assert preset("mvss", cases[:4])["image_auc"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_trufor(seed: int) -> None:
    cases = blobs(seed)
    best, fixed, picture_scores, labels = [], [], [], []
    for p, m, _ in cases:
        values, truth = p[0, 0].numpy(), m[0, 0].numpy()
        picture_scores.append(values.max())
        labels.append(bool(truth.any()))
        if not truth.any():
            continue
        inner, outer = minimum_filter(truth, 15), ~maximum_filter(truth, 11)
        v, t = values[inner | outer], truth[inner | outer]

        def f1(called: NDArray[np.bool_], t: NDArray[np.bool_]) -> float:
            tp = (called & t).sum()
            return float(2 * tp / max(2 * tp + (called & ~t).sum() + (~called & t).sum(), 1e-32))

        best.append(max(max(f1(v > x, t), f1(v <= x, t)) for x in np.unique(v)))
        one_class = len(set((v > 0.5).tolist()) | set(t.tolist())) == 1
        fixed.append(float("nan") if one_class else max(f1(v > 0.5, t), f1(v <= 0.5, t)))
    ours = preset("trufor", cases)
    agrees("trufor f1", ours["f1"], np.nanmean(fixed))
    agrees("trufor f1_best", ours["f1_best"], np.nanmean(best))
    agrees("trufor image_auc", ours["image_auc"], sk.roc_auc_score(labels, picture_scores))
    balanced = sk.balanced_accuracy_score(labels, np.array(picture_scores) > 0.5)
    agrees("trufor image_balanced_accuracy", ours["image_balanced_accuracy"], balanced)


@pytest.mark.parametrize("size", [11, 15])
def test_trufor_neighbourhoods_match_scipy(size: int) -> None:
    pixels = torch.rand(2, 1, 23, 9, generator=torch.Generator().manual_seed(size)) < 0.01
    expected = np.stack([~maximum_filter(one[0].numpy(), size) for one in pixels])
    assert np.array_equal(away_from(pixels, size)[:, 0].numpy(), expected)


def test_trufor_padding_is_outside_of_the_picture() -> None:
    p, m, v = blobs(0)[1]
    pad = torch.nn.functional.pad
    padded = (pad(p, (0, 9, 0, 20), value=0.9), pad(m, (0, 9, 0, 20), value=True), pad(v, (0, 9, 0, 20)))
    assert preset("trufor", [(p, m, v)])["f1"] == preset("trufor", [padded])["f1"]


# intervals


def test_bootstrap_interval() -> None:
    x = np.random.default_rng(1).normal(0.6, 0.1, 400)
    low, high = bootstrap_interval(x)
    assert (low, high) == bootstrap_interval(torch.tensor([*x, float("nan")]))
    # close to the normal interval of a mean
    agrees("interval", [low, high], x.mean() + np.array([-1.96, 1.96]) * x.std() / 20, tolerance=1e-3)
    assert bootstrap_interval([0.25]) == (0.25, 0.25)
    assert np.isnan(bootstrap_interval([])).all()
    narrow = bootstrap_interval(x, level=0.5)
    assert low < narrow[0] < narrow[1] < high
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval(x, level=95)


def test_paired_difference_sees_what_intervals_hide() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 1, 100)
    a, b = hard + 0.01 + rng.normal(0, 0.005, 100), hard
    difference, low, high = paired_difference(a, b)
    assert 0 < low < difference < high
    assert bootstrap_interval(a)[0] < bootstrap_interval(b)[1]
    assert paired_difference(a, a) == (0, 0, 0)
    a[3] = np.nan
    agrees("paired", paired_difference(a, b)[0], np.nanmean(a - b))
    with pytest.raises(ValueError, match="pair the same images"):
        paired_difference(a, b[1:])


def test_intervals_of_a_set(everything: ImageScores) -> None:
    out = everything.compute()
    for name, (low, high) in everything.intervals(draws=200).items():
        # no threshold of validation: no score at it
        assert low <= out[name] <= high or (name == "f1_val" and out[name].isnan())


@pytest.mark.parametrize("threshold", [0.0, 0.29, 0.5, 0.57, 1.0])
def test_f1_at_the_threshold_of_validation(threshold: float) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(5, 1, 12, 14, generator=generator)
    # pixels that lie on a threshold are not above it
    maps[:, :, 0] = threshold
    masks = torch.rand(5, 1, 12, 14, generator=generator) < 0.3
    masks[4] = False
    metric = ImageScores(5, val_threshold=threshold)
    metric.update(maps, masks, torch.ones_like(masks), torch.arange(5))
    cut = torch.tensor(round(threshold * 100)).float() / 100
    expected = [
        sk.f1_score(mask.flatten(), (p > cut).flatten(), zero_division=0)
        for p, mask in zip(maps[:4], masks[:4], strict=True)
    ]
    found = metric.per_image()["f1_val"]
    assert found[:4].tolist() == pytest.approx(expected, abs=1e-12)
    assert found[4].isnan()
    assert metric.compute()["f1_val"] == pytest.approx(np.mean(expected), abs=1e-12)


def test_mean_is_rounded_once() -> None:
    x = torch.tensor([1e16, 1.0, -1e16, float("nan")], dtype=torch.float64)
    assert mean(x) == mean(x.flip(0)) == 1 / 3


def test_an_empty_batch_has_no_scores() -> None:
    nothing = torch.zeros(0, 1, 4, 4)
    assert pixel_scores.auc(nothing, nothing, nothing.bool()).shape == (0,)


def test_threads_change_nothing() -> None:
    """Large images are shared out among threads; the counts are the same whatever their number."""
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(5, 1, 256, 260, generator=generator).mul(50).round() / 50
    mask = torch.rand(5, 1, 256, 260, generator=generator) < probability
    valid = torch.ones_like(mask)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            metric = ImageScores(5)
            metric.update(probability, mask, valid, torch.arange(5))
            found.append((metric.counts.clone(), metric.curves.clone(), metric.floats.clone()))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    expected = sk.roc_auc_score(mask[4].flatten(), probability[4].flatten())
    assert pixel_scores.auc(probability, mask, valid)[4].item() == pytest.approx(expected, abs=1e-12)


def test_a_tampered_picture_whose_region_is_lost_is_no_authentic_one() -> None:
    """Reduced to nothing; the map is right about it, and about an authentic one."""
    mask = torch.zeros(3, 1, 8, 8, dtype=torch.bool)
    mask[0, :, :4] = True
    probability = mask * 0.9
    probability[1, 0, 0, 0] = 0.9
    scores = ImageScores(3)
    every = torch.ones_like(mask)
    scores.update(probability, mask, every, torch.arange(3), authentic=torch.tensor([False, False, True]))
    found = scores.compute()
    assert [int(found[f"{kind}_images"]) for kind in ("tampered", "authentic", "empty")] == [1, 1, 1]
    assert found["fpr_authentic"] == 0
    assert found["image_auc"] == found["image_accuracy"] == found["f1"] == 1
    rows = scores.per_image()
    assert rows["tampered"].tolist() == [True, False, False]
    assert rows["authentic"].tolist() == [False, False, True]
    assert scores.curve()["fpr_authentic"].max() <= 1
    # by the mask alone, where nothing else is said
    scores.update(probability, mask, every, torch.arange(3))
    assert int(scores.compute()["authentic_images"]) == 2


def test_means_of_rows_that_come_again() -> None:
    means = Means(["a", "b"])
    means.update(torch.tensor([[1.0, torch.nan], [2.0, 4.0]]))
    means.update(torch.tensor([[6.0, torch.nan]]))
    assert {name: float(value) for name, value in means.compute().items()} == {"a": 3.0, "b": 4.0}
    assert Means(["a"]).compute()["a"].isnan()
