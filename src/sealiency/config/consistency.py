"""Checks that need more than one section of the configuration."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sealiency.config.attention import Attention
from sealiency.config.attribution import WITHOUT_COMPLETENESS, Ablation, Attribution, Instance
from sealiency.config.data import Data, Samples
from sealiency.config.emulator import Training
from sealiency.config.networks import BuiltNetwork, DilatedNetwork, Network, OwnNetwork
from sealiency.config.sufficiency import Sufficiency
from sealiency.config.training_size import TrainingSize


def find_conflicts(sections: Mapping[str, Any]) -> list[str]:
    """Return what does not fit together, one problem a line.

    Parameters
    ----------
    sections
        Valid sections by name; a check is left out where a section that it needs is missing.
    """
    problems: list[str] = []
    for names, check in CHECKS:
        if all(name in sections for name in names):
            problems += check(*(sections[name] for name in names))
    return problems


def _check_leads(leads: list[int]) -> Iterator[str]:
    if len(set(leads)) < len(leads):
        yield f"leads {leads} holds one lead twice"


def _check_season(data: Data) -> Iterator[str]:
    if data.climatology == "mean" and data.filter_width % 12:
        yield (
            f"data.filter {data.filter} over {data.filter_width} month(s) leaves the seasonal cycle in; set "
            "data.climatology: monthly, or filter over a multiple of 12 months"
        )


def _check_by_lead(leads: list[int], training: Training) -> Iterator[str]:
    for name in ("epochs", "dropout"):
        by_lead = getattr(training, name)
        missing = [lead for lead in leads if isinstance(by_lead, dict) and lead not in by_lead]
        if missing:
            yield f"training.{name} has no value for lead {missing}; add one, or give one for all leads"


def _check_explained_pixels(data: Data, attribution: Attribution) -> Iterator[str]:
    if attribution.pixels != "all":
        yield from _check_places(data, attribution.pixels)


def _check_instance_pixels(data: Data, instance: Instance) -> Iterator[str]:
    yield from _check_places(data, [instance.compared, instance.land, instance.warm, instance.cold])


def _check_places(data: Data, pixels: list[Any]) -> Iterator[str]:
    region = data.region
    for pixel in pixels:
        if pixel is not None and pixel.lat is not None and not region.holds(pixel.lat, pixel.lon):
            yield (
                f"pixel {pixel.name} at {pixel.lat:g} N, {pixel.lon:g} E lies outside data.region "
                f"({region.south:g}..{region.north:g} N, {region.west:g}..{region.east:g} E); move one of them"
            )


def _check_months(samples: Samples, ablation: Ablation) -> Iterator[str]:
    if ablation.months != "all":
        outside = [month for month in ablation.months if month < -samples.history]
        if outside:
            yield f"ablation.months {outside} lie before the earliest input month -{samples.history}"


def _check_replacement(samples: Samples, ablation: Ablation) -> Iterator[str]:
    months = samples.history + samples.training - 1
    if ablation.replacement == "climatology" and months < 12:
        yield (
            f"ablation.replacement climatology needs every calendar month, and there are {months} training months; raise "
            "samples.training, or choose zero or noise"
        )


def _check_counts(samples: Samples, attribution: Attribution) -> Iterator[str]:
    for name, count in (("samples", attribution.samples), ("baseline_samples", attribution.baseline_samples)):
        if count != "all" and count > samples.training:
            yield f"attribution.{name} ({count}) exceeds samples.training ({samples.training})"
    chunks, blocks = attribution.sample_chunks, attribution.count_bootstrap_blocks(samples.training)
    if chunks != "auto" and chunks > blocks:
        yield (
            f"attribution.sample_chunks ({chunks}) exceeds the {blocks} bootstrap block(s) that "
            f"{attribution.count_samples(samples.training)} samples make with attribution.bootstrap_block "
            f"{attribution.bootstrap_block}; lower one of them"
        )


def _check_method(attribution: Attribution) -> Iterator[str]:
    if attribution.method in WITHOUT_COMPLETENESS:
        yield (
            f"attribution.method {attribution.method} {WITHOUT_COMPLETENESS[attribution.method]}, so it has no completeness to "
            "check; choose deeplift, deeplift_shap or integrated_gradients, and compare "
            f"{attribution.method} in instance.methods"
        )
    if attribution.method == "integrated_gradients" and attribution.precision in ("bfloat16", "tf32"):
        yield (
            f"attribution.precision {attribution.precision} serves deeplift and deeplift_shap only, not "
            f"{attribution.method}; choose float32 or float64"
        )
    if attribution.precision == "tf32" and attribution.device == "cpu":
        yield "attribution.precision tf32 is arithmetic of a GPU, and attribution.device is cpu; change one of them"


def _check_own(leads: list[int], network: Network, training: Training) -> Iterator[str]:
    weights = network.weights if isinstance(network, OwnNetwork) else None
    if isinstance(weights, dict) and (missing := [lead for lead in leads if lead not in weights]):
        yield f"network.weights has no file for lead {missing}; add one"
    if training.enabled:
        return
    if weights is None:
        yield (
            "training: none explains weights that are there, and the configuration names none; set network.kind: own with "
            "network.build and network.weights, or let the network be trained"
        )
    elif isinstance(weights, str) and len(leads) > 1:
        yield f"network.weights = {weights!r} is one file for leads {leads}; name one a lead, as {{{leads[0]}: {weights}, ...}}"
    if len(training.seeds) > 1:
        yield f"training.seeds {training.seeds}: with training: none there is one network a lead; leave one seed"


def _check_training_size(data: Data, samples: Samples, training: Training, size: TrainingSize) -> Iterator[str]:
    if not size.samples:
        return
    if size.samples[-1] > samples.training:
        yield f"training_size.samples ({size.samples[-1]}) exceeds samples.training ({samples.training}); raise the latter"
    if not training.enabled:
        yield "training_size.samples needs emulators that are trained, and training is none; leave one of them out"
    if data.source != "synthetic" or data.basins:
        yield (
            "training_size.samples compares with the bound of the synthetic world; set data.source: synthetic without "
            "data.basins, or leave training_size.samples empty"
        )


def _check_read_months(samples: Samples, network: Network) -> Iterator[str]:
    months = getattr(network, "months", None)
    if months and months > samples.history:
        yield f"network.months ({months}) exceeds samples.history ({samples.history}); lower it, or leave it out for all"


def _check_level(samples: Samples, network: Network, sufficiency: Sufficiency) -> Iterator[str]:
    if not isinstance(network, BuiltNetwork) or network.level:
        return
    read = {
        "network.months": network.months,
        "samples.history": samples.history,
        "sufficiency.months": min(sufficiency.months, default=None),
    }
    for name in (name for name, months in read.items() if months == 1):
        yield f"network.level is false and {name} holds 1: one month less its mean is nothing; give more, or set level: true"


def _check_sufficiency(
    samples: Samples, network: Network, training: Training, sufficiency: Sufficiency
) -> Iterator[str]:
    if not sufficiency.months:
        return
    if sufficiency.months[-1] > samples.history:
        yield f"sufficiency.months ({sufficiency.months[-1]}) exceeds samples.history ({samples.history}); lower it"
    if not isinstance(network, DilatedNetwork):
        yield (
            f"sufficiency.months needs networks that see so many cells and no more, and network.kind is {network.kind}; set "
            "network.kind: dilated, or leave sufficiency.months empty"
        )
    if network.skip not in ("none", "persistence"):
        yield (
            f"sufficiency.months gives networks few months and cells, and network.skip = {network.skip} reads others beside them; "
            "set network.skip: persistence or none"
        )
    if not training.enabled:
        yield "sufficiency.months needs emulators that are trained, and training is none; leave one of them out"


def _check_attention(network: Network, training: Training, attention: Attention) -> Iterator[str]:
    if getattr(network, "attention", False):
        yield (
            "network.attention multiplies two signals, so no method of the attribution engine explains such an emulator; leave it "
            "out, and set attention.enabled: true for emulators with attention beside the run's own"
        )
    if attention.enabled and not (isinstance(network, DilatedNetwork) and training.enabled):
        yield (
            "attention.enabled needs network.kind: dilated and emulators that are trained; set the kind, or leave "
            "attention.enabled out"
        )
    members = getattr(network, "members", 1)
    if attention.enabled and members > 1:
        yield f"attention.enabled compares single networks, and network.members is {members}; leave one of them out"


CHECKS: list[tuple[tuple[str, ...], Callable[..., Iterator[str]]]] = [
    (("leads",), _check_leads),
    (("data",), _check_season),
    (("leads", "training"), _check_by_lead),
    (("leads", "network", "training"), _check_own),
    (("data", "attribution"), _check_explained_pixels),
    (("data", "instance"), _check_instance_pixels),
    (("samples", "ablation"), _check_months),
    (("samples", "ablation"), _check_replacement),
    (("samples", "attribution"), _check_counts),
    (("attribution",), _check_method),
    (("data", "samples", "training", "training_size"), _check_training_size),
    (("samples", "network"), _check_read_months),
    (("samples", "network", "sufficiency"), _check_level),
    (("network", "training", "attention"), _check_attention),
    (("samples", "network", "training", "sufficiency"), _check_sufficiency),
]
