"""What other packages say in the terminal and nobody who runs a command can act on."""

import logging
import warnings


# (category, beginning of the message as a regular expression)
BESIDE_THE_POINT = (
    # TRL sets the old name itself, and presets must be read by transformers that do not have the new one.
    (FutureWarning, r"`\w*gradient_checkpointing\w*` is deprecated"),
    # Transformers' default; without a GPU it does nothing.
    (UserWarning, r"'pin_memory' argument is set as true but no accelerator is found"),
)


def hush() -> None:
    """Leave those messages out, in this process. Warnings about a run itself are not among them."""
    for category, message in BESIDE_THE_POINT:
        warnings.filterwarnings("ignore", message=message, category=category)
    # An optional kernel from the Hub, missed on import on some CPUs, also where nothing is in 4 bit.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
