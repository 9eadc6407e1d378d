"""What would decide the claims that nothing here decides yet: an experiment each, and what it takes on two cores."""

UNDECIDED: dict[str, str] = {
    "Y13": "Ten trainings of each design at 1.5 mm (nine minutes each): three differ by as much as the designs do.",
    "Y14": "Ten trainings of each design at 1.5 mm (nine minutes each): three differ by as much as the designs do.",
    "Y17": "Ten trainings of each schedule (nine minutes each): the Fréchet distance of a regression changes sign from "
    "one training to the next. SSIM and PSNR of regression are decided, for the claim.",
    "Y18": "Six trainings of each schedule (nine minutes each): PSNR is known to 0.17 dB with three, SSIM is equal.",
    "K01": "A fourth feature net that was never taught noise (claims --extractor): the untrained nets alone see no "
    "lower distance; and trainings of the paper's length, whose samples an untrained net may tell as well.",
    "K02": "Steps from 16 to 128, as the paper's (twenty minutes), and a fourth feature net that was never taught "
    "noise (claims --extractor): the untrained nets see no fall.",
    "K04": "A fourth feature net that was never taught noise (claims --extractor), and 128 steps as of the paper, "
    "where the sigmoids keep more than five: the untrained nets see a lower distance, the other two a higher one.",
    "B02": "Twelve to sixteen subjects of two scanner modes, 50 to 100 steps, with the authors' deterministic step.",
    "B03": "Twelve to sixteen subjects: of six, whose styles differ widely, SSIM is known to 0.04 only.",
    "S02": "Projectors trained 20 times as long at the paper's rate: the discriminators here hardly leave chance, and "
    "the feature nets disagree on what little they changed.",
    "S05": "Trainings of 2 and of 8 steps (yoda-nb rebuild systems --only syndiff-2 --only syndiff-8), and before them "
    "a recipe by which SynDiff beats a straight line.",
}
