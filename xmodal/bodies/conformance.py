"""What every body must keep, ours or anybody's: `xmodal check body NAME`, and a fixture for pytest.

Each check takes the options of a body and raises `Broken` when it is not kept. Bodies start at random, so nothing is
downloaded, with the first two blocks, so that a check takes seconds.
"""

from __future__ import annotations

import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from xmodal.bodies import body_options, build_family, probes, skeleton
from xmodal.bodies.family import static_sites
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.probes import LENGTHS, TOLERANCE
from xmodal.bodies.weights import build_body, digest, fill
from xmodal.components import blame
from xmodal.errors import UsageError, XmodalError
from xmodal.types import BODY_ROLES, Site


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
    body = skeleton(_whole(options))
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
    vectors = [str(s) for s, p in claims if p.ndim > 1 and (s.role == "ln" or s.kind == "bias")]
    _must(not vectors, f"claims {', '.join(vectors[:5])}, and norms and biases are vectors")


def each_block_is_claimed_as_itself(options: BodyOptions) -> None:
    """What stands in a block is claimed with its number, or with none, and no number is beyond the blocks."""
    body = skeleton(_whole(options))
    claims, depth = list(body.claims()), len(body.anatomy.layers)
    beyond = [str(site) for site, _ in claims if site.layer is not None and not 0 <= site.layer < depth]
    _must(not beyond, f"claims {', '.join(beyond[:5])}, and the number of its blocks is {depth}")
    blocks = enumerate(probes.blocks(body))
    home = {id(parameter): number for number, block in blocks for parameter in block.parameters()}
    other = [(site, home.get(id(parameter), site.layer)) for site, parameter in claims]
    astray = [f"{site} in block {number}" for site, number in other if site.layer not in (None, number)]
    _must(not astray, f"claims {', '.join(astray[:5])}; give what is in a block the number of that block")


def sites_are_known_without_building(options: BodyOptions) -> None:
    """A family that is `static` claims the same sites on a stand-in as on the model that it builds."""
    family = build_family(_whole(options))
    if family.static:
        built = [site for site, _ in skeleton(_whole(options)).claims()]
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
    """The output is `[batch prefix+tokens width]`, real numbers in float32, for the patches of an image too."""
    body, anatomy = probes.built(options), options.anatomy()
    values = probes.values(body)
    rows = (values.shape[1] - 1) // 2
    image = replace(probes.tokens(values[:, : 1 + 2 * rows]), prefix=1, grid=(rows, 2))
    for tokens in (probes.tokens(values), image):
        with torch.no_grad():
            hidden = body(tokens)
        wanted = (2, anatomy.prefix + tokens.values.shape[1], anatomy.width)
        _must(tuple(hidden.shape) == wanted, f"gives {tuple(hidden.shape)} where its anatomy says {wanted}")
        _must(hidden.dtype == torch.float32, f"computes in {hidden.dtype}")
        _must(bool(hidden.isfinite().all()), "gives numbers that are not finite")


def padding_changes_nothing(options: BodyOptions) -> None:
    """Tokens appended and masked out move no real token's hidden state by more than 1e-5 of its size."""
    body = probes.built(options)
    for few, many in probes.lengths(body):
        values = probes.values(body, many)[:1]
        alone = probes.run(body, values[:, :few])
        padded = probes.run(body, values, torch.arange(many)[None] < few)[:, : body.prefix + few]
        moved = probes.apart(alone, padded)
        _must(moved <= TOLERANCE, f"lets padding move a hidden state by {moved:.1e} of its size, at {many} tokens")


def the_last_real_token_is_where_it_is_read(options: BodyOptions) -> None:
    """In a batch of several lengths each sample's last state is what it is alone, and changes with the last token."""
    body = probes.built(options)
    few, many = probes.lengths(body)[0][0], probes.lengths(body)[-1][1]
    ends, values = torch.tensor([many, few]), probes.values(body, many)
    mask = torch.arange(many) < ends[:, None]
    changed = values.clone()
    changed[torch.arange(2), ends - 1] *= -1
    together, other = probes.run(body, values, mask), probes.run(body, changed, mask)
    for sample, length in enumerate(ends.tolist()):
        alone = probes.run(body, values[sample : sample + 1, :length])[0]
        last = body.prefix + length - 1
        apart = probes.apart(alone[-1], together[sample, last], among=alone)
        _must(apart <= TOLERANCE, f"gives another last state in a batch than alone, by {apart:.1e} of its size")
        moved = probes.apart(together[sample, last], other[sample, last], among=alone)
        _must(moved > TOLERANCE, f"gives a last state that does not change with the last of {length} tokens")


def a_state_stands_where_its_token_does(options: BodyOptions) -> None:
    """No shift lies between tokens and states, as when for each token the state behind it changes most with it."""
    shifts = set(probes.farthest(probes.built(options)))
    _must(len(shifts) > 1 or shifts == {0}, f"gives each token's state {max(shifts)} places behind it, counted around")


def it_looks_where_it_says(options: BodyOptions) -> None:
    """A causal body does not see the future. Any other sees both ways, if it mixes tokens at all."""
    body = probes.built(options)
    for few, many in probes.lengths(body):
        values = probes.values(body, many)[:1].repeat(3, 1, 1)
        values[1, few:] *= -1  # not a shift, which a layer norm takes out again
        values[2, :few] *= -1
        same, future, past = probes.run(body, values)
        border = body.prefix + few
        ahead, behind = probes.apart(same[:border], future[:border]), probes.apart(same[border:], past[border:])
        if body.causal:
            _must(ahead <= TOLERANCE, f"says it is causal and sees the future, by {ahead:.1e}")
        else:
            _must(ahead > TOLERANCE or behind <= TOLERANCE, "says that it is not causal and sees only the past")
            _must(behind > TOLERANCE or ahead <= TOLERANCE, "says that it is not causal and sees only the future")


def attention_mixes_and_feed_forward_does_not(options: BodyOptions) -> None:
    """Where a body has both, what mixes its tokens is claimed as attention and not as feed-forward or another role."""
    roles = defaultdict[int | None, set[str]](set)
    for site, _ in skeleton(options).claims():
        if site.used:
            roles[site.layer].add(site.role)
    for layer, there in roles.items():
        if not {"attn", "ffn"} <= there:
            continue
        block = "" if layer is None else f" in block {layer}"

        def elsewhere(site: Site, _: Any, layer: int | None = layer) -> bool:
            return site.layer not in (None, layer) and site.role in ("attn", "ffn")

        def other(site: Site, parameter: Any, layer: int | None = layer) -> bool:
            here = site.layer in (None, layer) and site.role not in ("attn", "rnn")
            return elsewhere(site, parameter, layer) or (here and parameter.ndim > 1)

        if probes.mixes(probes.without(options, elsewhere)):
            mixed = probes.mixes(probes.without(options, other))
            _must(mixed, f"mixes tokens by a matrix that it does not claim as attn{block}")


def the_whole_context_can_be_used(options: BodyOptions) -> None:
    """As many tokens as the anatomy says pass, and the last of them is read. Where it says no number, 70 do."""
    body = probes.built(options)
    values = probes.values(body, body.context or LENGTHS[-1][-1])
    values[1] = values[0]
    values[1, -1] *= -1
    one, other = probes.run(body, values)
    _must(bool(one.isfinite().all()), f"does not take its {values.shape[1]} tokens")
    moved = probes.apart(one[-1], other[-1], among=one)
    _must(moved > TOLERANCE, f"does not read the last of its {values.shape[1]} tokens")


def it_repeats_itself(options: BodyOptions) -> None:
    """The same tokens give the same bits, in evaluation and, without dropout, in training. Nothing else moves."""
    body = probes.built(options)
    for training in (False, True):
        body.train(training)
        word = "training" if training else "evaluation"
        _must(probes.repeats(body), f"gives other numbers a second time in {word}")
        values = probes.values(body)
        given = values.clone()
        with torch.random.fork_rng(devices=[]):
            random = torch.manual_seed(1).get_state()
            probes.run(body, given)
            moved = not torch.equal(torch.get_rng_state(), random)
        _must(torch.equal(given, values), f"changes the tokens that it is given in {word}")
        _must(not moved, f"moves torch's random state in {word}, without dropout")


def training_computes_what_evaluation_does(options: BodyOptions) -> None:
    """Without dropout, states in training are those in evaluation, in a batch of several lengths."""
    body = probes.built(options)
    values = probes.values(body)
    mask = torch.arange(values.shape[1]) < torch.tensor([[values.shape[1]], [max(1, values.shape[1] - 3)]])
    evaluated, trained = probes.run(body, values, mask), probes.run(body.train(), values, mask)
    real = torch.cat([torch.ones(2, body.prefix, dtype=torch.bool), mask], dim=1)
    moved = probes.apart(evaluated[real], trained[real])
    _must(moved <= TOLERANCE, f"computes something else in training, by {moved:.1e} of its size")


def dropout_is_the_recipes_own(options: BodyOptions) -> None:
    """The option `dropout` drops in training alone, in every block, as much as it says, or it is refused."""
    try:
        body = probes.built(options.model_copy(update={"dropout": 0.5}))
    except UsageError as error:
        if error.where != "body.dropout":
            raise
        return
    _must(probes.repeats(body), "drops in evaluation")
    body.train()
    if any(site.role in ("attn", "ffn", "rnn") for site, _ in body.claims()):
        drops = probes.drops(body)
        sober = ", ".join(str(block) for block, dropped in enumerate(drops) if not dropped)
        _must(not sober, f"ignores the option dropout in its blocks {sober}, counted from 0")
        _must(not probes.repeats(body), "ignores the option dropout in its blocks, or drops the same each time")
        little, much = (probes.moved_by_dropout(options, rate) for rate in (0.1, 0.6))
        _must(much > 1.2 * little, f"drops as much at 0.6 as at 0.1: states move by {much:.1e} and {little:.1e}")


def a_gradient_reaches_the_input_layer(options: BodyOptions) -> None:
    """Frozen or not, the body passes a gradient to each token, and to each parameter that is used."""
    body = probes.built(options).train()
    values = probes.values(body).requires_grad_()
    hidden = body(probes.tokens(values))
    loss = hidden * probes.noise(hidden.shape)
    changed = values.detach().clone()
    changed[:, 0] *= -1
    seen = probes.apart(hidden[:, -1], probes.run(body, changed)[:, -1], among=hidden) > TOLERANCE
    (of_last,) = torch.autograd.grad(loss[:, -1].sum(), values, retain_graph=True, materialize_grads=True)
    loss.sum().backward()
    grad = torch.zeros_like(values) if values.grad is None else values.grad
    deaf = [str(number) for number, each in enumerate(grad.unbind(dim=1)) if not each.any()]
    _must(not deaf, f"passes no gradient to its tokens {', '.join(deaf)}, counted from 0")
    _must(not seen or bool(of_last[:, 0].any()), "passes no gradient from its last state to the first token it sees")
    # A bias may have none by theory: softmax does not see what is added to every key.
    silent = [
        str(site)
        for site, parameter in body.claims()
        if site.used and (parameter.grad is None or (site.kind == "weight" and not parameter.grad.any()))
    ]
    _must(not silent, f"passes no gradient to {', '.join(silent[:5])}; claim with used=False what no sample passes")


def a_step_moves_only_what_trains(options: BodyOptions) -> None:
    """With its norms frozen or all but them, an optimiser's step leaves every frozen bit where it was."""
    body = probes.built(options).train()
    norms = {site: p for site, p in body.claims() if site.used and site.role == "ln"}
    rest = {site: p for site, p in body.claims() if site.used and site.role != "ln"}
    for trained, frozen in ((norms, rest), (rest, norms)):
        if not trained:
            continue
        before = digest({site: parameter.detach().clone() for site, parameter in frozen.items()})
        buffers = {name: buffer.clone() for name, buffer in body.named_buffers()}
        body(probes.tokens(probes.values(body))).square().sum().backward()
        torch.optim.SGD(trained.values(), lr=0.1).step()
        _must(digest(frozen) == before, "moves frozen parameters in a step")
        moved = [name for name, buffer in body.named_buffers() if not torch.equal(buffer, buffers[name])]
        _must(not moved, f"moves its buffers {', '.join(moved)} in training")


def its_state_goes_round(options: BodyOptions) -> None:
    """A fresh skeleton that is filled with a body's tensors computes the same bits."""
    body, other = probes.built(options), skeleton(options)
    fill(other, {site: parameter.data for site, parameter in body.claims() if site.used}, "cpu")
    other.eval()
    values = probes.values(body)
    equal = torch.equal(probes.run(body, values), probes.run(other, values))
    _must(equal, "computes something else after it was saved and filled")


def a_random_start_is_the_seeds(options: BodyOptions) -> None:
    """One seed draws one body, whatever is frozen later, and another seed another, in every block."""
    one, same, other = (build_body(options, seed) for seed in (0, 0, 1))
    _must(one.source["digest"] == same.source["digest"], "draws two bodies from one seed")
    drawn = any(site.used and site.kind == "weight" and site.role != "ln" for site, _ in one.body.claims())
    _must(not drawn or one.source["digest"] != other.source["digest"], "draws one body from two seeds")
    alike = defaultdict[Site, list[bool]](list)
    for (site, parameter), (_, another) in zip(one.body.claims(), other.body.claims(), strict=True):
        if site.used and site.role in ("attn", "ffn", "rnn") and parameter.ndim > 1:
            alike[Site(site.role, site.layer)].append(torch.equal(parameter, another))
    fixed = [str(site) for site, equal in alike.items() if all(equal)]
    _must(not fixed, f"draws the same {', '.join(fixed)} from two seeds")


CHECKS: tuple[Check, ...] = (
    claims_are_total_and_disjoint,
    each_block_is_claimed_as_itself,
    sites_are_known_without_building,
    a_skeleton_holds_no_memory,
    hidden_states_have_the_width_of_the_anatomy,
    padding_changes_nothing,
    the_last_real_token_is_where_it_is_read,
    a_state_stands_where_its_token_does,
    it_looks_where_it_says,
    attention_mixes_and_feed_forward_does_not,
    the_whole_context_can_be_used,
    it_repeats_itself,
    training_computes_what_evaluation_does,
    dropout_is_the_recipes_own,
    a_gradient_reaches_the_input_layer,
    a_step_moves_only_what_trains,
    its_state_goes_round,
    a_random_start_is_the_seeds,
)
"""All checks, in the order in which they make sense."""


def _whole(small: BodyOptions) -> BodyOptions:
    """With all its blocks, which cost nothing before they have values."""
    return small.model_copy(update={"layers": None})


def title(check: Check) -> str:
    """What a check is called on the screen."""
    words = " ".join((check.__doc__ or "").partition(".")[0].split())
    return words[:1].lower() + words[1:]


def _must(kept: bool, otherwise: str) -> None:
    if not kept:
        raise Broken(f"the body {otherwise}", fix="see the how-to 'Add a body'")
