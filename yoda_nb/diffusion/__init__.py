"""The mathematics: slabs, schedules, one sampling loop, and the edge where a net becomes a denoiser of volumes."""
