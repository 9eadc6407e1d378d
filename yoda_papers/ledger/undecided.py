"""What would decide the claims that nothing here decides yet, or settle a dispute: an experiment each, and its cost."""

_EYE = (
    "An explanation of what the untrained nets respond to and the other two do not, and one more extractor that was "
    "not trained on noise (claims --extractor): {what}."
)
_GAN = (
    "SynDiff with as many updates as in the paper: 125,000. The longest training here has 2000 and ends 0.3 dB behind "
    "the weighted sum that it must first beat. On a GPU: yoda-nb train --row syndiff-long --steps 125000 --out "
    "runs/syndiff --save syndiff.safetensors, and the same for {others}."
)

UNDECIDED: dict[str, str] = {
    "Y17": (
        "More than the six subjects that fifteen trainings of each schedule translated. To the untrained extractors "
        "the Fréchet distances of diffusion do not differ (-0.0001, uncertain by 0.001, nearly all of it from "
        "subjects), while the other two confirm the claim. Thirty subjects with all 30 models take ten hours on a "
        "core, or minutes on a GPU. Everything else is decided in favour of the claim."
    ),
    "Y31": (
        "Trainings of yoda-ct-x12 with other seeds (42 minutes on a core each), or longer ones: three times the slabs"
        " changed SSIM from 0.012 behind a sample to 0.0008 ahead, and PSNR to 0.9 dB ahead. One for regression only "
        "shows what predicting v costs: yoda-nb train --row yoda-ct-x12 --regression --out runs/ct --save "
        "ct.safetensors."
    ),
    "K01": _EYE.format(what="to the untrained nets the U-Net's images are closer than those of ADM and U-ViT"),
    "K02": (
        "One more extractor that was not trained on noise (claims --extractor). All three confirm the claim for ADM "
        "and two for U-ViT. To the untrained ones U-ViT's samples are at their floor after twelve budgets, and thirty"
        " subjects show no slope."
    ),
    "K04": _EYE.format(what="to them the strongest swap makes images closer, to the others farther"),
    "S01": _GAN.format(others="cyclegan-long and ddpm-unpaired-long"),
    "S02": (
        "Projectors trained 12.5 times as long (yoda-nb rebuild systems --only projector-adversarial-"
        "long,projector-l1-long,projector-l1-1000-long: minutes on a GPU, three hours on a core). The discriminators "
        "here are hardly better than chance, and the extractors disagree on the small changes."
    ),
    "S03": (
        "Trainings of the parts as long as S01 asks for. With the shared budget, and with 12.5 times as much, SynDiff"
        " is behind a weighted sum in PSNR, so removing its parts shows nothing."
    ),
    "S05": _GAN.format(others="syndiff-2-long and syndiff-8-long"),
}
