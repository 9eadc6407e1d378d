"""``yoda-nb adapt``: the shipped model, trained on with a hospital's own people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from yoda_nb.cli.common import (
    DataOption,
    Device,
    Json,
    Mirror,
    OutputOption,
    RunOption,
    SystemOption,
    emit,
    guarded,
    listed,
    note,
    table,
    use_threads,
    writable,
)
from yoda_nb.cli.scans import Dataset, Subjects, Trust, note_left_out


@guarded
def adapt(
    study: Annotated[
        Path, Argument(metavar="STUDY", help="A BIDS folder, or a manifest (.csv).", rich_help_panel="Inputs")
    ],
    out: Annotated[Path, OutputOption("-o", "--out", help="The model (.safetensors); card and page lie beside it.")],
    run: Annotated[
        Path | None, OutputOption(help="Folder of packs and trainings, to resume from; default: OUT-run.")
    ] = None,
    minutes: Annotated[float, RunOption(help="Minutes of each training.")] = 15.0,
    folds: Annotated[
        int, RunOption(help="Groups of people left out in turn, a training each, to test the recipe; 0: none.")
    ] = 2,
    initial: Annotated[
        str, SystemOption(help="A shipped model, or a .safetensors file, to start from.")
    ] = "real-t1w-t2w-flair",
    rehearse: Annotated[
        int, DataOption(min=0, help="Phantoms of any scanner to learn from beside, so that nothing is forgotten.")
    ] = 24,
    share: Annotated[float, DataOption(help="Share of the slabs that are real.")] = 0.6,
    rescans: Annotated[int, DataOption(min=0, help="Copies of each scan as another scanner would see it.")] = 2,
    label_maps: Annotated[
        bool, DataOption(help="Phantoms of the manifest's label maps too, which are fetched once.")
    ] = True,
    dataset: Dataset = None,
    subject: Subjects = None,
    mirror: Mirror = None,
    trust: Trust = False,
    threads: Annotated[int | None, RunOption(help="CPU threads; default: all cores.")] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Train a shipped model on with a hospital's own scans: sources and target of two people or more.

    First, people are left out in groups and translated by models that have not seen them, before and after. Then the
    model is trained on everybody. A page beside it shows the scores and images. Ctrl-C is safe: the same command goes
    on where it stopped.

    Example: yoda-nb adapt my-bids-study -o mine.safetensors --minutes 15
    """
    from yoda_nb.nets.devices import find_device
    from yoda_nb.scans.adapt import Adaptation, testing_in
    from yoda_nb.scans.adapt import adapt as run_adapt
    from yoda_nb.scans.subjects import chosen_cases

    find_device(device)
    use_threads(threads)
    writable(out)
    asked = Adaptation(
        save=out,
        out=run or out.with_name(f"{out.stem}-run"),
        minutes=minutes,
        folds=folds,
        initial=initial,
        rehearse=rehearse,
        share=share,
        rescans=rescans,
        label_maps=label_maps,
        mirror=mirror,
        device=device,
    )
    cases, left_out = chosen_cases(study.resolve(), dataset, listed(subject), trust_paths=trust)
    note_left_out(left_out)
    document = run_adapt(cases, asked, testing_in(study.resolve(), cases), note)
    kept = document["forgetting"]
    lines = [
        table(document["scores"]) if document["scores"] else "Nobody was left out, so nothing was tested.",
        f"phantoms of other scanners: SSIM {kept['before']:.3f} before, {kept['after']:.3f} after",
        f"{out}: {len(document['people'])} people, {document['steps']} steps; look at {document['page']}",
    ]
    emit(document, json, "\n".join(lines))
