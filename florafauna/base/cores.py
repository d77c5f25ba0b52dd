"""The cores that this process may use, and how its threads wait for each other."""

import os

# How often a waiting OpenMP thread looks before it sleeps. libgomp's own 300,000 take milliseconds of a core that
# another process could use at every layer; `python -m benchmarks beside` has what each setting costs and saves.
SPINS = "10000"


def usable_cores() -> int:
    """The cores that this process may use: of the machine, by its affinity (taskset, Slurm) and its cgroup's quota.

    `LOKY_MAX_CPU_COUNT`, joblib's variable, lowers it further.
    """
    from joblib import cpu_count  # takes 0.1 s, which whoever only asks for help need not wait for

    return int(cpu_count())


def share_cores() -> None:
    """Set what OpenMP reads when torch is loaded, so that it shares the machine; what the user has set stays.

    Threads of torch follow the affinity by themselves, but not a quota: with 64 threads on a quota of 4 cores each
    layer waits for threads that the kernel has stopped.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    cores = usable_cores()
    if cores < _by_affinity():
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def _by_affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
