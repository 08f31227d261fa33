r"""Brings published weights, ground truth and photos by name: resumes after drops, checks hashes, unpacks.

Example:
  delg-fetch roxford5k --output_dir=roxford5k
  delg-fetch delg_r50_gldv2clean --output_dir=weights --mirror=http://server/files
"""

from absl import flags

FLAGS = flags.FLAGS
POSITIONAL = "NAME"
flags.DEFINE_string("output_dir", None, "Folder for the files.")
flags.DEFINE_string("mirror", None, "Address below which the files lie by their names; tried before the known ones.")
flags.DEFINE_bool("offline", False, "Ask no server: verify and unpack what is there.")
flags.DEFINE_string("catalogue", None, "JSON file with names of your own: {name: [{name, urls, sha256, unpack}]}.")


def main(arguments: list[str]) -> None:
    """Brings what a name stands for.

    Args:
      arguments: the name.

    Raises:
      InputError: an unknown name, or a file that cannot be had or is not of its hash.
    """
    from evaluation.catalogue import CATALOGUE, read_catalogue
    from evaluation.fetching import fetch
    from protos.errors import InputError

    names = CATALOGUE | (read_catalogue(FLAGS.catalogue) if FLAGS.catalogue else {})
    if len(arguments) != 1 or arguments[0] not in names:
        received = " ".join(arguments) or "nothing"
        raise InputError(f"Expected one name among {', '.join(sorted(names))}. Received: {received}")
    if not FLAGS.output_dir:
        raise InputError("Expected --output_dir.")
    fetch(names[arguments[0]], FLAGS.output_dir, mirror=FLAGS.mirror or None, offline=FLAGS.offline)
