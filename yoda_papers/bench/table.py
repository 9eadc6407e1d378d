"""The benchmark's result as text."""

from __future__ import annotations

MEANING = {
    "speedup_denoiser": "all of it",
    "speedup_batching": "slabs cut once, large batches",
    "speedup_roi": "region of interest, not a cube",
    "speedup_mask": "slices without brain skipped",
    "speedup_order": "kernels with channels last, on a CPU",
    "speedup_half_precision": "half precision",
    "speedup_margin": "batches cut to their brain (--margin 4), off by default",
    "speedup_close": "all of it, and that",
}


def format_bench(result: dict) -> str:
    """The result of ``run_bench`` as aligned text with units."""
    net, seconds = result["net"], result["seconds_per_evaluation"]
    lines = [
        result["machine"],
        f"{net['parameters'] / 1e6:.2f} M parameters, region {_by(result['roi'])}, "
        f"cube {_by(result['cube'])}, {result['n_steps']} steps, "
        f"median of {result['repeats']}, {result['threads']} threads",
        "",
        f"{'':<10}{'s/evaluation':>14}{'GFLOP':>10}{'GFLOP/s':>10}{'share of matrix rate':>40}",
    ]
    for name, precision in (("baseline", "float32"), ("ours", result["precision"])):
        rate = f"{result['matrix_gflops'][name]:.0f} GFLOP/s, {precision}"
        lines.append(
            f"{name:<10}{seconds[name]:>14.3f}{result['gflop_per_evaluation'][name]:>10.1f}"
            f"{result['achieved_gflops'][name]:>10.1f}"
            f"{result['share_of_matrix_rate'][name]:>13.0%} of {rate:<23}".rstrip()
        )
    floor, copied = result["floor_seconds"], result["copy_gbytes_per_second"]
    lines += [
        f"floor of ours: {floor['operations']:.3f} s by operations; at a copy's {copied:.1f} GB/s",
        f"{'':<10}{floor['bytes']:.3f} s by bytes of its products, {floor['bytes_unfused']:.3f} s by those of all",
    ]
    lines.append("")
    lines += [f"{name:<24}{result[name]:>6.2f} x  {text}" for name, text in MEANING.items()]
    lines += ["", f"{'same image':<24}{'yes' if result['same_image'] else 'NO':>6}"]
    for name, d in result["differences"].items():
        limit = result["tolerance"].get(name)
        against = f"rms at most {limit:.1e}" if limit else "sees less background: no rounding"
        lines.append(f"  {name:<10}rms {d['rms']:.1e}, max {d['max']:.1e}  ({against})")
    if "speedup_batches" in result:
        rate = result["slabs_per_second"]
        text = f"batches of training: {rate['ours']:.0f} slabs a second, MONAI {rate['monai']:.0f}"
        lines += ["", f"{'speedup_batches':<24}{result['speedup_batches']:>6.2f} x  {text}"]
    if laws := {name: p for name, p in result.items() if name.startswith("exponent_")}:
        lines += ["", *(f"{name.replace('_', ' '):<32}{p:>6.3f}" for name, p in laws.items())]
    if "memory" in result:
        lines += ["", f"{'n_ex':>6}{'n_steps':>9}{'batch':>7}{'peak growth':>16}"]
        lines += [
            f"{m['n_ex']:>6}{m['n_steps']:>9}{m['batch_size']:>7}{m['peak_growth_mb']:>13.1f} MB"
            for m in result["memory"]
        ]
        lines.append(
            f"more samples x {result['memory_ratio_n_ex']:.2f}, more steps x {result['memory_ratio_n_steps']:.2f}"
        )
    return "\n".join(lines)


def _by(shape: list[int]) -> str:
    return "x".join(map(str, shape))
