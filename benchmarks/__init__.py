"""Claims of speed, measured: one file a claim, each with `measure() -> dict[str, float]`.

`python -m benchmarks` measures all of them one after another, in one process and on one thread, and keeps the ratios
in `results.json`. A ratio holds for one machine in one run; absolute times are never kept.
"""
