"""Runs what the tests ask of the library, in its own Python: one process, so that torch is imported once, not per test.

Reads a JSON list a line, the arguments of `python` ("-c" and code, or "-m" and a module; then `sys.argv`), and writes a
JSON string a line: why that failed, or nothing.
"""

import contextlib
import json
import runpy
import sys
import traceback

answers = sys.stdout
for line in sys.stdin:
    kind, what, *arguments = json.loads(line)
    sys.argv = [kind, *arguments]
    problem = ""
    with contextlib.redirect_stdout(sys.stderr):
        try:
            if kind == "-c":
                exec(compile(what, "<test>", "exec"), {"__name__": "__main__"})
            else:
                runpy.run_module(what, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            problem = f"exit {end.code}" if end.code else ""
        except BaseException:
            problem = traceback.format_exc()
    answers.write(json.dumps(problem) + "\n")
    answers.flush()
