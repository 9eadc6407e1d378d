"""One function for each claim: evidence -> effects. The rule and its margin stand with each effect.

Margins were chosen before the evidence was computed: 0.005 SSIM and 0.1 dB for "no measurable
difference", a small part of what the samplers differ by.
"""

from __future__ import annotations

from collections.abc import Callable

from yoda_nb.claims import ablation_effects as ablation
from yoda_nb.claims import backbone_effects as backbone
from yoda_nb.claims import benchmark_effects as benchmark
from yoda_nb.claims import bridge_effects as bridge
from yoda_nb.claims import fast_unet_effects as fast_unet
from yoda_nb.claims import lesion_effects as lesion
from yoda_nb.claims import sampler_effects as sampler
from yoda_nb.claims import unpaired_effects as unpaired
from yoda_nb.claims.verdicts import Effect
from yoda_nb.evidence import Study

EFFECTS: dict[str, Callable[[Study], list[Effect]]] = {
    "Y01": sampler.error_split,
    "Y02": sampler.rician_is_gaussian,
    "Y03": sampler.regression_over_diffusion,
    "Y04": sampler.expa_over_diffusion,
    "Y05": sampler.expa_is_regression,
    "Y06": sampler.steps_trade,
    "Y07": sampler.noise_explains_fd,
    "Y08": sampler.noising_improves_fd,
    "Y09": sampler.noised_trade_is_worse,
    "Y10": ablation.samples_carry_noise,
    "Y11": sampler.detail_averages_out,
    "Y12": sampler.spread_is_noise,
    "Y13": ablation.slabs_help_diffusion,
    "Y14": ablation.slabs_help_regression,
    "Y15": ablation.slice_artefacts,
    "Y16": ablation.truncation_is_free,
    "Y17": ablation.cosine_trades,
    "Y18": ablation.schedules_agree_on_average,
    "Y19": ablation.v_is_best,
    "Y20": ablation.eps_cannot_regress,
    "Y21": sampler.views_help,
    "Y22": sampler.homogenised,
    "Y23": lesion.smooth_segments_better,
    "Y24": lesion.contrast_kept,
    "Y25": lesion.as_good_as_acquired,
    "Y26": lesion.volumes_agree,
    "Y27": ablation.dedicated_regression,
    "Y28": sampler.cost_ratio,
    **benchmark.EFFECTS,
    "Y30": sampler.other_protocol,
    **fast_unet.EFFECTS,
    **unpaired.EFFECTS,
    **bridge.EFFECTS,
    **backbone.EFFECTS,
}

# What a reader should know beside the numbers; none of it enters a verdict.
NOTES = {
    "Y02": "At SNR = 2 the law itself gives a bias of 13.6 % of the signal and a deviation of 0.92 sigma: near "
    "Gaussian in shape, not yet in its mean.",
    "Y09": "White Rician noise is just what these phantoms' acquisitions carry. Scanner noise is correlated, which "
    "adding white noise does not imitate; on real data the comparison may turn out otherwise.",
    "Y13": "Each helps alone; where three views alternate, neighbouring slices add nothing at this size and budget.",
    "Y16": "One sample each, with noise of its own: more samples would narrow the interval.",
    "Y19": "v beats eps. The x0 model's samples carry no noise at this budget (averaging four changes nothing), so "
    "its diffusion is regression in disguise, and less distorted for that; it also regresses better.",
    "Y22": "These slices agree before the correction: the phantoms have no slice-wise gain to remove.",
    "Y24": "White matter within three voxels of a lesion, as the paper's 3 mm at 1 mm. At 3 mm a lesion is a few "
    "voxels wide.",
    "Y25": "Smoothness is not the cause: the noise-free truth is segmented as well as the acquired image. What the "
    "synthetic images lack is lesion contrast.",
    "Y27": "At equal budget every step of the dedicated model trains the one time that regression uses; more training "
    "of both may close the gap.",
    "Y28": "Timed with the ablations' small net at 252 evaluations, on the machine named in the evidence's index.",
    **benchmark.NOTES,
    **fast_unet.NOTES,
    **unpaired.NOTES,
    **bridge.NOTES,
    **backbone.NOTES,
}
