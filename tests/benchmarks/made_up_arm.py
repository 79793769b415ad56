"""An arm that does nothing, or what is not expected of one, as its order says.

Its worker is alive as long as nobody kills it, and holds what it inherits open.
"""

import atexit
import os
import signal
import time

from benchmarks.arm_process import serve


class MadeUpArm:
    def __init__(self, order: dict) -> None:
        if order.get("broken"):
            raise ValueError("this arm cannot be built")
        self._order = order
        self._rounds = 0
        worker = os.fork()
        if worker == 0:
            time.sleep(1000)
        self.facts = {"worker": worker, "process": os.getpid(), "name": order["name"]}

    def measure(self):
        self._rounds += 1
        time.sleep(self._order.get("sleep_seconds", 0.0))
        print("this is no answer", flush=True)
        if self._rounds == self._order.get("raises_in_round"):
            atexit.register(time.sleep, 1000)  # as long as a loader may wait for its workers
            raise ValueError("this arm gave up")
        if self._rounds == self._order.get("dies_in_round"):
            os.kill(os.getpid(), signal.SIGKILL)
        return float(self._rounds), {"name": self._order["name"]}


if __name__ == "__main__":
    serve(MadeUpArm)
