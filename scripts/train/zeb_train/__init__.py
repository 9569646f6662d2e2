"""zeb_train: from a task's train file to a checkpoint, a policy and a card that zeb can run.

One module, one idea; `cli.py` lists the commands and `docs/formats/policy.md` the contract with the
harness.  Nothing here is imported by the harness.
"""

__version__ = "0.1.0"
