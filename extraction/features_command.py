r"""delg-features: looks at, checks, joins and converts features.

  delg-features info STORE              counts, sizes, settings, skipped images
  delg-features verify STORE            reads everything and checks it
  delg-features merge STORE STORE ...   joins stores of the same settings into --output_dir
  delg-features convert FOLDER          writes --output_dir in the format --to; what FOLDER holds is found out

Formats: store, official (NAME.delg_global, NAME.delg_local), hloc (local.h5, global.h5), ames (local.hdf5, global.pt),
csv (global.csv, local.csv). The files of AMES, ELViS and LOCORE are given as DESC_SPLIT_local.hdf5, one for each split;
their global descriptors and test_SPLIT.txt are looked for beside it.
"""

from absl import flags

FLAGS = flags.FLAGS
POSITIONAL = "info|verify|merge|convert FOLDER ..."
ACTIONS = ("info", "verify", "merge", "convert")

_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder that merge and convert write; absent or empty.")
_TO = flags.DEFINE_enum("to", None, ["store", "official", "hloc", "ames", "csv"], "The format that convert writes.")
_LOCAL_DTYPE = flags.DEFINE_enum(
    "local_dtype",
    "float32",
    ["float32", "float16", "uint8", "binary"],
    "How convert --to=store writes local descriptors.",
)


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

    (action, *folders), output_dir = arguments or [""], _OUTPUT_DIR.value or ""
    if action not in ACTIONS:
        raise InputError(f"Expected one of {', '.join(ACTIONS)}, and folders. Received: {action!r}")
    if not folders or (action != "merge" and len(folders) > 1):
        raise InputError(f"{action} expects {'folders' if action == 'merge' else 'one folder'}. Received: {folders}")
    if action in ("merge", "convert") and not output_dir:
        raise InputError("The flag --output_dir is required.")
    if action == "info":
        print(info(FeatureStore.open(folders[0])))
    elif action == "verify":
        store = FeatureStore.open(folders[0])
        verify(store)
        print(f"{folders[0]}: {len(store)} images, all whole")
    elif action == "merge":
        print(f"{output_dir}: {len(merge(folders, output_dir))} images")
    elif not _TO.value:
        raise InputError("The flag --to is required.")
    else:
        count = convert(folders[0], output_dir, _TO.value, _LOCAL_DTYPE.value)
        print(f"{output_dir}: {count} images as {_TO.value}")
