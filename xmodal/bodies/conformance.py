"""What every body must keep, ours or anybody's: `xmodal check body NAME`, and a fixture for pytest.

Each check takes the options of a body and raises `Broken` when it is not kept. Bodies start at random, so nothing is
downloaded, with the first two blocks, so that a check takes seconds.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xmodal.bodies import body_options, build_family, skeleton
from xmodal.bodies.body import Body
from xmodal.bodies.family import static_sites
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.weights import build_body, digest, fill
from xmodal.components import blame
from xmodal.errors import UsageError, XmodalError
from xmodal.tensors import Tokens
from xmodal.types import BODY_ROLES

TOLERANCE = 1e-6
SHORT, LONG = 7, 11


class Broken(XmodalError):
    """A body does not keep what every body must. Exit code 1."""


Check = Callable[[BodyOptions], None]


def small(name: str, **said: Any) -> BodyOptions:
    """Options of a body for the checks: random, its first two blocks where it has more, no dropout.

    Args:
        name: in the table, or of a plugin.
        said: further options.

    Raises:
        UsageError: there is no such body.
    """
    options = body_options(name, **{"init": "random", **said})
    if "layers" not in said and options.anatomy().depth > 2:
        options = options.model_copy(update={"layers": "0:2"})
    return options


def own_fault(error: BaseException) -> Broken:
    """What a body's own code raised, with the line where that began: the innermost that is neither ours nor torch's."""
    if fault := blame(error):
        return Broken(fault.what, why=f"at {fault.where}", fix=fault.fix)
    ours = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent))
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(ours)] or list(frames)
    why = f"at {theirs[-1].filename}:{theirs[-1].lineno}"
    what = f"the body raises {type(error).__name__}: {error}".removesuffix(": ")
    return Broken(what, why=why, fix="mend it there, or what it was given")


def claims_are_total_and_disjoint(options: BodyOptions) -> None:
    """Every parameter has one site, every site one parameter, and every role is one that a spec can name."""
    body = skeleton(options)
    claims = list(body.claims())
    twice = [str(site) for site, count in Counter(site for site, _ in claims).items() if count > 1]
    _must(not twice, f"claims {', '.join(twice)} more than once")
    shared = Counter(id(parameter) for _, parameter in claims)
    tied = [str(site) for site, parameter in claims if shared[id(parameter)] > 1]
    _must(not tied, f"claims one tensor as {', '.join(tied)}; tied tensors have one site")
    missing = [name for name, parameter in body.named_parameters() if id(parameter) not in shared]
    _must(not missing, f"does not claim {', '.join(missing[:5])}")
    strange = [str(site) for site, _ in claims if site.role not in BODY_ROLES]
    _must(not strange, f"claims {', '.join(strange)}, and the roles are {', '.join(BODY_ROLES)}")


def sites_are_known_without_building(options: BodyOptions) -> None:
    """A family that is `static` claims the same sites on a stand-in as on the model that it builds."""
    family = build_family(options)
    if family.static:
        built = [site for site, _ in skeleton(options).claims()]
        _must(
            static_sites(family) == built, "claims other sites before it is built than afterwards; set static = False"
        )


def a_skeleton_holds_no_memory(options: BodyOptions) -> None:
    """Before it has values, parameters are on the meta device, and buffers are not."""
    body = skeleton(options)
    held = [name for name, parameter in body.named_parameters() if not parameter.is_meta]
    _must(not held, f"holds {', '.join(held[:5])} before it has values; build on the meta device")
    empty = [name for name, buffer in body.named_buffers() if buffer.is_meta]
    _must(not empty, f"leaves the buffers {', '.join(empty[:5])} without values")


def hidden_states_have_the_width_of_the_anatomy(options: BodyOptions) -> None:
    """The output is `[batch prefix+tokens width]`, real numbers in float32."""
    body, anatomy = _built(options), options.anatomy()
    hidden = _run(body, _values(body))
    wanted = (2, anatomy.prefix + LONG, anatomy.width)
    _must(tuple(hidden.shape) == wanted, f"gives {tuple(hidden.shape)} where its anatomy says {wanted}")
    _must(hidden.dtype == torch.float32, f"computes in {hidden.dtype}")
    _must(bool(hidden.isfinite().all()), "gives numbers that are not finite")


def padding_changes_nothing(options: BodyOptions) -> None:
    """Tokens appended and masked out move no real token's hidden state by more than 1e-6 of its size."""
    body = _built(options)
    values = _values(body)
    alone = _run(body, values[:, :SHORT])
    mask = (torch.arange(LONG) < SHORT).expand(2, -1)
    padded = _run(body, values, mask)[:, : body.prefix + SHORT]
    _must(_near(alone, padded), f"lets padding move a hidden state by {_apart(alone, padded):.1e}")


def the_last_real_token_is_where_it_is_read(options: BodyOptions) -> None:
    """With samples of several lengths in a batch, each one's last token is what it is alone."""
    body = _built(options)
    values = _values(body)
    lengths = torch.tensor([LONG, SHORT])
    together = _run(body, values, torch.arange(LONG) < lengths[:, None])
    for sample, length in enumerate(lengths.tolist()):
        alone = _run(body, values[sample : sample + 1, :length])[0, -1]
        here = together[sample, body.prefix + length - 1]
        _must(_near(alone, here), f"gives another last token in a batch than alone, by {_apart(alone, here):.1e}")


def it_looks_where_it_says(options: BodyOptions) -> None:
    """A causal body does not see the future. Any other does, if it mixes tokens at all."""
    body = _built(options)
    values = _values(body)
    changed = values.clone()
    changed[:, SHORT:] *= -1  # not a shift, which a layer norm takes out again
    before, after = (_run(body, each)[:, : body.prefix + SHORT] for each in (values, changed))
    if options.anatomy().causal:
        _must(_near(before, after), f"says it is causal and sees the future, by {_apart(before, after):.1e}")
        return
    changed = values.clone()
    changed[:, 0] *= -1
    mixes = not torch.equal(_run(body, values)[:, -1], _run(body, changed)[:, -1])
    _must(not mixes or not torch.equal(before, after), "says that it is not causal and sees only the past")


def the_whole_context_can_be_used(options: BodyOptions) -> None:
    """As many tokens as the anatomy says pass."""
    context = options.anatomy().context
    if context:
        body = _built(options)
        _must(bool(_run(body, _values(body, context)).isfinite().all()), f"does not take its {context} tokens")


def it_repeats_itself(options: BodyOptions) -> None:
    """The same tokens give the same bits, in evaluation and, without dropout, in training."""
    body = _built(options)
    values = _values(body)
    for training in (False, True):
        body.train(training)
        word = "training" if training else "evaluation"
        _must(torch.equal(_run(body, values), _run(body, values)), f"gives other numbers a second time in {word}")


def dropout_is_the_recipes_own(options: BodyOptions) -> None:
    """The option `dropout` drops in training, and never in evaluation, or it is refused."""
    try:
        body = _built(options.model_copy(update={"dropout": 0.5}))
    except UsageError as error:
        if error.where != "body.dropout":
            raise
        return
    values = _values(body)
    _must(torch.equal(_run(body, values), _run(body, values)), "drops in evaluation")
    body.train()
    if any(site.role in ("attn", "ffn", "rnn") for site, _ in body.claims()):
        _must(not torch.equal(_run(body, values), _run(body, values)), "ignores the option dropout")


def a_gradient_reaches_the_input_layer(options: BodyOptions) -> None:
    """Frozen or not, the body passes a gradient to the tokens, and to each parameter that is used."""
    body = _built(options).train()
    values = _values(body).requires_grad_()
    hidden = body(_tokens(values))
    (hidden * torch.linspace(-1, 1, hidden.numel()).view(hidden.shape)).sum().backward()
    _must(values.grad is not None and bool(values.grad.abs().sum() > 0), "passes no gradient to its tokens")
    silent = [str(site) for site, parameter in body.claims() if site.used and parameter.grad is None]
    _must(not silent, f"passes no gradient to {', '.join(silent[:5])}; claim with used=False what no sample passes")


def a_step_moves_only_what_trains(options: BodyOptions) -> None:
    """With its norms frozen or all but them, an optimiser's step leaves every frozen bit where it was."""
    body = _built(options).train()
    norms = {site: p for site, p in body.claims() if site.used and site.role == "ln"}
    rest = {site: p for site, p in body.claims() if site.used and site.role != "ln"}
    for trained, frozen in ((norms, rest), (rest, norms)):
        if not trained:
            continue
        before = digest({site: parameter.detach().clone() for site, parameter in frozen.items()})
        buffers = {name: buffer.clone() for name, buffer in body.named_buffers()}
        body(_tokens(_values(body))).square().sum().backward()
        torch.optim.SGD(trained.values(), lr=0.1).step()
        _must(digest(frozen) == before, "moves frozen parameters in a step")
        moved = [name for name, buffer in body.named_buffers() if not torch.equal(buffer, buffers[name])]
        _must(not moved, f"moves its buffers {', '.join(moved)} in training")


def its_state_goes_round(options: BodyOptions) -> None:
    """A fresh skeleton that is filled with a body's tensors computes the same bits."""
    body, other = _built(options), skeleton(options)
    fill(other, {site: parameter.data for site, parameter in body.claims() if site.used}, "cpu")
    other.eval()
    values = _values(body)
    _must(torch.equal(_run(body, values), _run(other, values)), "computes something else after it was saved and filled")


def a_random_start_is_the_seeds(options: BodyOptions) -> None:
    """One seed draws one body, whatever is frozen later, and another seed another."""
    one, same, other = (build_body(options, seed).source["digest"] for seed in (0, 0, 1))
    _must(one == same, "draws two bodies from one seed")
    drawn = any(site.used and site.kind == "weight" and site.role != "ln" for site, _ in skeleton(options).claims())
    _must(not drawn or one != other, "draws one body from two seeds")


CHECKS: tuple[Check, ...] = (
    claims_are_total_and_disjoint,
    sites_are_known_without_building,
    a_skeleton_holds_no_memory,
    hidden_states_have_the_width_of_the_anatomy,
    padding_changes_nothing,
    the_last_real_token_is_where_it_is_read,
    it_looks_where_it_says,
    the_whole_context_can_be_used,
    it_repeats_itself,
    dropout_is_the_recipes_own,
    a_gradient_reaches_the_input_layer,
    a_step_moves_only_what_trains,
    its_state_goes_round,
    a_random_start_is_the_seeds,
)
"""All checks, in the order in which they make sense."""


def title(check: Check) -> str:
    """What a check is called on the screen."""
    words = " ".join((check.__doc__ or "").partition(".")[0].split())
    return words[:1].lower() + words[1:]


def _must(kept: bool, otherwise: str) -> None:
    if not kept:
        raise Broken(f"the body {otherwise}", fix="see the how-to 'Add a body'")


def _built(options: BodyOptions) -> Body:
    return build_body(options, seed=0).body.eval()


def _values(body: Body, tokens: int = LONG) -> Tensor:
    return torch.empty(2, tokens, body.width).normal_(generator=torch.Generator().manual_seed(0))


def _tokens(values: Tensor, mask: Tensor | None = None) -> Tokens:
    real = torch.ones(values.shape[:2], dtype=torch.bool) if mask is None else mask
    return Tokens(values, real, padded=mask is not None)


def _run(body: nn.Module, values: Tensor, mask: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return body(_tokens(values, mask))


def _apart(one: Tensor, two: Tensor) -> float:
    return float((one - two).abs().max())


def _near(one: Tensor, two: Tensor) -> bool:
    return _apart(one, two) <= TOLERANCE * max(1.0, float(one.abs().max()))
