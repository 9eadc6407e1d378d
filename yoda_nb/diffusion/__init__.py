"""The mathematics: slabs, schedules, samplers, and the edge where a net becomes a denoiser of volumes."""
