"""Where in the sea, and when, does an emulator's forecast come from? Includes and target rules only."""

from snakemake.utils import min_version

min_version("9.10")


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/simulate.smk"


if CONFIG.data.source == "esgf":

    include: "workflow/rules/manifest.smk"
    include: "workflow/rules/fetch.smk"


include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/explain.smk"
include: "workflow/rules/survey.smk"
include: "workflow/rules/linear.smk"
include: "workflow/rules/sufficiency.smk"
include: "workflow/rules/compare.smk"


if WORLD_PROPAGATOR:

    include: "workflow/rules/fidelity.smk"
    include: "workflow/rules/training_size.smk"


include: "workflow/rules/uncertainty.smk"
include: "workflow/rules/attention.smk"
include: "workflow/rules/attribute.smk"
include: "workflow/rules/reduce.smk"
include: "workflow/rules/ablate.smk"
include: "workflow/rules/signs.smk"
include: "workflow/rules/findings.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        REPORT,
        SUMMARY,
