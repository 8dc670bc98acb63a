"""Stands in for `marrowscope batch` where the service is under test: what it does, the name of its source says."""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

SLIDES = ["a", "b"]
TRY_AGAIN = 75


def progress(out, state, done, failures=()):
    told = {
        "state": state,
        "slides": len(SLIDES),
        "slides_done": done,
        "slides_failed": len(failures),
        "tiles": 10,
        "tiles_done": 5 * done,
        "failures": [{"slide": slide, "reason": "It is damaged."} for slide in failures],
    }
    temporary = out / ".progress.json.tmp"
    temporary.write_text(json.dumps(told))
    temporary.replace(out / "progress.json")


def results(out, slides):
    for slide in slides:
        (out / "slides" / slide).mkdir(parents=True, exist_ok=True)
        (out / "slides" / slide / "report.html").write_text(f"<h1>{slide}</h1>")
        (out / "slides" / slide / "summary.json").write_text(json.dumps({"slide": slide}))
    (out / "slides.csv").write_text("slide\n" + "\n".join(slides) + "\n")
    (out / "manifest.json").write_text(json.dumps({"slides": str(out)}))
    (out / "index.html").write_text('<a href="slides/a/report.html">a</a>')


def main(source, out):
    out.mkdir(exist_ok=True)
    lock = (out / ".lock").open("a")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    mode = Path(source).name
    with (out.parent / "starts.txt").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    progress(out, "running", 1)
    if mode == "cut off":
        print("Error: No Dask scheduler answers at tcp://127.0.0.1:9.", file=sys.stderr)
        return TRY_AGAIN
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode in {"wait", "stubborn"}:
        time.sleep(600)
    if mode == "refused":
        print(f"Usage: somehow\nError: there is no slide in {source}.", file=sys.stderr)
        return 2
    if mode == "broken":
        raise ValueError("a secret of the program")
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    failed = SLIDES[1:] if mode == "partly" else []
    results(out, [slide for slide in SLIDES if slide not in failed])
    progress(out, "finished", len(SLIDES) - len(failed), failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
