r"""delg-features: looks at, checks, joins and converts features.

  delg-features info STORE              counts, sizes, settings, skipped images
  delg-features verify STORE            reads everything and checks it
  delg-features merge STORE STORE ...   joins stores of the same settings into --output_dir
  delg-features convert FEATURES        writes --output_dir in the format --to; the format of FEATURES is recognized

Formats: store, official (NAME.delg_global, NAME.delg_local), hloc (local.h5, global.h5), ames (local.hdf5, global.pt),
csv (global.csv, local.csv), and module:Class(path="DIR") of your own. The files of AMES, ELViS and LOCORE are given as
DESC_SPLIT_local.hdf5, one for each split; their global descriptors and test_SPLIT.txt are looked for beside it.
"""

from delg.common.options import define_flags, from_flags
from extraction.options import FeaturesOptions

POSITIONAL = "info|verify|merge|convert FOLDER ..."
ACTIONS = ("info", "verify", "merge", "convert")

define_flags(FeaturesOptions)


def main(arguments: list[str]) -> None:
    """Runs the command.

    Args:
      arguments: the action and its folders.

    Raises:
      InputError: no such action, or a folder or a flag does not fit it.
    """
    from delg.common.errors import InputError
    from extraction.formats.table import convert
    from extraction.store.reader import FeatureStore
    from extraction.store.tools import info, merge, verify

    (action, *folders), options = arguments or [""], from_flags(FeaturesOptions)
    if action not in ACTIONS:
        raise InputError(f"Expected one of {', '.join(ACTIONS)}, and folders. Received: {action!r}")
    if not folders or (action != "merge" and len(folders) > 1):
        raise InputError(f"{action} expects {'folders' if action == 'merge' else 'one folder'}. Received: {folders}")
    if action in ("merge", "convert") and not options.output_dir:
        raise InputError("The flag --output_dir is required.")
    if action == "info":
        print(info(FeatureStore.open(folders[0])))
    elif action == "verify":
        store = FeatureStore.open(folders[0])
        verify(store)
        print(f"{folders[0]}: {len(store)} images, all whole")
    elif action == "merge":
        print(f"{options.output_dir}: {len(merge(folders, str(options.output_dir)))} images")
    elif not options.to:
        raise InputError("The flag --to is required.")
    else:
        storage = {"local_dtype": options.local_dtype} if options.local_dtype else {}
        count = convert(folders[0], str(options.output_dir), options.to, **storage)
        print(f"{options.output_dir}: {count} images as {options.to}")
