"""What would decide the claims that nothing here decides yet: an experiment each, and what it takes on two cores."""

UNDECIDED: dict[str, str] = {
    "Y09": "Phantoms whose acquisition noise is correlated, as a scanner's is, and a diffusion model trained on them: "
    "of white noise, which is what noising adds, two of three feature nets cannot tell the two apart.",
    "Y14": "A third training of base and single-slice (nine minutes each): two trainings differ by more than the "
    "claim. Then phantoms of 1 to 1.5 mm, where neighbouring slices tell more.",
    "Y16": "Sixteen subjects of four samples each (half an hour): the interval is wider than the "
    "margin by less than half.",
    "Y17": "A third training of base and cosine (nine minutes each): the Fréchet distance of a regression changes sign "
    "from one training to the next.",
    "Y18": "A third training of base and cosine (nine minutes each): with two, PSNR is known to 0.4 dB only.",
    "Y26": "Thirty subjects at 1 to 1.5 mm: of six an ICC is known from 0 to 0.95.",
    "K01": "A fourth feature net that was never taught noise (claims --extractor): the untrained nets alone see no "
    "lower distance; and trainings of the paper's length, whose samples an untrained net may tell as well.",
    "K02": "A sweep of 16 to 128 steps, as the paper's, and three trainings of each net (about two hours).",
    "K03": "Sixteen subjects: for U-ViT alone six leave the change of SSIM within its margin open.",
    "K04": "A fourth feature net that was never taught noise (claims --extractor), and 128 steps as of the paper, "
    "where the sigmoids keep more than five: the untrained nets see a lower distance, the other two a higher one.",
    "K06": "Throughput at the paper's sizes on a GPU: at ours three of the four nets are equally fast, and the rest of "
    "the claim is counting.",
    "B02": "Twelve to sixteen subjects of two scanner modes, 50 to 100 steps, with the authors' deterministic step.",
    "B03": "Twelve to sixteen subjects: of six, whose styles differ widely, SSIM is known to 0.04 only.",
    "S02": "Projectors trained 20 times as long at the paper's rate: the discriminators here hardly leave chance, and "
    "the feature nets disagree on what little they changed.",
    "S05": "Trainings of 2 and of 8 steps (yoda-nb rebuild systems --only syndiff-2 --only syndiff-8), and before them "
    "a recipe by which SynDiff beats a straight line.",
}
