"""`trl-srl card`: write a run's model card again, with the evaluations that were made since."""

import argparse
import sys


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="write a run's model card again, and push it",
        description="Write the model card in a run's output folder again, with the results in its folder evaluation/. "
        "What you wrote outside of our part of the card is kept.",
    )
    parser.add_argument("run_dir", help="output folder of a run")
    parser.add_argument("--push_to_hub", metavar="REPO", help="push card and pictures to this model on the Hub")


def run(args: argparse.Namespace) -> None:
    from huggingface_hub import HfApi

    from ..model_card import read_evaluations, write_card

    evaluations = read_evaluations(args.run_dir)
    card = write_card(args.run_dir, evaluations, args.push_to_hub)
    sys.stdout.write(f"wrote {card} with {len(evaluations)} evaluations\n")
    if args.push_to_hub is not None:
        HfApi().create_repo(args.push_to_hub, exist_ok=True)
        # The Hub's validation of the metadata is part of the commit.
        commit = HfApi().upload_folder(
            repo_id=args.push_to_hub,
            folder_path=args.run_dir,
            allow_patterns=["README.md", "figures/*.png"],
            commit_message="Update the model card",
        )
        sys.stdout.write(f"pushed to {commit.commit_url}\n")
