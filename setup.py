"""The one compiled file. Everything else that setuptools needs to know is in pyproject.toml."""

import os
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


# One build serves all Python versions from 3.11 on, but not those without the global lock.
stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildAnew(build_ext):
    """Where compiling fails, an older module must not stay in its place."""

    def build_extension(self, ext: Extension) -> None:
        older = [Path(self.get_ext_fullpath(ext.name))]
        if self.editable_mode:
            older += Path(__file__).parent.glob("trl_srl/_matching.*[od]")  # .so, .pyd
        for module in older:
            module.unlink(missing_ok=True)
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildAnew},
    ext_modules=[
        Extension(
            "trl_srl._matching",
            ["trl_srl/_matching.c"],
            extra_compile_args=[] if os.name == "nt" else ["-O3"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if stable_abi else [],
            py_limited_api=stable_abi,
            optional=True,  # without a compiler the package is installed too: the same rewards, later
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if stable_abi else {},
)
