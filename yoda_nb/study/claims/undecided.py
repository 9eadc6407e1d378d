"""What would decide the claims that nothing here decides yet: an experiment each, and what it takes."""

_EYE = "a fourth feature net that was never taught noise (claims --extractor)"
_GAN = (
    "SynDiff's trainings of 12.5 times the slabs, by which it must first beat a straight line: yoda-nb rebuild systems "
    "--only syndiff-long --only {others} (minutes on a GPU, a day on two cores), then rebuild evidence --only unpaired."
)

UNDECIDED: dict[str, str] = {
    "Y13": "Ten trainings of each design at 1.5 mm (nine minutes each): few differ by as much as the designs do.",
    "Y14": "Ten trainings of each design at 1.5 mm (nine minutes each): few differ by as much as the designs do.",
    "Y17": "Ten trainings of each schedule (nine minutes each): the Fréchet distance of a regression changes sign from "
    "one training to the next. SSIM and PSNR of regression are decided, for the claim.",
    "Y18": "Six trainings of each schedule (nine minutes each): PSNR is known to 0.17 dB with three, SSIM is equal.",
    "K01": f"Distances of 128 steps (six minutes on a GPU, half a day on two cores) and {_EYE}: the untrained nets "
    "alone see no lower distance at 16.",
    "K02": f"Distances of 16 to 128 steps, as the paper's (six minutes on a GPU, half a day on two cores), and {_EYE}: "
    "the untrained nets see no fall up to 16.",
    "K04": f"Distances of 128 steps, as of the paper, where the sigmoids keep more than five, and {_EYE}: the "
    "untrained nets see a lower distance, the other two a higher one.",
    "S01": _GAN.format(others="cyclegan-long --only ddpm-unpaired-long"),
    "S02": "Projectors trained 12.5 times as long (yoda-nb rebuild systems --only projector-adversarial-long --only "
    "projector-l1-long --only projector-l1-1000-long, minutes on a GPU): the discriminators here hardly leave chance, "
    "and the feature nets disagree on what little they changed.",
    "S03": "Trainings of the parts as long as those of S01: after the shared budget SynDiff is behind a straight line "
    "in PSNR, so that nothing follows from what takes its parts away.",
    "S05": _GAN.format(others="syndiff-2-long --only syndiff-8-long"),
}
