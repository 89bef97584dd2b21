"""The loss against a loop that transcribes the equations, against an outside oracle, and by its properties."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import NTXentLoss
from pytorch_metric_learning.reducers import DoNothingReducer
from torch import Tensor
from torch.nn.functional import normalize

from ncl_lightning import infonce
from ncl_lightning import loss as loss_module
from ncl_lightning.infonce import anchor_contrast, branch_contrast, draw_anchors, image_contrast, sort_patches
from ncl_lightning.loss import NCLLoss, localization, pivot_consistency
from ncl_lightning.network import PivotOutput
from ncl_lightning.patches import AUTHENTIC, CONTOUR, TAMPERED, VOID, Branch

STRIDE = 4
A, T, C, V = AUTHENTIC, TAMPERED, CONTOUR, VOID
ROLES = ["switch", "ignore", "tampered", "authentic"]
KINDS = ["all", "exclusive", "contour"]
# one image each, eight patches
LAYOUTS = {
    "all kinds": [T, T, T, C, C, A, A, A],
    "with voids": [T, V, T, C, A, A, V, C],
    "one tampered": [T, A, A, A, A, A, A, A],
    "one tampered, one contour": [T, C, A, A, A, A, A, A],
    "one of each side": [T, A, V, V, V, V, V, V],
    "one of each kind": [T, A, C, V, V, V, V, V],
    "none tampered": [A] * 8,
    "all tampered": [T] * 8,
    "contour only": [C] * 8,
    "contour and authentic": [C, C, C, A, A, A, A, A],
    "contour and tampered": [C, C, C, T, T, T, T, T],
    "all void": [V] * 8,
}


# the slow, obvious transcription


def slow_groups(role: str, branch: str) -> tuple[set[int], set[int]]:
    if role == "switch":
        return ({T, C}, {A}) if branch == "tampered" else ({T}, {A, C})
    return {"ignore": ({T}, {A}), "tampered": ({T, C}, {A}), "authentic": ({T}, {A, C})}[role]


def slow_anchor(z: Tensor, i: int, positives: list[int], negatives: list[int], temperature: float) -> Tensor:
    def e(k: int) -> Tensor:
        return torch.exp(torch.dot(z[i], z[k]) / temperature)

    terms = [-torch.log(e(p) / (e(p) + sum(e(n) for n in negatives))) for p in positives]
    return sum(terms, torch.zeros(())) / len(terms)


def slow_image(z: Tensor, categories: list[int], role: str, branch: str, temperature: float) -> Tensor:
    groups = [[i for i, c in enumerate(categories) if c in group] for group in slow_groups(role, branch)]
    if not groups[0] or not groups[1]:
        return torch.zeros((), dtype=z.dtype)
    means = []
    for own, other in (groups, groups[::-1]):
        terms = [slow_anchor(z, i, [p for p in own if p != i], other, temperature) for i in own if len(own) > 1]
        if terms:
            means.append(sum(terms, torch.zeros(())) / len(terms))
    return sum(means, torch.zeros(())) / len(means) if means else torch.zeros((), dtype=z.dtype)


def slow_ncl(zt: Tensor, za: Tensor, categories: list[list[int]], role: str, temperature: float) -> Tensor:
    total = torch.zeros((), dtype=zt.dtype)
    for z, branch in ((zt, "tampered"), (za, "authentic")):
        for i, image in enumerate(categories):
            total = total + slow_image(z[i], image, role, branch, temperature) / len(categories) / 2
    return total


def slow_pc(zt: Tensor, za: Tensor, categories: list[list[int]], kind: str, role: str) -> Tensor:
    total = torch.zeros((), dtype=zt.dtype)
    kinds = {"all": {T, A, C}, "exclusive": {T, A}, "contour": {C}}[kind]
    if role == "ignore":
        kinds = kinds - {C}
    for i, image in enumerate(categories):
        members = [n for n, c in enumerate(image) if c in kinds]
        for n in members:
            total = total + (1 - torch.dot(zt[i, n], za[i, n])) / len(members) / len(categories)
    return total


def slow_seg(logits: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
    total = torch.zeros((), dtype=logits.dtype)
    for x, m, v in zip(logits.flatten(1), mask.flatten(1), valid.flatten(1), strict=True):
        pixels = [(x[k].sigmoid(), float(m[k])) for k in range(len(x)) if v[k]]
        if not pixels:
            continue
        bce = sum(-torch.log(p) if t else -torch.log(1 - p) for p, t in pixels) / len(pixels)
        overlap = 2 * sum(p * t for p, t in pixels) + 1
        dice = 1 - overlap / (sum(p + t for p, t in pixels) + 1)
        total = total + (bce + dice) / len(logits)
    return total


# cases


def pictures(categories: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Masks and validity (B,1,4,4·N) whose patches have these categories, in one row."""
    shape = (len(categories), 1, STRIDE, STRIDE * len(categories[0]))
    mask, valid = torch.zeros(shape), torch.ones(shape, dtype=torch.bool)
    for i, image in enumerate(categories):
        for n, category in enumerate(image):
            columns = slice(n * STRIDE, (n + 1) * STRIDE)
            if category == T:
                mask[i, :, :, columns] = 1
            elif category == C:
                mask[i, :, 1:3, columns] = 1
            elif category == V:
                valid[i, :, 0, n * STRIDE] = False
                mask[i, :, 2, columns] = 1
    return mask, valid


def embeddings(batch: int, patches: int, d: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    """Free vectors (2,B,N,d) as a leaf, and both branches' embeddings of them."""
    free = torch.randn(2, batch, patches, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    free = free.to(dtype).requires_grad_()
    z = normalize(free, dim=-1)
    return free, z[0], z[1]


def output(zt: Tensor | None, za: Tensor | None, mask: Tensor, seed: int = 1) -> PivotOutput:
    dtype = torch.float64 if zt is None else zt.dtype
    logits = torch.randn(mask.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    return PivotOutput(zt, za, None, logits.requires_grad_())


def at_angles(*degrees: float) -> Tensor:
    return torch.tensor([[math.cos(math.radians(x)), math.sin(math.radians(x))] for x in degrees], dtype=torch.float64)[
        None
    ]


def weights_only(**options: Any) -> dict[str, Any]:
    return {"stride": STRIDE, "temperature": 0.5, "lambda_ncl": 0.7, "lambda_pc": 0.3, **options}


def assert_same(
    ours: Callable[[], Tensor], expected: Callable[[], Tensor], leaf: Tensor, tolerance: float = 1e-10
) -> float:
    """Values and gradients by the leaf; returns the largest difference."""
    values = [ours(), expected()]
    gradients = [
        torch.autograd.grad(v, leaf, allow_unused=True, retain_graph=True)[0] if v.requires_grad else None
        for v in values
    ]
    assert gradients[0] is not None, "the graph was lost"
    other = torch.zeros_like(leaf) if gradients[1] is None else gradients[1]
    difference = max(abs(float((values[0] - values[1]).detach())), float((gradients[0] - other).abs().max()))
    assert difference < tolerance
    return difference


# against the loop


@pytest.mark.parametrize("branch", ["tampered", "authentic"])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_contrast_is_that_of_the_loop(name: str, role: Any, branch: Any) -> None:
    categories = [LAYOUTS[name]]
    free, z, _ = embeddings(1, 8, seed=len(name))
    assert_same(
        lambda: branch_contrast(z, sort_patches(torch.tensor(categories)), branch, 0.3, role).mean(),
        lambda: slow_image(z[0], categories[0], role, branch, 0.3),
        free,
    )


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_total_and_its_terms_are_those_of_the_loop(role: Any, kind: Any) -> None:
    categories = list(LAYOUTS.values())
    mask, valid = pictures(categories)
    free, zt, za = embeddings(len(categories), 8)
    out = output(zt, za, mask)
    expected = {
        "seg": slow_seg(out.logits, mask, valid),
        "ncl": slow_ncl(zt, za, categories, role, 0.5),
        "pc": slow_pc(zt, za, categories, kind, role),
    }
    expected["loss"] = expected["seg"] + 0.7 * expected["ncl"] + 0.3 * expected["pc"]
    terms = NCLLoss(**weights_only(contour_role=role, consistency=kind))(out, mask, valid)
    assert set(terms) == {"loss", "seg", "ncl", "pc", "ncl_tampered", "ncl_authentic"}
    for name in expected:
        assert_same(lambda name=name: terms[name] + 0 * free.sum(), lambda name=name: expected[name], free)  # type: ignore[misc]
    assert_same(lambda: terms["loss"], lambda: expected["loss"], out.logits)
    assert terms["ncl"].item() == pytest.approx((terms["ncl_tampered"] + terms["ncl_authentic"]).item() / 2)


@pytest.mark.parametrize("role", ROLES)
def test_a_batch_contrasted_as_a_whole_is_one_image(role: Any) -> None:
    categories = [LAYOUTS[name] for name in ("all kinds", "none tampered", "with voids", "contour and tampered")]
    mask, valid = pictures(categories)
    free, zt, za = embeddings(len(categories), 8)
    out = output(zt, za, mask)
    options = weights_only(contour_role=role, temperature=0.5)
    terms = NCLLoss(**options, scope="batch")(out, mask, valid)
    joined = [zt.reshape(1, -1, zt.shape[-1]), za.reshape(1, -1, za.shape[-1])]
    assert_same(lambda: terms["ncl"], lambda: slow_ncl(*joined, [[*itertools.chain(*categories)]], role, 0.5), free)
    alone = NCLLoss(**options)(out, mask, valid)
    assert terms["ncl"].item() != pytest.approx(alone["ncl"].item(), rel=0.01)
    torch.testing.assert_close(terms["pc"], alone["pc"])
    torch.testing.assert_close(terms["seg"], alone["seg"])


@settings(max_examples=25, deadline=None)
@given(
    categories=st.lists(st.lists(st.sampled_from([A, T, C, V]), min_size=6, max_size=6), min_size=1, max_size=3),
    role=st.sampled_from(ROLES),
    kind=st.sampled_from(KINDS),
    temperature=st.floats(0.05, 5),
    seed=st.integers(0, 1000),
)
def test_random_batches(categories: list[list[int]], role: Any, kind: Any, temperature: float, seed: int) -> None:
    mask, valid = pictures(categories)
    free, zt, za = embeddings(len(categories), 6, seed=seed)
    out = output(zt, za, mask)
    options = weights_only(contour_role=role, consistency=kind, temperature=temperature)
    assert_same(
        lambda: NCLLoss(**options)(out, mask, valid)["loss"],
        lambda: (
            slow_seg(out.logits, mask, valid)
            + 0.7 * slow_ncl(zt, za, categories, role, temperature)
            + 0.3 * slow_pc(zt, za, categories, kind, role)
        ),
        free,
        1e-8,
    )


def test_single_precision_at_full_size() -> None:
    """1024 patches in float32 against float64."""
    categories = torch.randint(-1, 3, (2, 1024), generator=torch.Generator().manual_seed(0))
    patches = sort_patches(categories)
    found = []
    for dtype in (torch.float32, torch.float64):
        free, z, _ = embeddings(2, 1024, 64, dtype=dtype)
        value = branch_contrast(z, patches, "tampered", 0.1).mean()
        found.append((value.double(), torch.autograd.grad(value, free)[0][0].double()))
    assert (found[0][0] - found[1][0]).abs().item() < 1e-5
    assert float((found[0][1] - found[1][1]).abs().max()) < 1e-8


# by hand


def test_by_hand() -> None:
    """Two tampered patches at 0° and 60°, an authentic one at 180°, τ = 1."""
    z = at_angles(0, 60, 180)
    found = branch_contrast(z, sort_patches(torch.tensor([[T, T, A]])), "tampered", 1.0)
    # cos 60° = .5 to the positive; cos 180° = −1 and cos 120° = −.5 to the negative. The lone patch is no anchor
    expected = (math.log1p(math.exp(-1 - 0.5)) + math.log1p(math.exp(-0.5 - 0.5))) / 2
    assert float(found) == pytest.approx(expected)


def test_contour_patches_are_tampered_in_branch_t_and_authentic_in_branch_a() -> None:
    """Where the contour lies with its side of each branch all is well; swapped, it is not."""
    categories = [[T, T, C, C, A, A]]
    mask, valid = pictures(categories)
    with_tampered, with_authentic = at_angles(0, 5, 2, 3, 180, 175), at_angles(0, 5, 178, 177, 180, 175)
    criterion = NCLLoss(**weights_only(lambda_pc=0.0, temperature=0.1))
    right = criterion(output(with_tampered, with_authentic, mask), mask, valid)
    swapped = criterion(output(with_authentic, with_tampered, mask), mask, valid)
    assert right["ncl"].item() < 1e-6
    assert swapped["ncl_tampered"].item() > 3
    assert swapped["ncl_authentic"].item() > 3
    for z, branch in ((with_tampered, "tampered"), (with_authentic, "authentic")):
        assert right[f"ncl_{branch}"].item() == pytest.approx(
            float(slow_image(z[0], categories[0], "switch", branch, 0.1))
        )


def test_a_loss_with_swapped_roles_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above must be able to fail."""
    real = infonce.sides
    other: dict[Branch, Branch] = {"tampered": "authentic", "authentic": "tampered"}
    monkeypatch.setattr(infonce, "sides", lambda role, branch: real(role, other[branch]))
    with pytest.raises(AssertionError):
        test_contour_patches_are_tampered_in_branch_t_and_authentic_in_branch_a()


def test_the_pivot_term_counts() -> None:
    """Turning branch A's space leaves all but the pivot term as it was, and that one by exactly its weight."""
    categories = [[T, T, C, A, A, A]]
    mask, valid = pictures(categories)
    z = at_angles(0, 10, 80, 170, 180, 190)
    turned = z @ at_angles(60, 150)[0]
    criterion = NCLLoss(**weights_only())
    still, moved = (criterion(output(z, other, mask), mask, valid) for other in (z, turned))
    assert moved["ncl"].item() == pytest.approx(still["ncl"].item())
    assert still["pc"].item() == pytest.approx(0, abs=1e-12)
    assert (moved["loss"] - still["loss"]).item() == pytest.approx(0.3 * (1 - math.cos(math.radians(60))))


def test_a_loss_without_the_pivot_term_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above must be able to fail."""
    monkeypatch.setattr(loss_module, "pivot_consistency", lambda tampered, authentic, member: tampered[:, 0, 0] * 0)
    with pytest.raises(AssertionError):
        test_the_pivot_term_counts()


# against pytorch-metric-learning


def oracle(z: Tensor, first: list[int], second: list[int], temperature: float) -> Tensor:
    """NTXentLoss's terms of all positive pairs, averaged for each anchor, then each group, then over groups.

    It is given every (anchor, positive) of one group and every (anchor, negative) across; its denominator of a pair
    holds that pair and all negatives of the anchor, as ours.
    """
    pairs = [(a, p) for group in (first, second) for a, p in itertools.permutations(group, 2)]
    across = [(a, n) for own, other in ((first, second), (second, first)) for a in own for n in other]
    tuples = tuple(torch.tensor(column) for column in (*zip(*pairs, strict=True), *zip(*across, strict=True)))
    criterion = NTXentLoss(temperature, reducer=DoNothingReducer())
    terms = criterion(z, torch.zeros(len(z), dtype=torch.long), tuples)["loss"]["losses"]
    groups = []
    for group in (first, second):
        anchors = [torch.stack([t for t, (a, _) in zip(terms, pairs, strict=True) if a == i]).mean() for i in group]
        groups.append(torch.stack(anchors).mean())
    return torch.stack(groups).mean()


@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
@pytest.mark.parametrize("sizes", [(2, 2), (3, 9), (12, 4)])
def test_contrast_is_that_of_pytorch_metric_learning(temperature: float, sizes: tuple[int, int]) -> None:
    free, z, _ = embeddings(1, sum(sizes), 5, seed=sizes[0])
    first, second = list(range(sizes[0])), list(range(sizes[0], sum(sizes)))
    assert_same(
        lambda: image_contrast(z[0, : sizes[0]], z[0, sizes[0] :], temperature),
        lambda: oracle(z[0], first, second, temperature),
        free,
    )


# properties


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), role=st.sampled_from(ROLES))
def test_the_order_of_patches_and_turns_of_a_space_do_not_matter(seed: int, role: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    categories = torch.randint(-1, 3, (2, 14), generator=generator)
    _, z, _ = embeddings(2, 14, 4, seed=seed)
    value = branch_contrast(z, sort_patches(categories), "tampered", 0.2, role)
    shuffle = torch.randperm(14, generator=generator)
    shuffled = branch_contrast(z[:, shuffle], sort_patches(categories[:, shuffle]), "tampered", 0.2, role)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    turned = branch_contrast(z @ turn, sort_patches(categories), "tampered", 0.2, role)
    torch.testing.assert_close(shuffled, value)
    torch.testing.assert_close(turned, value)


@settings(max_examples=15, deadline=None)
@given(names=st.lists(st.sampled_from(list(LAYOUTS)), min_size=4, max_size=4), ranks=st.sampled_from([2, 4]))
def test_the_mean_over_ranks_is_the_mean_of_the_whole_batch(names: list[str], ranks: int) -> None:
    mask, valid = pictures([LAYOUTS[name] for name in names])
    _, zt, za = embeddings(4, 8)
    out = output(zt, za, mask)
    criterion = NCLLoss(**weights_only())
    whole = criterion(out, mask, valid)
    for name, value in whole.items():
        parts = []
        for rank in range(ranks):
            mine = slice(rank * 4 // ranks, (rank + 1) * 4 // ranks)
            part = PivotOutput(zt[mine], za[mine], None, out.logits[mine])
            parts.append(criterion(part, mask[mine], valid[mine])[name])
        torch.testing.assert_close(torch.stack(parts).mean(), value)


@pytest.mark.parametrize("name", LAYOUTS)
def test_degenerate_pictures_train(name: str) -> None:
    mask, valid = pictures([LAYOUTS[name]])
    free, zt, za = embeddings(1, 8, dtype=torch.float32)
    out = output(zt, za, mask)
    terms = NCLLoss(**weights_only())(out, mask, valid)
    gradients = torch.autograd.grad(terms["loss"], [free, out.logits], retain_graph=True)
    assert all(bool(g.isfinite().all()) for g in gradients)
    if name in ("none tampered", "all tampered", "contour only", "all void"):
        assert terms["ncl"].item() == 0
        assert terms["ncl"].requires_grad
    if name == "all void":
        # patches are void, most of their pixels are not
        nothing = torch.zeros_like(valid)
        terms = NCLLoss(**weights_only())(out, mask, nothing)
        assert [v.item() for v in terms.values()] == [0.0] * 6
        gradients = torch.autograd.grad(terms["loss"], [free, out.logits], retain_graph=True)
        assert [float(g.abs().max()) for g in gradients] == [0.0, 0.0]


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e3, 1e6])
def test_extreme_temperatures_give_numbers(temperature: float) -> None:
    mask, valid = pictures(list(LAYOUTS.values()))
    free, zt, za = embeddings(len(LAYOUTS), 8, dtype=torch.float32)
    value = NCLLoss(**weights_only(temperature=temperature))(output(zt, za, mask), mask, valid)["loss"]
    assert value.isfinite()
    assert torch.autograd.grad(value, free)[0].isfinite().all()


def test_void_pixels_may_hold_anything() -> None:
    mask, valid = pictures([[T, A, V, C]])
    valid[..., 8:12] = False
    logits = torch.randn(mask.shape, generator=torch.Generator().manual_seed(0))
    value = localization(logits, mask, valid)
    logits[..., 8:12] = math.nan
    mask[..., 8:12] = 1
    logits.requires_grad_()
    again = localization(logits, mask, valid)
    assert again.equal(value)
    again.sum().backward()
    assert logits.grad is not None
    assert logits.grad[..., 8:12].equal(torch.zeros(1, 1, 4, 4))


def test_gradients_by_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    z, other, logits = (torch.randn(shape, generator=generator).double() for shape in ((3, 2), (2, 2), (2, 1, 2, 2)))
    inputs = [x.requires_grad_() for x in (z, other, logits)]
    assert torch.autograd.gradcheck(lambda a, b: image_contrast(a, b, 0.7), inputs[:2])
    assert torch.autograd.gradcheck(lambda a: anchor_contrast(a, other.detach(), 0.1, torch.tensor([2, 0])), inputs[:1])
    member = torch.tensor([[True, False, True]])
    assert torch.autograd.gradcheck(lambda a: pivot_consistency(a[None], a[None].flip(1), member), inputs[:1])
    mask, valid = torch.eye(2).expand(2, 1, 2, 2), torch.tensor([True, False]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert torch.autograd.gradcheck(lambda x: localization(x, mask, valid), inputs[2:])


# precision


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_the_loss_leaves_autocast(half: torch.dtype) -> None:
    mask, valid = pictures(list(LAYOUTS.values()))
    free, zt, za = embeddings(len(LAYOUTS), 8, dtype=torch.float32)
    out = output(zt, za, mask)
    criterion = NCLLoss(**weights_only())
    plain = criterion(out, mask, valid)
    with torch.autocast("cpu", half):
        cast = criterion(out, mask, valid)
        # a network under autocast may give halves
        halves = criterion(PivotOutput(zt.to(half), za.to(half), None, out.logits.to(half)), mask, valid)
    for name, value in plain.items():
        assert cast[name].dtype == halves[name].dtype == torch.float32
        assert cast[name].equal(value)
        assert halves[name].item() == pytest.approx(value.item(), rel=0.03, abs=1e-3)
    gradient = torch.autograd.grad(halves["loss"], free)[0]
    assert gradient.isfinite().all()


def test_double_precision_stays() -> None:
    mask, valid = pictures([LAYOUTS["all kinds"]])
    _, zt, za = embeddings(1, 8)
    assert NCLLoss(**weights_only())(output(zt, za, mask), mask, valid)["loss"].dtype == torch.float64


# the anchor cap


@pytest.mark.parametrize(("n", "m"), [(9, 7), (2, 14), (14, 1), (1, 9)])
def test_the_cap_draws_half_from_each_group(n: int, m: int) -> None:
    drawn = draw_anchors(n, m, 6, (0, 1, 2))
    sizes = [size if rows is None else len(set(rows.tolist())) for rows, size in zip(drawn, (n, m), strict=True)]
    # a lone patch is no anchor; who has few leaves the rest to the other
    assert sizes == {(9, 7): [3, 3], (2, 14): [2, 4], (14, 1): [6, 0], (1, 9): [0, 6]}[n, m]
    again = draw_anchors(n, m, 6, (0, 1, 2))
    assert all(a is b or (a is not None and b is not None and a.equal(b)) for a, b in zip(drawn, again, strict=True))
    assert draw_anchors(n, m, n + m, (0,)) == (None, None)


def test_the_draw_depends_on_seed_step_sample_and_branch() -> None:
    base = (0, 5, 7, 1)
    drawn: dict[tuple[int, ...], Any] = {base: draw_anchors(60, 60, 20, base)}
    for place in range(4):
        other = tuple(value + (i == place) for i, value in enumerate(base))
        drawn[other] = draw_anchors(60, 60, 20, other)
    rows = {tuple(first.tolist()) for first, _ in drawn.values() if first is not None}
    assert len(rows) == 5


def test_the_capped_loss_is_unbiased() -> None:
    _, zt, za = embeddings(1, 24, 3, seed=4)
    mask, valid = pictures([[T] * 7 + [C] * 5 + [A] * 12])
    full = NCLLoss(**weights_only())(output(zt, za, mask), mask, valid)["ncl"]
    criterion = NCLLoss(**weights_only(max_anchors=4))
    index = torch.tensor([3])
    draws = torch.stack(
        [criterion(output(zt, za, mask), mask, valid, index, step)["ncl"].detach() for step in range(600)]
    )
    error = draws.std() / len(draws) ** 0.5
    assert float(draws.std()) > 0.01
    assert abs((draws.mean() - full).item()) < 3 * float(error)
    enough = NCLLoss(**weights_only(max_anchors=24))(output(zt, za, mask), mask, valid, index, 0)["ncl"]
    assert enough.equal(full)


def test_only_anchors_are_capped() -> None:
    """Each drawn anchor keeps every positive and every negative."""
    _, z, _ = embeddings(1, 12)
    own, other, rows = z[0, :5], z[0, 5:], torch.tensor([4, 1])
    torch.testing.assert_close(anchor_contrast(own, other, 0.2, rows), anchor_contrast(own, other, 0.2)[rows])


# weights and arguments


def test_a_term_without_weight_is_recorded_and_does_not_count() -> None:
    mask, valid = pictures([LAYOUTS["all kinds"]])
    free, zt, za = embeddings(1, 8)
    out = output(zt, za, mask)
    full = NCLLoss(**weights_only())(out, mask, valid)
    for name, other in (("ncl", "pc"), ("pc", "ncl")):
        terms = NCLLoss(**weights_only(**{f"lambda_{name}": 0.0}))(out, mask, valid)
        assert terms[name].equal(full[name])
        assert not terms[name].requires_grad
        assert terms[other].requires_grad
    plain = NCLLoss(**weights_only(lambda_ncl=0.0, lambda_pc=0.0))(out, mask, valid)
    assert plain["loss"].equal(plain["seg"])
    assert torch.autograd.grad(plain["loss"], free, allow_unused=True) == (None,)


def test_embeddings_that_are_not_numbers_leave_the_plain_arm_alone() -> None:
    mask, valid = pictures([LAYOUTS["all kinds"]])
    bad = torch.full((1, 8, 3), math.nan, dtype=torch.float64)
    assert NCLLoss(**weights_only(lambda_ncl=0.0, lambda_pc=0.0))(output(bad, bad, mask), mask, valid)[
        "loss"
    ].isfinite()


def test_a_network_of_logits_alone() -> None:
    mask, valid = pictures([LAYOUTS["all kinds"]])
    out = output(None, None, mask)
    assert NCLLoss(**weights_only(lambda_ncl=0.0, lambda_pc=0.0))(out, mask, valid)["loss"].requires_grad
    with pytest.raises(ValueError, match="lambda_ncl and lambda_pc to 0"):
        NCLLoss(**weights_only())(out, mask, valid)


def test_shapes_that_do_not_fit_are_named() -> None:
    mask, valid = pictures([LAYOUTS["all kinds"]])
    _, zt, za = embeddings(1, 8)
    with pytest.raises(ValueError, match="one shape"):
        NCLLoss(**weights_only())(output(zt, za, mask), mask[:, 0], valid)
    with pytest.raises(ValueError, match="same stride"):
        NCLLoss(**weights_only(stride=2))(output(zt[:, :7], za[:, :7], mask), mask, valid)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0}, "above 0"),
        ({"temperature": math.nan}, "above 0"),
        ({"contour_role": "none"}, "switch, ignore, tampered, authentic"),
        ({"consistency": "some"}, "all, exclusive, contour"),
        ({"lambda_ncl": -1}, "lambda_ncl is -1"),
        ({"dice_weight": math.inf}, "dice_weight is inf"),
        ({"max_anchors": 1}, "0 .all., or 2 or more"),
        ({"stride": 0}, "stride is 0"),
        ({"scope": "set"}, "image, batch"),
    ],
)
def test_bad_arguments_are_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        NCLLoss(**options)
    assert "\n" not in str(caught.value)
