"""A worker that does what it is told, of few imports."""

import os
import sys
import time

from recurra.processes.worker import work


def answers(job, should_stop):
    print("a job may print")
    yield {"begun": job["name"]}
    match job["do"]:
        case "die":
            os._exit(3)
        case "sleep":
            time.sleep(60)
        case "wait":
            while not should_stop():
                time.sleep(0.01)
            yield {"stopped": job["name"]}
        case "threads":
            yield {"threads": os.environ["OMP_NUM_THREADS"], "path": "" in sys.path}


if __name__ == "__main__":
    work(answers)
