"""How to cite the method and this package, in BibTeX."""

SRL_CITATION = """\
@article{deng2025supervised,
    title   = {{Supervised Reinforcement Learning: From Expert Trajectories to Step-wise Reasoning}},
    author  = {Deng, Yihe and Hsu, I-Hung and Yan, Jun and Wang, Zifeng and Han, Rujun and Zhang, Gufeng and Chen, Yanfei and Wang, Wei and Pfister, Tomas and Lee, Chen-Yu},
    journal = {arXiv preprint arXiv:2510.25992},
    year    = {2025},
}"""  # noqa: E501

PACKAGE_CITATION = """\
@software{trl_srl,
    title   = {{trl-srl: Supervised Reinforcement Learning for TRL}},
    author  = {{The trl-srl authors}},
    license = {Apache-2.0},
    year    = {2026},
}"""
