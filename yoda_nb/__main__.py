"""``python -m yoda_nb``, and ``torchrun -m yoda_nb train`` for several GPUs."""

from yoda_nb.cli import app

app(prog_name="yoda-nb")
