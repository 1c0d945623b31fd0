"""Studies on real recordings: what was found stands in notes/log.md, whatever it was.

Each needs the folder named by STETHOS_DATA and says so where there is none. No claim of speed, so `python -m
benchmarks` leaves them alone; one is run by `python -m benchmarks.real.NAME`.
"""
