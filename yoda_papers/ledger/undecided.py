"""What would decide the claims that nothing here decides yet, or settle a dispute: an experiment each, and its cost."""

_EYE = (
    "An understanding of what the untrained nets see that the other two do not, and a fourth feature net that was "
    "never taught noise (claims --extractor): {what}."
)
_GAN = (
    "SynDiff after as many updates as in the paper: 125,000, where the longest training here makes 2000 and ends 0.3 "
    "dB behind the straight line that it must first beat. yoda-nb train --row syndiff-long --steps 125000 on a GPU, "
    "and {others} likewise."
)

UNDECIDED: dict[str, str] = {
    "Y17": "More subjects than the six whom fifteen trainings of each schedule translated: to the untrained feature "
    "nets diffusion's Fréchet distances do not differ (-0.0001, known to 0.001, nearly all of it what subjects "
    "differ), while the other two are sure, for the claim. Thirty subjects by all 30 models are ten hours of a core, "
    "or minutes of a GPU. All else is decided, for the claim.",
    "Y31": "Further trainings of yoda-ct-x12 by other seeds (42 minutes of a core each), or longer ones: three times "
    "the slabs took SSIM from 0.012 behind a sample to 0.0008 ahead, PSNR to 0.9 dB ahead. One for regression alone "
    "(yoda-nb train --regression) would tell what predicting v costs.",
    "K01": _EYE.format(what="to the untrained nets the U-Net's images are nearer than those of ADM and U-ViT"),
    "K02": "A feature net that was never taught noise beside the three (claims --extractor): all are sure of ADM and "
    "two of U-ViT, for the claim; to the untrained ones U-ViT's samples are at their floor after twelve budgets, and "
    "thirty subjects did not tell a slope.",
    "K04": _EYE.format(what="to them the strongest swap makes images nearer, to the others farther"),
    "S01": _GAN.format(others="cyclegan-long and ddpm-unpaired-long"),
    "S02": "Projectors trained 12.5 times as long (yoda-nb rebuild systems --only projector-adversarial-long --only "
    "projector-l1-long --only projector-l1-1000-long, minutes on a GPU, three hours on a core): the discriminators "
    "here hardly leave chance, and the feature nets disagree on what little they changed.",
    "S03": "Trainings of the parts as long as S01 asks for: after the shared budget, and after 12.5 times as much, "
    "SynDiff is behind a straight line in PSNR, so that nothing follows from what takes its parts away.",
    "S05": _GAN.format(others="syndiff-2-long and syndiff-8-long"),
}
