"""Brings the descriptions of a folder of photos in step with its files: new, changed, renamed and removed photos.

delg sync photos
"""

from collections.abc import Sequence

from collection.options import SyncOptions
from delg.common.options import define_flags, from_flags, refuse

POSITIONAL = "FOLDER"

define_flags(SyncOptions)


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Args:
      arguments: the folder.

    Raises:
      InputError: not one folder, or it cannot be used.
    """
    from collection.collection import Collection
    from collection.verdicts import RELIABILITY
    from delg.common.errors import InputError

    if len(arguments) != 1:
        raise InputError(f"Expected one folder of photos. Received: {len(arguments)}")
    options = from_flags(SyncOptions)
    if options.dry_run:
        refuse("--dry_run", options, ["index", "calibrate", "export"])
    if options.engine != "ray":
        refuse(f"--engine={options.engine}", options, ["ray_address"])
    with Collection.open(arguments[0], options.model, state=options.collection) as collection:
        if options.dry_run:
            changes = collection.pending()
            kinds = {"added": changes.added, "removed": changes.removed, "changed": changes.changed}
            lines = [f"{kind}: {path}" for kind, paths in kinds.items() for path in paths]
            print("\n".join([*lines, *(f"renamed: {old} -> {new}" for old, new in changes.renamed.items())]))
        else:
            ray = options.ray_address or "local" if options.engine == "ray" else None
            changes = collection.sync(index=options.index, ray=ray, progress=True)
            for path, reason in changes.failed.items():
                print(f"failed: {path}: {reason}")
        print(f"{arguments[0]}: {changes}; {len(collection)} photos, {len(collection.failed)} unusable files")
        if options.calibrate:
            print(f"calibration: {collection.calibrate(options.calibrate, progress=True).source}")
            chart = collection.state_folder / RELIABILITY
            print(f"reliability: {chart if chart.exists() else 'too few photos for a diagram'}")
        if options.export:
            collection.export(options.export)
            print(f"features: {options.export}")
