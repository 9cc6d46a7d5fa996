"""The one compiled file. Everything else that setuptools needs to know is in pyproject.toml."""

import os
import sysconfig

from setuptools import Extension, setup


# One build serves all Python versions from 3.11 on, but not those without the global lock.
stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    ext_modules=[
        Extension(
            "trl_srl._matching",
            ["trl_srl/_matching.c"],
            extra_compile_args=[] if os.name == "nt" else ["-O3"],
            py_limited_api=stable_abi,
            optional=True,  # without a compiler the package is installed too: the same rewards, later
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if stable_abi else {},
)
